"""Activations that an ONNX file spells out; onnxruntime is the referee of each import."""

from collections import Counter
from functools import partial

import pytest
import torch
from helpers.nets import Calls, ops
from helpers.onnx_models import exported, floats, imported, node, proto, saved
from torch import nn

from snnconv.errors import ObstaclesError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network

IMAGE = (2, 6, 6)
RELUS = {
    "product": lambda h: h * (h > 0),
    "cast": lambda h: h * (h > 0).float(),
    "not below": lambda h: (h >= 0) * h,
    "where": lambda h: torch.where(h > 0, h, 0.0),
    "where not": lambda h: torch.where(h <= 0, torch.zeros_like(h), h),
    "negated": lambda h: h * ~(h < 0),
    "filled": lambda h: h.masked_fill(h < 0, 0.0),
}
FLOORS = {
    "clamp": lambda x, t, n: torch.floor(torch.clamp(x / t, 0, 1) * n + 0.5) / n * t,
    "relu6": lambda x, t, n: (0.5 + n * nn.functional.relu6(6 * x / t) / 6).floor() * (t / n),
    "a theta a channel": lambda x, t, n: t * (torch.floor((x * n / t).clamp(0, n) + 0.5) / n),
}


def net(activation):
    torch.manual_seed(0)
    parts = {"conv": nn.Conv2d(2, 3, 3), "out": nn.Linear(48, 4)}
    return Calls(lambda n, x: n.out(activation(n.conv(x)).flatten(1)), **parts)


def read(module, folder, dynamo, **how):
    found = import_onnx(exported(module, IMAGE, folder, dynamo, 18), IMAGE, **how)
    assert found.verdict.referee.startswith("onnxruntime")
    return found


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", RELUS)
def test_a_mask_of_its_own_sign_is_a_relu(name, dynamo, tmp_path):
    graph = read(net(RELUS[name]), tmp_path, dynamo).graph
    kept = [op for op in ops(graph) if op not in ("identity", "reshape")]
    assert kept == ["conv", "relu", "linear"]


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_between_lines_is_qcfs(name, dynamo, tmp_path):
    theta = torch.tensor([0.5, 1.0, 2.0]) if "channel" in name else torch.tensor([1.5])
    module = net(lambda x: FLOORS[name](x, theta[:, None, None], 8))
    found = read(module, tmp_path, dynamo)
    (site,) = found.graph.sites
    assert (site.op, site.attrs["levels"]) == ("qcfs", 8)
    torch.testing.assert_close(found.tensors[site.tensors["threshold"]], theta)


def test_masks_of_other_values_are_named_and_taken_on_request(tmp_path):
    def forward(h):
        return h * (h > 1) + torch.where(h > 0.5, 2 * h, -h)

    with pytest.raises(ObstaclesError) as caught:
        read(net(forward), tmp_path, False)
    assert {obstacle.place.split("(")[1] for obstacle in caught.value.obstacles} == {
        "Greater)",
        "Mul)",
        "Where)",
    }
    assert "multiply" in ops(read(net(forward), tmp_path, False, analog=True).graph)


def test_a_negated_mask_is_a_mask_from_every_front_end(tmp_path):
    """Matrices are transposed in PyTorch's short forms, which its older exporter does not know."""

    def swapped(h):
        return h.transpose(2, 3).transpose(2, 3).transpose(2, 3)

    def forward(h, turned=lambda h: h.mT.mH.adjoint()):
        above = ~(h > 0.1).unsqueeze(1)
        below = (1 - (h > 0.2).float()).bool()
        return turned(h) * above.bool().squeeze(1) + h.masked_fill(~below, 0.5)

    module, file = net(forward), tmp_path / "network.pt2"
    sizes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module.eval(), (torch.rand(2, *IMAGE),), dynamic_shapes=sizes)
    torch.export.save(program, file)
    live, of_program = capture(module, IMAGE, analog=True), import_exported(file, IMAGE, True)
    of_onnx = read(net(partial(forward, turned=swapped)), tmp_path, False, analog=True)
    for found in (live, of_program, of_onnx):
        count = Counter(ops(found.graph))
        assert (count["pointwise"], count["multiply"]) == (2, 2)
        assert found.verdict.difference < 1e-5
    with pytest.raises(ObstaclesError, match="a cast to something other than floats"):
        read(net(lambda h: h * h.bool()), tmp_path, False, analog=True)


def test_a_mask_of_attention_that_depends_on_the_input(tmp_path):
    """-inf and -1e9 are where no attention is; both leave the digits of the others alone."""

    def forward(h):
        seen = h[..., :1, :] >= h[..., :1, :1]  # the first place is seen, always
        added = torch.where(seen, 0.0, -torch.inf)
        return ((h + added).softmax(-1) @ torch.where(seen, h, -1e9).softmax(-1)).flatten(1)

    graph, _, verdict = capture(net(forward), IMAGE, analog=True)
    assert "multiply" in ops(graph)
    assert verdict.difference < 1e-5
    assert read(net(forward), tmp_path, False, analog=True).verdict.difference < 1e-5


def test_what_is_replaced_is_no_obstacle_beside_one(tmp_path):
    nodes = [
        node("Greater", "x zero", "mask"),
        node("Cast", "mask", "ones", to=1),
        node("Mul", "x ones", "h"),
        node("Tanh", "h", "t"),
        node("Hardmax", "t", "c"),
        node("Sigmoid", "c"),
    ]
    tensors = {"zero": floats(1) * 0}
    file = saved(proto(nodes, tensors), tmp_path)
    with pytest.raises(ObstaclesError) as caught:
        import_onnx(file, IMAGE)
    found = [obstacle.place for obstacle in caught.value.obstacles]
    assert [place.split("(")[1] for place in found] == ["Tanh)", "Hardmax)", "Sigmoid)"]


def test_a_comparison_of_two_values(tmp_path):
    nodes = [
        node("Relu", "x", "a"),
        node("Neg", "x", "b"),
        node("Less", "a b", "less"),
        node("Not", "less", "not"),
        node("Where", "not a b"),
    ]
    found = imported(saved(proto(nodes), tmp_path), analog=True)
    x = torch.randn(5, *IMAGE)
    expected = torch.where(x.relu() < -x, -x, x.relu()).flatten(1)
    network = Network(found.graph, found.tensors).eval()
    torch.testing.assert_close(network(x), expected)

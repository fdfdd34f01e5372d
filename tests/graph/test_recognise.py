"""Activations that are spelled out, and masks and steps where they are none."""

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, fcs, flattened, ops, randomised
from torch import nn

from snnconv.errors import ObstaclesError
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.remedies import ANALOG


class Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.floor()

    @staticmethod
    def backward(ctx, grad):
        return grad


def graph_of(forward, analog=False, shape=(4,), **parts):
    """Captured, which compares it with the module; compared once more for other batches."""
    module = randomised(Calls(forward, **parts))
    graph, tensors, _ = capture(module, shape, analog)
    x = 2 * torch.randn(5, *shape)
    with torch.no_grad():
        torch.testing.assert_close(Network(graph, tensors)(x), module(x), rtol=1e-4, atol=1e-5)
    return graph, tensors


@pytest.mark.parametrize(
    "relu",
    [
        lambda h: h * (h > 0),
        lambda h: h * (h > 0).float(),
        lambda h: (h >= 0) * h,
        lambda h: h * h.gt(0).to(h.dtype),
        lambda h: h.mul(torch.gt(h, 0)),
        lambda h: torch.where(h > 0, h, 0.0),
        lambda h: torch.where(h > 0, h, torch.zeros_like(h)),
        lambda h: torch.where(h <= 0, 0.0, h),
        lambda h: torch.where(2 * h < 0, torch.zeros_like(h), h),
        lambda h: h.masked_fill(h < 0, 0),
        lambda h: h * ~(h < 0),
        lambda h: h * torch.logical_not(h.le(0)),
        lambda h: h * (-h < 0),
        lambda h: h * (1 - (h < 0).float()),
    ],
)
def test_a_mask_of_its_own_sign_is_a_relu(relu):
    graph, _ = graph_of(lambda n, x: n.out(relu(n.fc(x))), **fcs(4))
    assert [op for op in ops(graph) if op != "identity"] == ["linear", "relu", "linear"]


class Quantised(nn.Module):
    def __init__(self, theta, spell):
        super().__init__()
        self.theta, self.spell = nn.Parameter(torch.tensor(theta)), spell

    def forward(self, x):
        return self.spell(x, self.theta, 8)


@pytest.mark.parametrize("theta", [[2.0], [[[0.5]], [[3.0]]]])
@pytest.mark.parametrize(
    "spell",
    [
        lambda x, t, n: Floor.apply(torch.clamp(x / t, 0, 1) * n + 0.5) / n * t,
        lambda x, t, n: torch.floor((x / t).clamp(0, 1) * n + 0.5) * t / n,
        lambda x, t, n: t * (torch.floor(F.hardtanh(x * n / t, 0, n) + 0.5) / n),
        lambda x, t, n: (0.5 + n * F.relu6(6 * x / t) / 6).floor() * (t / n),
    ],
)
def test_a_floor_between_lines_is_qcfs(theta, spell):
    graph, tensors = graph_of(
        lambda n, x: n.act(n.conv(x)).flatten(1),
        shape=IMAGE,
        conv=nn.Conv2d(2, 2, 3),
        act=Quantised(theta, spell),
    )
    (site,) = graph.sites
    assert (site.op, site.attrs["levels"]) == ("qcfs", 8)
    found = tensors[site.tensors["threshold"]]
    torch.testing.assert_close(found, torch.tensor(theta).flatten())


@pytest.mark.parametrize(
    "other",
    [
        lambda x: torch.floor(x.clamp(0, 1) * 8) / 8,  # no half
        lambda x: torch.floor(x.clamp(0, 1) * 8 + 0.5) / 4,  # its slope is 2
        lambda x: torch.floor(x.clamp(0, 1) * 2.5 + 0.5) / 2.5,  # no whole levels
        lambda x: torch.floor(x.relu() * 8 + 0.5) / 8,  # no ceiling
        lambda x: x.round() + x.ceil() + x.sign(),
        lambda x: x * (x > 1),
        lambda x: x * (x < 0),
        lambda x: x * ~(x > 0),
        lambda x: x * (2 - (x < 0).float()),
        lambda x: x.masked_fill(x > 0, 0),
        lambda x: torch.where(x <= 0.5, x, -x) + torch.where(x > 0, 1.0, 2.0),
        lambda x: x.masked_fill(x < 0, -1.0),
        lambda x: torch.where(x > 0, x, torch.full_like(x, 3.0)),
        lambda x: (x > x.flip(2)).float() * x,
        lambda x: torch.log(torch.softmax(x, 1)) + torch.exp(x),
    ],
)
def test_others_are_named_and_the_remedy_takes_them(other):
    module = flattened(Calls(lambda n, x: other(x))).eval()
    with pytest.raises(ObstaclesError) as caught:
        capture(module, IMAGE)
    assert {obstacle.remedy for obstacle in caught.value.obstacles} == {ANALOG}
    graph, _ = graph_of(module.function, analog=True, shape=IMAGE, part=module.part)
    assert not [node for node in graph.nodes if node.op == "qcfs"]


def test_what_is_replaced_is_no_obstacle_beside_one():
    def forward(n, x):
        h = n.fc(x)
        return n.out(h * (h > 0)).cumprod(1).sigmoid()

    with pytest.raises(ObstaclesError) as caught:
        capture(Calls(forward, **fcs(4)), (4,))
    found = [obstacle.found for obstacle in caught.value.obstacles]
    assert len(found) == 2
    assert "cumprod" in found[0]
    assert "sigmoid" in found[1]


def test_functions_before_a_refused_call_are_named():
    def forward(n, x):
        return n.out(torch.tanh(n.fc(x)).cumprod(1)).sigmoid()

    with pytest.raises(ObstaclesError) as caught:
        capture(Calls(forward, **fcs(4)), (4,))
    assert len(caught.value.obstacles) == 3

"""``einsum``: every pattern of labels gives what ``torch.einsum`` gives, from every front end."""

import math

import pytest
import torch
from helpers.nets import Calls, ops
from helpers.onnx_models import exported, floats, imported, node, proto, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.errors import UnsupportedError
from snnconv.frontends.onnx.importer import import_onnx
from snnconv.frontends.pt2.importer import import_exported
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network

WHERE = ("x", "y", "xy", "xo", "yo", "xyo")
"""The operands and the output, ``o``, that a label may stand in."""


@st.composite
def products(draw, broadcasts):
    """An equation, and the sizes of both operands without the batch."""
    roles = dict(zip("ijkLm", draw(st.lists(st.sampled_from(WHERE), max_size=5)), strict=False))
    size = {label: draw(st.integers(1, 3)) for label in roles}
    x, y, out = (
        draw(st.permutations([label for label, role in roles.items() if one in role]))
        for one in "xyo"
    )
    shapes = [[size[label] for label in labels] for labels in (x, y)]
    if broadcasts:  # of a shared label, one operand may have a single place
        shapes[1] = [
            1 if label in x and draw(st.booleans()) else n
            for label, n in zip(y, shapes[1], strict=True)
        ]
    return ["".join(labels) for labels in (x, y, out)], shapes


def same(net, shape):
    """The graph, after checking that it gives what the module gives."""
    graph, tensors, _ = capture(net.eval(), shape, analog=True)
    x = torch.randn(5, *shape)
    with torch.no_grad():
        got, wanted = Network(graph, tensors).eval()(x), net(x)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    return graph


@settings(max_examples=40)
@given(products(broadcasts=True))
def test_two_activations(product):
    (left, right, out), (x_shape, y_shape) = product
    first, second = math.prod(x_shape), math.prod(y_shape)

    def forward(n, x):
        parts = x[:, :first].reshape(-1, *x_shape), x[:, first:].reshape(-1, *y_shape)
        found = torch.einsum(f"b{left}, b{right} -> b{out}", *parts)
        return found.reshape(x.shape[0], -1)

    same(Calls(forward), (first + second,))


@settings(max_examples=40)
@given(products(broadcasts=True), st.booleans())
def test_an_activation_and_a_tensor(product, turned):
    (left, right, out), (x_shape, own_shape) = product

    def forward(n, x):
        value = x.reshape(-1, *x_shape)
        if turned:
            found = torch.einsum(f"{right},b{left}->b{out}", n.own, value)
        else:
            found = torch.einsum(f"b{left},{right}->b{out}", [value, n.own])
        return found.reshape(x.shape[0], -1)

    own = nn.Parameter(torch.randn(own_shape))
    graph = same(Calls(forward, own=own), (math.prod(x_shape),))
    assert not {"multiply", "matmul"} & set(ops(graph))  # a layer, or a scale


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("bhid,bhjd->bhij", ["permute", "matmul"]),
        ("bhij,bhjd->bhid", ["matmul"]),
        ("bhij,bhij->bhij", ["multiply"]),
        ("bhij->bjhi", ["permute"]),
        ("bhij->bi", ["mean", "affine", "reshape"]),
        ("bhij->bhij", ["identity"]),
    ],
)
def test_activations_take_these_operations(equation, expected):
    count = equation.count(",") + 1
    net = Calls(lambda n, x: torch.einsum(equation, *[x] * count).flatten(1))
    assert ops(same(net, (2, 3, 3)))[: len(expected)] == expected


@pytest.mark.parametrize(
    ("equation", "shape", "expected"),
    [
        ("bid,de->bie", (4, 5), ["linear"]),
        ("bd,de->be", (4, 5), ["linear"]),
        ("bid,d->bid", (4,), ["affine"]),
        ("bid,id->bid", (3, 4), ["affine"]),
        ("bid,ide->bie", (3, 4, 5), ["reshape", "conv"]),
        ("b...d,d...e->b...e", (4, 5), ["linear"]),
        ("...d,ed->...e", (5, 4), ["linear"]),
    ],
)
def test_a_tensor_takes_these_operations(equation, shape, expected):
    net = Calls(
        lambda n, x: torch.einsum(equation, x, n.own).flatten(1),
        own=nn.Parameter(torch.randn(shape)),
    )
    found = ops(same(net, (4,) if equation.startswith("bd") else (3, 4)))
    assert found[: len(expected)] == expected


@pytest.mark.parametrize(
    ("function", "found", "remedy"),
    [
        (lambda x: torch.einsum("bii->bi", x), "'bii->bi', which takes a diagonal", "torch.eye"),
        (lambda x: torch.einsum("bij,bjk,bkl->bil", x, x, x), "of 3 operands", "one einsum after"),
        (lambda x: torch.einsum("bij,cij->bc", x, x)[:, :1], "which mixes samples", "first axis"),
        (lambda x: torch.einsum("bij,bjk", x, x).sum() + x, "which mixes samples", "first axis"),
        (lambda x: torch.einsum("bij->ibj", x).transpose(0, 1), "mixes samples", "first axis"),
        (lambda x: torch.einsum("bij,b->bij", x, torch.ones(3)), "mixes samples", "first axis"),
        (lambda x: torch.einsum("ibj->bj", x.transpose(0, 1)), "moves the batch", "first axis"),
    ],
)
def test_what_can_not_be_taken_is_named(function, found, remedy):
    with pytest.raises(UnsupportedError) as caught:
        capture(Calls(lambda n, x: function(x).flatten(1)), (3, 3), analog=True)
    assert found in caught.value.found
    assert remedy in str(caught.value)


def test_the_remedies_help():
    def diagonal(n, x):
        return (x * n.eye).sum(-1)

    net = Calls(diagonal, eye=nn.Buffer(torch.eye(3)))
    x = torch.randn(5, 3, 3)
    torch.testing.assert_close(net(x), torch.einsum("bii->bi", x))
    same(net, (3, 3))
    chained = Calls(
        lambda n, x: torch.einsum("bik,bkl->bil", torch.einsum("bij,bjk->bik", x, x), x).flatten(1)
    )
    torch.testing.assert_close(chained(x), torch.einsum("bij,bjk,bkl->bil", x, x, x).flatten(1))
    same(chained, (3, 3))


class Attention(nn.Module):
    """As MaxViT has it, by einsum."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.out = nn.Linear(4, 24), nn.Parameter(torch.randn(2, 4, 5))
        self.position = nn.Parameter(torch.randn(1, 2, 6, 6))

    def forward(self, x):
        q, k, v = self.embed(x).reshape(-1, 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = torch.einsum("B H I D, B H J D -> B H I J", q, 0.5 * k) + self.position
        mixed = torch.einsum("B H I J, B H J D -> B H I D", weights.softmax(-1), v)
        return torch.einsum("bhid,hde->bie", mixed, self.out).mean(1)


@pytest.mark.filterwarnings("ignore")
def test_every_front_end_takes_attention(tmp_path):
    net, shape = Attention().eval(), (6, 4)
    x = torch.randn(4, *shape)
    found = {"module": capture(net, shape, analog=True)[:2]}
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for core in (False, True):  # the core set has no einsum
        file = tmp_path / f"{core}.pt2"
        torch.export.save(program.run_decompositions() if core else program, file)
        found[f"pt2 {core}"] = import_exported(file, shape, True)[:2]
    for dynamo in (False, True):
        file = exported(net, shape, tmp_path, dynamo, 18)
        found[f"onnx {dynamo}"] = import_onnx(file, shape, True)[:2]
    for name, (graph, tensors) in found.items():
        got = Network(graph, tensors).eval()(x)
        torch.testing.assert_close(got, net(x), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("equation", "count"),
    [("bcij,bcjk->bcik", 2), ("bcij,bcij->bij", 2), ("b...ij->b...ji", 1), ("bcij->bc", 1)],
)
def test_activations_of_an_onnx_file(equation, count, tmp_path):
    nodes = [node("Einsum", " ".join(["x"] * count), equation=equation)]
    imported(saved(proto(nodes), tmp_path), analog=True)


@pytest.mark.parametrize("equation", ["bcij,jk->bcik", "bcij,cjk->bcik", "bcij,cj->bcij"])
def test_tensors_of_an_onnx_file(equation, tmp_path):
    sizes = {"c": 2, "j": 6, "k": 3}
    weight = floats(*(sizes[label] for label in equation.partition("->")[0].partition(",")[2]))
    nodes = [node("Einsum", "x w", equation=equation)]
    imported(saved(proto(nodes, {"w": weight}), tmp_path))

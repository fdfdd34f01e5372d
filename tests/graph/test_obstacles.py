"""Every way round that a refusal names works: each network here is refused, and then follows it."""

import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls
from torch import nn

import snnconv.frontends
import snnconv.graph
from snnconv.errors import Obstacle, ObstaclesError, UnsupportedError
from snnconv.frontends.torch.capture import capture
from snnconv.graph import obstacles
from snnconv.graph.remedies import (
    ANALOG,
    BATCH_FIRST,
    DATA_DEPENDENT,
    FIXED_MASK,
    IN_OTHER_WORDS,
    NO_PADDING,
    NO_SITE,
)
from snnconv.graph.transfer import with_transfer_sites

ROW = (6, 8)


def fixed(function, shape=IMAGE, **parts):
    return Calls(function, **parts), shape


def attention(**options):
    return nn.MultiheadAttention(8, 2, **({"batch_first": True} | options))


def attended(n, x):
    return n.part(x, x, x, need_weights=False)[0].flatten(1)


CASES = {
    BATCH_FIRST: (
        fixed(lambda n, x: x.mean(0, keepdim=True).flatten(1) + x.flatten(1)),
        fixed(lambda n, x: x.mean(1, keepdim=True).flatten(1)),
    ),
    IN_OTHER_WORDS: (
        fixed(lambda n, x: x.cumprod(1).flatten(1)),
        fixed(lambda n, x: torch.cat([x[:, :1], x[:, :1] + x[:, 1:]], 1).flatten(1)),
    ),
    "expand the value before": (
        fixed(lambda n, x: (x[:, :1] + n.wide).flatten(1), wide=nn.Parameter(torch.ones(2, 1, 1))),
        fixed(
            lambda n, x: (x[:, :1].expand(-1, 2, -1, -1) + n.wide).flatten(1),
            wide=nn.Parameter(torch.ones(2, 1, 1)),
        ),
    ),
    "train it with track_running_stats=True": (
        (nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten()), IMAGE),
        (nn.Sequential(nn.BatchNorm2d(2), nn.Flatten()), IMAGE),
    ),
    "use the value only": (
        fixed(lambda n, x: x.max(1)[1].float().flatten(1)),
        fixed(lambda n, x: x.max(1)[0].flatten(1)),
    ),
    "take one after another": (
        fixed(lambda n, x: x.amax((1, 3))),
        fixed(lambda n, x: x.amax(3).amax(1)),
    ),
    "name an axis of the samples: amax(dim)": (
        fixed(lambda n, x: (x.max() + x).flatten(1)),
        fixed(lambda n, x: (x.amax(1, keepdim=True) + x[:, :1]).flatten(1)),
    ),
    "name an axis of the samples: amin(dim)": (
        fixed(lambda n, x: (x.min() + x).flatten(1)),
        fixed(lambda n, x: (x.amin(1, keepdim=True) + x[:, :1]).flatten(1)),
    ),
    "clip by torch.maximum and torch.minimum": (
        fixed(lambda n, x: torch.clamp(x, max=n.high).flatten(1), high=nn.Buffer(torch.rand(8))),
        fixed(lambda n, x: torch.minimum(x, n.high).flatten(1), high=nn.Buffer(torch.rand(8))),
    ),
    "train the network with ReLU in its place": (
        (nn.Sequential(nn.Threshold(0.5, 0.0), nn.Flatten()), IMAGE),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), IMAGE),
    ),
    "make it with batch_first=True, or transpose its input: x.transpose(0, 1)": (
        fixed(attended, ROW, part=attention(batch_first=False)),
        fixed(attended, ROW, part=attention()),
    ),
    NO_PADDING: (
        fixed(attended, ROW, part=attention(add_bias_kv=True)),
        fixed(attended, ROW, part=attention()),
    ),
    "give [B, L, E] or [B, heads, L, E]": (
        fixed(lambda n, x: F.scaled_dot_product_attention(x[:, None], x, x).flatten(1), ROW),
        fixed(lambda n, x: F.scaled_dot_product_attention(x, x, x).flatten(1), ROW),
    ),
    FIXED_MASK: (
        fixed(lambda n, x: F.scaled_dot_product_attention(x, x, x, x[..., :6]).flatten(1), ROW),
        fixed(
            lambda n, x: F.scaled_dot_product_attention(x, x, x, n.m).flatten(1),
            ROW,
            m=nn.Buffer(torch.zeros(6, 6)),
        ),
    ),
    "use the one of order 2": (
        fixed(lambda n, x: torch.linalg.vector_norm(x, 1, 1).flatten(1)),
        fixed(lambda n, x: torch.linalg.vector_norm(x, 2, 1).flatten(1)),
    ),
    "use the whole sequence": (
        fixed(lambda n, x: n.part(x)[1][1][0], ROW, part=nn.LSTM(8, 4, batch_first=True)),
        fixed(lambda n, x: n.part(x)[0].flatten(1), ROW, part=nn.LSTM(8, 4, batch_first=True)),
    ),
    "negate a comparison": (
        fixed(lambda n, x: torch.where(torch.logical_not(x), x, 0 * x).flatten(1)),
        fixed(lambda n, x: torch.where(torch.logical_not(x > 0), x, 0 * x).flatten(1)),
    ),
    "return the logits only": (
        fixed(lambda n, x: n.table, (4,), table=nn.Parameter(torch.ones(3, 2))),
        fixed(lambda n, x: x, (4,)),
    ),
}
"""Remedies: a network that is refused with it, and the same after following it."""

NOT_SEEN = {
    "give numbers, 'same' or 'valid'": "torch itself refuses other words for a padding",
    "call it without return_indices": "the indices of a pooling may be there, unread",
    "pad before it, by nn.ReflectionPad2d, nn.ReplicationPad2d or nn.CircularPad2d": (
        "torch.export, which is asked next, writes the padding out"
    ),
    "index by one, and then by the other": "torch.export, which is asked next, does so",
    "leave it out": "an empty piece, which only ONNX's operators give to others",
    "compare them with a value one by one": "a Max of constants, which only ONNX has",
    "pad them to one length": "an input of ONNX's LSTM",
    "use its outputs or last state": "an output of ONNX's LSTM",
    "multiply by torch.eye(n) instead, and sum: (x * eye).sum(-1)": "applied in test_einsums",
    "multiply two of them first: one einsum after another": "applied in test_einsums",
    'name them by letters: torch.einsum("bij,bjk->bik", x, y)': (
        "torch.export, which is asked next, takes labels in lists"
    ),
    "repeat the keys and values": "torch on a CPU has no attention of groups here",
}
"""Remedies of calls that nothing reaches by itself, and why."""


def texts():
    """Every remedy that a file of the graph or of a front end has as a text of its own."""
    found = set()
    rooms = (Path(room.__file__).parent for room in (snnconv.frontends, snnconv.graph))
    for file in (file for room in rooms for file in room.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = {"Refused": 1, "_refuse": 2, "Obstacle": 2}.get(name)
            if place is not None and len(node.args) > place:
                given = node.args[place]
                if isinstance(given, ast.Constant):
                    found.add(given.value)
    return found


def test_each_remedy_has_a_case():
    assert texts() - set(CASES) - set(NOT_SEEN) == set()
    assert set(NOT_SEEN) <= texts()


@pytest.mark.parametrize("remedy", CASES)
def test_it_is_named_and_helps(remedy):
    (before, shape), (after, after_shape) = CASES[remedy]
    with pytest.raises(ObstaclesError) as caught:
        capture(before, shape, analog=True)
    assert remedy in {obstacle.remedy for obstacle in caught.value.obstacles}
    capture(after, after_shape, analog=True)


@pytest.mark.parametrize(
    "function",
    [
        *(nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.Mish(), nn.Softplus()),
        *(nn.ELU(), nn.LayerNorm(8), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.Softmax(1)),
        *(nn.LocalResponseNorm(2), nn.LogSoftmax(1)),
    ],
)
def test_functions_are_taken_on_request(function):
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), function, nn.Flatten())
    with pytest.raises(ObstaclesError) as caught:
        capture(net, IMAGE)
    (obstacle,) = caught.value.obstacles
    assert obstacle.remedy == ANALOG
    graph, *_ = capture(net, IMAGE, analog=True)
    assert obstacles.obstacles(graph, analog=True) == []


def test_a_network_without_a_site():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    (obstacle,) = obstacles.obstacles(capture(net, (4,))[0], analog=False)
    assert obstacle.remedy == NO_SITE
    assert {"ReLU", "--spike-everything"} <= set(NO_SITE.replace(",", "").split())
    spiking = with_transfer_sites(*capture(net, (4,))[:2], everything=True)
    assert obstacles.obstacles(spiking, analog=True) == []
    net.insert(1, nn.ReLU())
    assert obstacles.obstacles(capture(net, (4,))[0], analog=False) == []


def test_a_reason_is_told_once_with_its_first_places():
    """Hundreds of products of a recurrence are one thing to do."""
    found = [Obstacle(f"t{t}", "a product", "leave it") for t in range(200)]
    found.insert(7, Obstacle("sort", "function 'sort'", "another"))
    error = ObstaclesError("net", found)
    assert error.problem == "201 operations of net can't be converted"
    assert error.found == (
        "t0, t1, t2, t3, t4 and 195 more: a product; sort: function 'sort' "
        "(all of them: snnconv inspect)"
    )
    assert error.remedy == "t0, t1, t2 and 197 more: leave it; sort: another"
    assert error.obstacles == tuple(found)
    exported = ObstaclesError("net", found, "be exported to nir", "part")  # nothing else names all
    assert "t198, t199: a product" in exported.found
    few = ObstaclesError("net", found[:5])
    assert (few.found, few.remedy) == ("t0, t1, t2, t3, t4: a product", "leave it")


def padded(n, x):
    rows = n.table(x.long())
    scores = (rows @ rows.transpose(1, 2)).masked_fill((x == 0)[:, None], -1e9)
    return (scores.softmax(-1) @ rows).flatten(1)


def plain(n, x):
    rows = n.table(x.long())
    return ((rows @ rows.transpose(1, 2)).softmax(-1) @ rows).flatten(1)


def test_a_mask_of_padding_is_refused_and_can_be_left_out():
    given = {"analog": True, "tokens": 9}
    with pytest.raises(ObstaclesError) as caught:
        capture(Calls(padded, table=nn.Embedding(9, 4)), (5,), **given)
    assert NO_PADDING in {obstacle.remedy for obstacle in caught.value.obstacles}
    capture(Calls(plain, table=nn.Embedding(9, 4)), (5,), **given)


def one_side(n, x):
    if x.sum() > 0:
        return n.a(x)
    return n.b(x)


def chosen(n, x):
    return torch.where(x.sum(1, keepdim=True) > 0, n.a(x), n.b(x))


def halved(n, x):
    while x.abs().max() > 1:
        x = x / 2
    return n.a(x)


def halved_thrice(n, x):
    for _ in range(3):
        x = torch.where(x.abs().amax(1, keepdim=True) > 1, x / 2, x)
    return n.a(x)


def cut(n, x):
    return n.a(x)[:, : int(x.sum().abs()) + 1]


def cut_at_two(n, x):
    return n.a(x)[:, :2]


@pytest.mark.parametrize(
    ("found", "before", "after"),
    [
        (r"if x\.sum", one_side, chosen),
        (r"while x\.abs", halved, halved_thrice),
        (r"int\(x\.sum", cut, cut_at_two),
    ],
)
def test_control_flow_that_depends_on_data_is_written_without_it(found, before, after):
    parts = {"a": nn.Linear(4, 3), "b": nn.Linear(4, 3)}
    with pytest.raises(UnsupportedError, match=found) as caught:
        capture(Calls(before, **parts), (4,), analog=True)
    assert caught.value.remedy == DATA_DEPENDENT
    capture(Calls(after, **parts), (4,), analog=True)

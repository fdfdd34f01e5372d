"""Piecewise-linear functions: what torch computes, by ReLUs alone."""

import inspect
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, captured, fcs, flattened, ops, refused
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snnconv.frontends.lowering import piecewise
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS, Role

slopes, bounds = st.floats(-2, 2), st.floats(-3, 3)


def part(draw, name):
    """A random part of a network that is one of the forms, and how many neurons it takes."""
    low, high = sorted((draw(bounds), draw(bounds) + 4))
    slope = draw(slopes)
    one_a_channel = nn.PReLU(2)
    one_a_channel.weight.data.normal_()
    return {
        "relu": (torch.relu, 1),
        "relu6": (F.relu6, 1),
        "hardtanh": (nn.Hardtanh(low, high), 1),
        "hardsigmoid": (draw(st.sampled_from([nn.Hardsigmoid(), F.hardsigmoid])), 1),
        "clipped_line": (lambda x: (slope * x + 0.3).clamp(0, 1), 1),
        "clamp": (
            draw(
                st.sampled_from(
                    [
                        lambda x: x.clamp(low, high),
                        lambda x: torch.clip(x, max=high),
                        lambda x: x.clamp_min(low),
                        lambda x: x.clamp(torch.tensor(low), torch.tensor(high)),
                    ]
                )
            ),
            1,
        ),
        "clamp_max": (lambda x: torch.clamp_max(x, high), 1),
        "maximum": (lambda x: torch.maximum(x, 0.5 * x.flip(2) + slope), 1),
        "minimum": (lambda x: torch.min(x.mean(2, keepdim=True), x * slope), 1),
        "leaky_relu": (draw(st.sampled_from([nn.LeakyReLU(slope), nn.PReLU(init=slope)])), 2),
        "prelu": (one_a_channel, 2),
        "rrelu": (draw(st.sampled_from([nn.RReLU(0.1, 0.4), partial(F.rrelu, lower=0.1)])), 2),
        "magnitude": (draw(st.sampled_from([torch.abs, abs, lambda x: x.abs()])), 2),
        "softshrink": (nn.Softshrink(abs(slope)), 2),
        "threshold": (nn.Threshold(low, low), 1),
    }[name]


ROOM = [
    name
    for name, form in inspect.getmembers(piecewise, inspect.isfunction)
    if form.__module__ == piecewise.__name__ and not name.startswith(("_", "onnx_"))
]


def test_the_room():
    assert [
        *("clamp", "clamp_max", "clipped_line", "hardsigmoid", "hardtanh", "leaky_relu"),
        *("magnitude", "maximum", "minimum", "prelu", "relu", "relu6", "rrelu", "softshrink"),
        "threshold",
    ] == ROOM


@pytest.mark.parametrize("name", ROOM)
@given(st.data())
def test_each_is_what_torch_computes_and_spikes(name, data):
    function, sites = part(data.draw, name)
    graph = captured(flattened(function), IMAGE, batches=(3,))
    assert len(graph.sites) == sites
    assert not [n for n in graph.nodes if OPS[n.op].role is Role.ANALOG]


@pytest.mark.parametrize("bound", [torch.tensor([0.5, -0.5])[:, None, None], torch.randn(2, 8, 8)])
def test_constants_that_differ_from_place_to_place(bound):
    def forward(n, x):
        return torch.maximum(n.bound, torch.minimum(x + n.bound, -n.bound)).flatten(1)

    graph = captured(Calls(forward, bound=nn.Buffer(bound)), IMAGE)
    assert len(graph.sites) == 2


def test_a_ceiling_behind_a_relu_makes_no_neuron():
    def forward(n, x):
        return n.out(n.fc(x).clamp(min=0).clamp(max=6).clamp(max=7))

    graph = captured(Calls(forward, **fcs(4)), (4,))
    assert ops(graph) == ["linear", "relu", "linear"]
    assert graph.sites[0].attrs == {"ceiling": 6.0}


def test_a_ceiling_that_a_relu_never_is_below():
    graph = captured(flattened(lambda x: x.relu().clamp(max=-1.0)), IMAGE)
    assert ops(graph)[-2:] == ["affine", "reshape"]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x.clamp(0, 0), "clamp: a clip to [0, 0], which leaves one number"),
        (lambda x: x.clamp(2, 1), "clamp: a clip to [2, 1], which leaves one number"),
        (lambda x: torch.clamp(x, x * 0), "clamp: a clip by bounds that are not numbers"),
        (lambda x: F.threshold(x, 0.1, 0), "a threshold at 0.1 with value 0, which jumps"),
        (lambda x: F.threshold(x, 0, 1), "a threshold at 0 with value 1, which jumps"),
        (lambda x: F.rrelu(x, training=True), "a slope that is random outside training"),
        (lambda x: torch.maximum(x[:, :1], torch.ones(2, 1, 1)), "the value is expanded to"),
        (lambda x: torch.maximum(x, x[:, 0]), "a comparison that mixes samples"),
    ],
)
def test_what_is_refused(function, says):
    assert says in refused(flattened(function), IMAGE).found


def test_training_leaves_their_lines_as_they_are_and_learns_the_network_s_own():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.slope = nn.Parameter(torch.rand(2, 1, 1)), nn.PReLU(2)

        def forward(self, x):
            x = self.slope(x * self.scale)
            return (F.leaky_relu(F.hardtanh(x)) / 2 - x.amin(1, keepdim=True)).flatten(1)

    graph, tensors, _ = capture(Own(), IMAGE)
    network = Network(graph, tensors)
    learned = {name for name in tensors if network.tensor(name).requires_grad}
    owners = {node.op for node in graph.nodes if learned & set(node.tensors.values())}
    assert owners == {"affine"}
    assert sorted(network.tensor(name).numel() for name in learned) == [1, 1, 2, 2]


def test_behind_a_relu_a_bend_has_one_side():
    graph = captured(flattened(lambda x: F.leaky_relu(x.relu(), 0.2)), IMAGE)
    assert len(graph.sites) == 1


def test_a_clip_without_an_end():
    infinite = float("inf")
    graph = captured(flattened(lambda x: x.clamp(-infinite, infinite)), IMAGE)
    assert ops(graph) == ["identity", "reshape"]


@pytest.mark.parametrize(
    "zeros", [torch.zeros_like, lambda x: x.new_zeros(1), lambda x: torch.full_like(x, 0.0)]
)
def test_a_maximum_with_zeros_of_the_value_s_shape_is_a_relu(zeros):
    assert ops(captured(flattened(lambda x: torch.maximum(x, zeros(x))), IMAGE))[0] == "relu"

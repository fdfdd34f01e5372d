from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, captured, flattened, ops, refused
from torch import nn

from snnconv.graph.analysis import Analysis
from snnconv.graph.signals import Signal

# What can't be used, and why


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda n, x: n.fc(x) + n.wide[:, None], "add: the constant 'getitem', which differs"),
        (lambda n, x: n.fc(x) * n.square, "mul: the constant 'square', which differs"),
        (lambda n, x: n.fc(x)[:, :1] + n.offset, "add: a constant that the value is expanded to"),
        (lambda n, x: n.fc(x) + "one", "add: a constant that is not a number ('one')"),
        (lambda n, x: n.fc(x) * x, "mul: function 'mul'"),
        (lambda n, x: n.fc(x).mul(x), "mul: method 'mul'"),
        (lambda n, x: n.fc(x) / x, "truediv: function 'truediv'"),
        (lambda n, x: n.fc(x).div(2, rounding_mode="floor"), "div: a quotient that is rounded"),
        (lambda n, x: torch.sigmoid(n.fc(x)), "sigmoid: function 'sigmoid'"),
        (lambda n, x: n.fc(x).tanh(), "tanh: method 'tanh'"),
        (lambda n, x: n.gelu(n.fc(x)), "gelu: module GELU"),
        (lambda n, x: n.norm(n.fc(x)), "norm: module LayerNorm"),
        (lambda n, x: n.lazy(n.fc(x)), "lazy: BatchNorm without running statistics"),
        (lambda n, x: F.dropout(n.fc(x), training=True), "dropout that is on outside training"),
        (lambda n, x: n.fc(x.softmax(1)), "softmax: method 'softmax'"),
        (lambda n, x: n.fc(x).softmax(0), "a softmax over the batch"),
        (lambda n, x: torch.cat([n.fc(x), x], 0).view(3, 8), "a concatenation over the batch"),
        (lambda n, x: n.fc(x).mean() + x, "mean: a mean over the batch"),
        (lambda n, x: n.fc(x) + x.mean(0, keepdim=True), "mean: a mean over the batch"),
        (
            lambda n, x: n.fc(x) + x.mean(dim=1, dtype=torch.float64, keepdim=True),
            "numbers of type torch.float64",
        ),
        (lambda n, x: n.fc(x).view(2, -1).view(3, 4), "view, view_1: a reshape that mixes samples"),
        (lambda n, x: n.fc(x).t().mean(1) + x, "mean: a mean over the batch"),
        (lambda n, x: n.fc(x).chunk(3, 0)[0].expand(3, 4), "chunk: a split of the batch"),
        (lambda n, x: n.fc(x)[1:2].expand(3, 4), "getitem: an index that picks samples"),
        (lambda n, x: n.fc(x)[:, n.square.long()][:, 0], "getitem: an index that is not a list of"),
        (lambda n, x: n.fc(x)[torch.tensor([2, 1, 0])], "getitem: an index that picks samples"),
        (lambda n, x: n.fc(x).sum() + x, "sum_1: a mean over the batch"),
        (lambda n, x: n.fc(x).transpose(0, 1).view(3, 4), "a permutation that moves the batch"),
        (
            lambda n, x: torch.ones(x.shape).cumsum(0) + x,
            "add: the constant 'cumsum', which differs",
        ),
        (lambda n, x: F.pad(n.fc(x), (0, 1), value=1.0), "pad: padding with mode 'constant' and v"),
        (lambda n, x: x.unsqueeze(1).add(x).mean(1), "add: a sum that mixes samples"),
        (lambda n, x: n.fc(x).amax(0, keepdim=True) + x, "amax: an extreme over the batch"),
        (lambda n, x: n.fc(x).amax() + x, "amax: an extreme over the batch"),
        (lambda n, x: n.fc(x).amin(0, keepdim=True) + x, "amin: an extreme over the batch"),
        (lambda n, x: n.fc(x).min() + x, "min_1: a minimum over the batch"),
        (lambda n, x: torch.cat([n.fc(x).repeat(1, 0), x], 1), "repeat: a move that mixes"),
        (lambda n, x: n.fc(x).chunk(2, 5)[0], "chunk"),
        (lambda n, x: n.fc(x).roll(1, 0), "roll: a move that mixes samples"),
        (lambda n, x: n.fc(x).repeat(2, 1)[1:4], "getitem: a reshape that mixes samples"),
        (
            lambda n, x: n.fc(x) + x.max(1)[1][:, None],
            "indices or statistics in addition to a value",
        ),
        (lambda n, x: torch.stack([n.fc(x), x])[0], "stack: a stack over the batch"),
        (lambda n, x: n.unbatched(x), "unbatched: an input of shape [B, 4]"),
    ],
)
def test_refused(function, says):
    module = Calls(
        function,
        fc=nn.Linear(4, 4),
        gelu=nn.GELU(),
        norm=nn.LayerNorm(4),
        lazy=nn.BatchNorm1d(4, track_running_stats=False),
        offset=nn.Parameter(torch.ones(4)),
        wide=nn.Parameter(torch.arange(3.0)),
        square=nn.Parameter(torch.arange(12.0).view(3, 4)),
        unbatched=nn.MaxPool1d(2),
    )
    assert says in refused(module, (4,)).found


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (nn.Upsample(scale_factor=2, mode="nearest-exact"), "upsampling with mode 'nearest-exact'"),
        (lambda x: F.interpolate(x, 3, mode="bilinear", antialias=True), "and antialias"),
        (nn.Upsample(scale_factor=1.3), "part: upsampling by 1.3, which gives no whole sizes"),
        (nn.ConstantPad2d(1, 0.5), "part: padding with mode 'constant' and value 0.5"),
        (nn.Hardshrink(), "part: module Hardshrink"),
    ],
)
def test_refused_on_images(part, says):
    error = refused(flattened(part), IMAGE)
    assert says in error.found
    assert error.problem == "1 operation of the network can't be converted"


def test_a_function_is_refused_by_its_parts_if_these_may_be_transfer_sites():
    error = refused(flattened(lambda x: F.lp_pool2d(x, 2, 2)), IMAGE)
    assert "pow_1, pow_2: function" in error.found
    assert "--non-relu spike" in error.remedy


@pytest.mark.parametrize(
    "part",
    [
        nn.AvgPool2d(2, divisor_override=3),
        lambda x: F.avg_pool2d(x, 2, 2, 0, False, True, 3),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False, divisor_override=5),
        nn.AvgPool2d(3, 3, 1, ceil_mode=True, divisor_override=1),
        lambda x: F.avg_pool3d(x.unsqueeze(1), 2, divisor_override=7),
    ],
)
def test_an_average_with_a_divisor_of_its_own(part):
    assert ops(captured(flattened(part), IMAGE))[-3:-1] == ["avg_pool", "affine"]


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2, return_indices=True),
        partial(F.max_pool2d, kernel_size=2, return_indices=True),
        nn.AdaptiveMaxPool2d(2, return_indices=True),
        partial(F.adaptive_max_pool2d, output_size=1, return_indices=True),
    ],
)
def test_indices_of_a_pooling_may_be_there_and_may_not_be_read(pool):
    def forward(n, x):
        values, _ = n.part(x)
        return values.flatten(1)

    (op, _) = (node.op for node in captured(Calls(forward, part=pool), IMAGE).nodes)
    assert op in ("max_pool", "adaptive_max_pool")
    read = Calls(lambda n, x: n.part(x)[1].float().flatten(1), part=pool)
    error = refused(read, IMAGE)
    assert error.problem == "1 operation of the network can't be converted"
    assert "indices" in error.found


# Sums, and ceilings


@pytest.mark.parametrize(
    "total", [lambda x: x.sum((2, 3)), lambda x: torch.sum(x, 1, True), lambda x: x.sum(dim=-1)]
)
def test_a_sum_is_a_mean_times_a_number(total):
    graph = captured(Calls(lambda n, x: total(x).flatten(1)), IMAGE)
    assert [node.op for node in graph.nodes] == ["mean", "affine", "reshape"]


@pytest.mark.parametrize(
    ("relu", "ceiling"),
    [
        (lambda x: x.relu().clamp(max=6), 6.0),
        (lambda x: x.clamp(min=0).clip(max=0.5), 0.5),
        (lambda x: torch.clamp_max(F.relu6(x), 7), 6.0),
        (lambda x: x.relu().clamp_max_(0.5).clamp_max_(1), 0.5),
        (lambda x: torch.minimum(F.relu(x), torch.tensor(2.0)), 2.0),
    ],
)
def test_a_ceiling_behind_a_relu_is_its_own(relu, ceiling):
    graph = captured(Calls(lambda n, x: relu(n.fc(x)), fc=nn.Linear(4, 4)), (4,))
    assert [node.op for node in graph.nodes] == ["linear", "relu"]
    assert graph.nodes[1].attrs == {"ceiling": ceiling}


def test_a_relu_that_is_read_before_its_ceiling_too_is_a_site_of_its_own():
    def forward(n, x):
        y = n.fc(x).relu()
        return y + y.clamp(max=0.25)

    graph = captured(Calls(forward, fc=nn.Linear(4, 4)), (4,))
    assert [node.attrs["ceiling"] for node in graph.sites] == [None, 0.25]
    assert {node.inputs for node in graph.sites} == {("fc",)}


# Maxima over axes


@pytest.mark.parametrize(
    "largest",
    [
        lambda x: x.amax((2, 3)),
        lambda x: torch.amax(x, (-1, -2), keepdim=True),
        lambda x: x.amax(1),
        lambda x: x.amax(dim=(1, 2), keepdim=True),
        lambda x: x.flatten(1).amax(1, True),
        lambda x: x[:, :, None, :, None].amax((3, 4)),
        lambda x: x.max(2)[0],
        lambda x: torch.max(x, dim=-1, keepdim=True)[0],
        lambda x: x.max(dim=3).values,
    ],
)
def test_maxima(largest):
    graph = captured(Calls(lambda n, x: largest(x).flatten(1)), IMAGE)
    assert [node.op for node in graph.nodes].count("max_pool") == 1


def test_a_maximum_over_places_spikes_by_the_cumulative_rule():
    graph = captured(
        Calls(lambda n, x: n.conv(x).relu().amax((2, 3)), conv=nn.Conv2d(2, 3, 3)), IMAGE
    )
    (pool,) = (node.name for node in graph.nodes if node.op == "max_pool")
    assert [node.name for node in Analysis(graph, {}).cumulative] == [pool]
    assert Analysis(graph, {}).signals[pool] is Signal.SPIKES


def test_a_maximum_over_axes_apart_is_refused():
    net = Calls(lambda n, x: x.amax((1, 3)))
    assert "axes [1, 3], which do not lie side by side" in refused(net, IMAGE).found

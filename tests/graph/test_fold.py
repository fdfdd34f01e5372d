from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.nets import Calls, ops, randomised
from torch import nn

from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.zoo import TEXTS, ZOO


def folded(module, shape):
    """Fold, after checking that no output changes, in float32 and in float64."""
    graph, tensors, _ = capture(randomised(module), shape)
    result, result_tensors = fold(graph, tensors)
    x = torch.randn(4, *shape)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        before = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        expected = Network(graph, before).eval()(x.to(dtype))
        got = Network(*fold(graph, before)).eval()(x.to(dtype))
        assert got.dtype == dtype
        assert (got - expected).abs().max() <= tolerance * expected.abs().max()
    assert not {"batch_norm", "dropout", "identity"} & {node.op for node in result.nodes}
    assert set(result_tensors) == result.tensor_names()
    return result


@pytest.mark.parametrize("name", sorted(set(ZOO) - TEXTS))  # they have no BatchNorm
def test_every_zoo_network_folds_whole(name):
    signal = name == "m5"
    module = ZOO[name](channels=3, size=512 if signal else 16, classes=10, width=0.125)
    graph = folded(module, (3, 512) if signal else (3, 16, 16))
    assert "affine" not in ops(graph)
    weighted = nn.Conv1d | nn.Conv2d | nn.Linear
    convolutions = [m for m in module.modules() if isinstance(m, weighted)]
    assert sum(op in ("conv", "linear") for op in ops(graph)) == len(convolutions)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(bias, affine, groups):
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1, groups=groups, bias=bias),
        nn.BatchNorm2d(4, affine=affine),
        nn.ReLU(),
        nn.Flatten(),
    )
    assert ops(folded(module, (2, 5, 5))) == ["conv", "relu", "reshape"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(bias, groups):
    module = nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=groups, bias=bias),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
    )
    assert ops(folded(module, (4, 5, 5))) == ["conv_transpose", "relu", "reshape"]


@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [
        (nn.Conv1d, nn.BatchNorm1d, (2, 6)),
        (nn.Conv3d, nn.BatchNorm3d, (2, 4, 4, 4)),
    ],
)
def test_other_ranks(conv, norm, shape):
    assert ops(folded(nn.Sequential(conv(2, 3, 3), norm(3), nn.Flatten()), shape)) == [
        "conv",
        "reshape",
    ]


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias):
    module = nn.Sequential(nn.Linear(5, 4, bias=bias), nn.BatchNorm1d(4), nn.ReLU())
    assert ops(folded(module, (5,))) == ["linear", "relu"]


def test_linear_on_the_last_axis_has_other_channels():
    """BatchNorm1d on [B, C, L] scales C, where the linear layer makes L; both are 4 here."""
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Flatten())
    assert ops(folded(module, (4, 5))) == ["linear", "affine", "reshape"]


def test_another_reader_sees_the_unscaled_value():
    module = Calls(
        lambda n, x: (n.bn(y := n.conv(x)) + y).flatten(1),
        conv=nn.Conv2d(2, 3, 3),
        bn=nn.BatchNorm2d(3),
    )
    assert ops(folded(module, (2, 5, 5))) == ["conv", "affine", "add", "reshape"]


def test_another_reader_behind_a_dropout():
    module = Calls(
        lambda n, x: n.bn(y := n.drop(n.fc(x))) + y,
        fc=nn.Linear(3, 4),
        drop=nn.Dropout(),
        bn=nn.BatchNorm1d(4),
    )
    assert ops(folded(module, (3,))) == ["linear", "affine", "add"]


def test_two_norms_read_one_convolution():
    module = Calls(
        lambda n, x: n.one(y := n.fc(x)) + n.two(y),
        fc=nn.Linear(3, 4),
        one=nn.BatchNorm1d(4),
        two=nn.BatchNorm1d(4),
    )
    assert ops(folded(module, (3,))) == ["linear", "affine", "affine", "add"]


def test_norm_before_the_convolution():
    module = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1), nn.Flatten())
    assert ops(folded(module, (2, 4, 4))) == ["affine", "conv", "reshape"]


def test_norm_behind_a_pooling():
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()
    )
    assert ops(folded(module, (2, 6, 6))) == ["conv", "avg_pool", "affine", "relu", "reshape"]


def test_one_convolution_used_twice_with_a_norm_each():
    module = Calls(
        lambda n, x: n.two(n.fc(F.relu(n.one(n.fc(x))))),
        fc=nn.Linear(4, 4),
        one=nn.BatchNorm1d(4),
        two=nn.BatchNorm1d(4),
    )
    graph = folded(module, (4,))
    assert ops(graph) == ["linear", "relu", "linear"]
    assert not set(graph["fc"].tensors.values()) & set(graph["fc@2"].tensors.values())


def test_one_norm_used_twice():
    module = Calls(
        lambda n, x: n.bn(n.b(F.relu(n.bn(n.a(x))))),
        a=nn.Linear(4, 4),
        b=nn.Linear(4, 4),
        bn=nn.BatchNorm1d(4),
    )
    assert ops(folded(module, (4,))) == ["linear", "relu", "linear"]


def test_dropout_and_identity_in_between():
    module = nn.Sequential(
        nn.Linear(4, 4), nn.Dropout(), nn.Identity(), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU()
    )
    graph = folded(module, (4,))
    assert ops(graph) == ["linear", "relu"]
    assert graph["5"].inputs == ("0",)


def test_norm_at_the_output():
    graph = folded(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), (4,))
    assert (ops(graph), graph.output) == (["linear"], "0")


def test_dropout_at_the_output():
    graph = folded(nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Identity()), (4,))
    assert (ops(graph), graph.output) == (["linear"], "0")


def test_norm_behind_norm():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    assert ops(folded(module, (4,))) == ["linear"]
    module = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert ops(folded(module, (4,))) == ["affine", "affine", "linear"]


@pytest.mark.parametrize("output", ["0", "1"])
def test_an_output_that_a_norm_reads_as_well_stays_as_it_is(output):
    """What a trace never gives, but a graph may: the norm's own value is not used."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4))
    graph, tensors, _ = capture(randomised(module), (4,))
    graph = replace(graph, output=output)
    x = torch.randn(3, 4)
    expected = Network(graph, tensors).eval()(x)
    result, result_tensors = fold(graph, tensors)
    assert torch.equal(Network(result, result_tensors).eval()(x), expected)
    assert ops(result) == ["linear", "affine"]


def test_the_network_is_left_as_it_was():
    graph, tensors, _ = capture(randomised(ZOO["cnn"](width=0.25)), (1, 8, 8))
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    nodes = graph.to_json()
    fold(graph, tensors)
    assert graph.to_json() == nodes
    assert tensors.keys() == before.keys()
    assert all(torch.equal(tensors[name], before[name]) for name in before)


def test_folding_twice_changes_nothing():
    once = fold(*capture(randomised(ZOO["resnet20"](1, 8, width=0.25)), (1, 8, 8))[:2])
    twice = fold(*once)
    assert twice[0] == once[0]
    assert all(torch.equal(twice[1][name], once[1][name]) for name in once[1])


def test_sites_keep_their_names():
    graph, tensors, _ = capture(ZOO["resnet18"](3, 8, width=0.125), (3, 8, 8))
    assert fold(graph, tensors)[0].sites[3].name == graph.sites[3].name
    assert len(fold(graph, tensors)[0].sites) == len(graph.sites) == 17

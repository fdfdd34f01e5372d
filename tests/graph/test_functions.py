import pytest
import torch
import torch.nn.functional as F
from nets import IMAGE, Calls, flattened, ops, randomised
from torch import nn

from snnconv.graph.build import Network
from snnconv.graph.capture import capture


def analog(module, shape=IMAGE):
    """The operations, after comparing the captured graph with the module."""
    graph, tensors = capture(randomised(module), shape, analog=True)
    x = 3 * torch.randn(5, *shape)
    with torch.no_grad():
        torch.testing.assert_close(Network(graph, tensors).eval()(x), module(x))
    return ops(graph)


@pytest.mark.parametrize(
    "part",
    [
        nn.Sigmoid(),
        torch.sigmoid,
        lambda x: x.sigmoid(),
        nn.Tanh(),
        torch.tanh,
        nn.SiLU(),
        nn.SiLU(inplace=True),
        F.silu,
        nn.GELU(),
        nn.GELU("tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
        nn.Hardswish(),
        F.hardswish,
        nn.Hardsigmoid(),
        F.hardsigmoid,
        nn.Mish(),
        nn.Softplus(2.0, 5.0),
        F.softplus,
        nn.ELU(0.5),
        F.elu,
        nn.LeakyReLU(0.2),
        lambda x: F.leaky_relu(x, negative_slope=0.3),
    ],
)
def test_functions_of_one_number(part):
    assert analog(flattened(part)) == ["pointwise", "reshape"]


def test_products_and_norms():
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1), nn.Sigmoid())
    net = Calls(lambda n, x: (x * n.gate(x)).flatten(1), gate=gate)
    found = analog(net)
    assert found == ["adaptive_avg_pool", "conv", "pointwise", "multiply", "reshape"]
    assert analog(flattened(nn.LayerNorm((8, 8)))) == ["layer_norm", "reshape"]
    assert analog(flattened(lambda x: F.layer_norm(x, (8,)))) == ["layer_norm", "reshape"]

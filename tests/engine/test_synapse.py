import pytest
import torch

from snnconv.engine import synapse
from snnconv.graph.build import Network
from snnconv.graph.ir import Node

CONV = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}


class Weights:
    """As much of a network as an operation needs."""

    def __init__(self, **tensors):
        self.tensors = tensors
        self.dense = 0

    def tensor(self, name):
        return self.tensors[name]

    def compute(self, node, inputs):
        self.dense += 1
        return Network.compute(self, node, inputs)

    training = False


def layer(out=64, channels=32, **attrs):
    weights = Weights(
        w=torch.randn(out, channels // attrs.get("groups", 1), 3, 3), b=torch.randn(out)
    )
    return weights, Node("conv", "conv", ("x",), CONV | attrs, {"weight": "w", "bias": "b"})


def fired(channels=32, dtype=torch.float32):
    return (torch.rand(4, channels, 6, 6) < 0.2).to(dtype)


@torch.no_grad()
def test_a_wide_convolution_of_spikes_goes_by_events():
    if synapse.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights, node = layer()
    x = fired()
    found = synapse.compute(weights, node, [x], spikes=True)
    assert weights.dense == 0
    torch.testing.assert_close(found, Network.compute(weights, node, [x]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("sizes", "x", "spikes"),
    [
        ({}, fired(), False),
        ({"out": 32}, fired(), True),
        ({"channels": 16}, fired(16), True),
        ({"out": 72}, fired(), True),
        ({"groups": 2}, fired(), True),
        ({}, fired(dtype=torch.float64), True),
    ],
)
@torch.no_grad()
def test_the_rest_goes_as_the_network_does(sizes, x, spikes):
    weights, node = layer(**sizes)
    weights.tensors = {name: tensor.to(x.dtype) for name, tensor in weights.tensors.items()}
    found = synapse.compute(weights, node, [x], spikes)
    assert weights.dense == 1
    assert torch.equal(found, Network.compute(weights, node, [x]))


def test_training_goes_as_the_network_does():
    weights, node = layer()
    synapse.compute(weights, node, [fired()], spikes=True)
    assert weights.dense == 1

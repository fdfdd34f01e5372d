import pytest
import torch
from networks import checkpoint, images, recorded, rounded
from torch import nn

from snnconv.conversion import spiking_network
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


@torch.no_grad()
def test_dense_is_dense_for_every_layer():
    weights, node = layer()
    x = fired()
    found = synapse.compute(weights, node, [x], spikes=True, engine="dense")
    assert weights.dense == 1
    assert torch.equal(found, Network.compute(weights, node, [x]))


@pytest.mark.parametrize(("out", "channels"), [(16, 1), (32, 3), (48, 16), (64, 32), (272, 5)])
@torch.no_grad()
def test_event_goes_by_events_wherever_it_can(out, channels):
    if synapse.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights, node = layer(out, channels)
    x = fired(channels)
    found = synapse.compute(weights, node, [x], spikes=True, engine="event")
    assert weights.dense == 0
    torch.testing.assert_close(found, Network.compute(weights, node, [x]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("sizes", "spikes"), [({}, False), ({"out": 72}, True), ({"groups": 2}, True)]
)
@torch.no_grad()
def test_event_leaves_what_it_can_not_do(sizes, spikes):
    weights, node = layer(**sizes)
    synapse.compute(weights, node, [fired()], spikes, engine="event")
    assert weights.dense == 1


def test_without_vectors_nothing_goes_by_events(monkeypatch):
    monkeypatch.setattr(synapse, "event_driven", lambda: None)
    weights, node = layer()
    assert {synapse.path(weights, node, True, e) for e in ("auto", "event", "dense")} == {"dense"}


def wide():
    """Layers with constant input, with spikes, with a shortcut's currents, and without a kernel."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 16, 3, padding=1),
        nn.Conv2d(16, 16, 1),  # without a site between: its input is no spikes
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 36, 4),
    )


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        ("auto", ["once", "event", "dense", "dense", "dense"]),
        ("event", ["once", "event", "event", "dense", "dense"]),
        ("dense", ["once", "dense", "dense", "dense", "dense"]),
    ],
)
def test_the_paths_are_those_that_a_simulation_takes(engine, wanted, monkeypatch):
    if synapse.event_driven() is None:
        pytest.skip("no wide vectors here")
    snn = spiking_network(checkpoint(rounded(wide()), theta=0.5), engine=engine).eval()
    assert list(snn.paths().values()) == wanted
    taken = []
    convolve = synapse.event_driven()

    def counted(*args):
        taken.append(args)
        return convolve(*args)

    monkeypatch.setattr(synapse, "event_driven", lambda: counted)
    recorded(snn, images(2), 8, chunk=4)
    assert len(taken) == 2 * wanted.count("event")


def test_events_change_no_spike():
    # dyadic weights and thresholds: every sum is exact, in whatever order
    dense, event = (
        recorded(
            spiking_network(checkpoint(rounded(wide()), theta=0.5), engine=e).eval(), images(3), 8
        )
        for e in ("dense", "event")
    )
    assert torch.equal(dense[0], event[0])
    for site, spikes in dense[1].items():
        assert torch.equal(spikes.counts, event[1][site].counts)
        assert spikes.counts.any()


def test_training_goes_as_the_network_does():
    weights, node = layer()
    synapse.compute(weights, node, [fired()], spikes=True)
    assert weights.dense == 1

from unittest import mock

import pytest
import torch
from helpers.layers import EVERY_LAYER
from helpers.networks import checkpoint, images, recorded, rounded
from torch import nn

from snnconv.engine.event_conv import plan
from snnconv.engine.event_conv.sparsity import assumed_rate
from snnconv.graph.ir import Node
from snnconv.graph.network import compute as compute_node
from snnconv.simulation.build import spiking_network
from snnconv.simulation.network import SpikingNetwork

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
        return compute_node(node, self.tensors, inputs)


def low(params):
    """A theta at which the last layer spikes, too; a LIF neuron may scale its input down."""
    return 2**-4 if params.get("input") == "scaled" else 0.5


def layer(out=64, channels=32, **attrs):
    weights = Weights(
        w=torch.randn(out, channels // attrs.get("groups", 1), 3, 3), b=torch.randn(out)
    )
    return weights, Node("conv", "conv", ("x",), CONV | attrs, {"weight": "w", "bias": "b"})


def fired(channels=32, dtype=torch.float32):
    return (torch.rand(4, channels, 6, 6) < 0.2).to(dtype)


def compute(weights, node, x, active=0.1, engine="auto"):
    return plan.compute(weights, node, [x], active, engine, plan.Layouts())


@torch.no_grad()
def test_a_wide_convolution_of_spikes_goes_by_events():
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights, node = layer()
    x = fired()
    found = compute(weights, node, x)
    assert weights.dense == 0
    torch.testing.assert_close(found, compute_node(node, weights.tensors, [x]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("sizes", "x", "active"),
    [
        ({}, fired(), None),
        ({}, fired(), 0.4),
        ({"out": 8}, fired(), 0.1),
        ({"channels": 16}, fired(16), 0.2),
        ({"out": 32, "stride": [2, 2]}, fired(), 0.1),
        ({"groups": 2}, fired(), 0.1),
        ({}, fired(dtype=torch.float64), 0.1),
    ],
)
@torch.no_grad()
def test_the_rest_goes_as_the_network_does(sizes, x, active):
    weights, node = layer(**sizes)
    weights.tensors = {name: tensor.to(x.dtype) for name, tensor in weights.tensors.items()}
    found = compute(weights, node, x, active)
    assert weights.dense == 1
    assert torch.equal(found, compute_node(node, weights.tensors, [x]))


def test_the_more_is_active_the_less_goes_by_events():
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    for sizes in ({}, {"channels": 16}, {"stride": [2, 2]}):
        weights, node = layer(**sizes)
        ways = [plan.path(weights, node, active / 100, "auto") for active in range(0, 101, 5)]
        assert ways == sorted(ways, reverse=True)
        assert ways[0] == "event"
        assert ways[-1] == "dense"


@torch.no_grad()
def test_dense_is_dense_for_every_layer():
    weights, node = layer()
    x = fired()
    found = compute(weights, node, x, engine="dense")
    assert weights.dense == 1
    assert torch.equal(found, compute_node(node, weights.tensors, [x]))


@pytest.mark.parametrize(
    ("out", "channels", "groups"),
    [(16, 1, 1), (32, 3, 1), (48, 16, 1), (64, 32, 1), (272, 5, 1), (10, 6, 2), (12, 12, 12)],
)
@torch.no_grad()
def test_event_goes_by_events_wherever_it_can(out, channels, groups):
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights, node = layer(out, channels, groups=groups)
    x = fired(channels)
    found = compute(weights, node, x, 1.0, "event")
    assert weights.dense == 0
    torch.testing.assert_close(found, compute_node(node, weights.tensors, [x]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3, 20), (2, 5, 20)])
@torch.no_grad()
def test_linear_layers_by_events(shape):
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights = Weights(w=torch.randn(7, 20), b=torch.randn(7))
    node = Node("linear", "linear", ("x",), {}, {"weight": "w", "bias": "b"})
    x = (torch.rand(shape) < 0.3).float()
    found = compute(weights, node, x, engine="event")
    assert weights.dense == 0
    torch.testing.assert_close(found, compute_node(node, weights.tensors, [x]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("outputs", "inputs", "active", "wanted"),
    [
        (128, 512, 0.1, "event"),
        (512, 2304, 0.1, "event"),
        (128, 512, 0.2, "dense"),
        (64, 512, 0.1, "dense"),
        (128, 256, 0.1, "dense"),
        (2048, 2048, 0.05, "dense"),  # weights of a spike come from memory
        (128, 512, None, "dense"),
    ],
)
@torch.no_grad()
def test_wide_linear_layers_of_few_spikes_go_by_events(outputs, inputs, active, wanted):
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights = Weights(w=torch.empty(outputs, inputs))
    node = Node("linear", "linear", ("x",), {}, {"weight": "w"})
    assert plan.path(weights, node, active, "auto") == wanted


@torch.no_grad()
def test_lines_by_events():
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights = Weights(w=torch.randn(7, 5, 3))
    attrs = {"stride": [2], "padding": [1], "dilation": [2], "groups": 1}
    node = Node("conv", "conv", ("x",), attrs, {"weight": "w"})
    x = (torch.rand(4, 5, 11) < 0.3).float()
    found = compute(weights, node, x, engine="event")
    assert weights.dense == 0
    torch.testing.assert_close(found, compute_node(node, weights.tensors, [x]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_event_leaves_what_it_can_not_do():
    weights, node = layer()
    compute(weights, node, fired(), None, "event")
    assert weights.dense == 1
    weights.tensors["w"] = torch.randn(64, 32, 3, 3, 3)
    attrs = {name: [1, 1, 1] for name in ("stride", "padding", "dilation")} | {"groups": 1}
    cube = Node("conv", "conv", ("x",), attrs, node.tensors)
    compute(weights, cube, (torch.rand(2, 32, 4, 4, 4) < 0.2).float(), 0.1, "event")
    assert weights.dense == 2


@torch.no_grad()
def test_weights_are_laid_out_again_when_they_change():
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights, node = layer()
    layouts, x = plan.Layouts(), fired()
    first = layouts.of(weights, node)
    assert layouts.of(weights, node) is first
    weights.tensors["w"].mul_(2)
    assert layouts.of(weights, node) is not first
    found = plan.compute(weights, node, [x], 0.1, "event", layouts)
    torch.testing.assert_close(found, compute_node(node, weights.tensors, [x]), atol=1e-4, rtol=0)
    weights.tensors["b"] = torch.zeros(64)
    found = plan.compute(weights, node, [x], 0.1, "event", layouts)
    torch.testing.assert_close(found, compute_node(node, weights.tensors, [x]), atol=1e-4, rtol=0)


def test_without_vectors_nothing_goes_by_events(monkeypatch):
    monkeypatch.setattr(plan, "event_driven", lambda: None)
    weights, node = layer()
    assert {plan.path(weights, node, 0.1, e) for e in ("auto", "event", "dense")} == {"dense"}


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
        ("auto", ["once", "event", "event", "dense", "dense"]),
        ("event", ["once", "event", "event", "dense", "event"]),
        ("dense", ["once", "dense", "dense", "dense", "dense"]),
    ],
)
def test_the_paths_are_those_that_a_simulation_takes(engine, wanted, monkeypatch):
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    snn = spiking_network(checkpoint(rounded(wide()), theta=0.5), engine=engine).eval()
    assert list(snn.paths().values()) == wanted
    taken = []
    lay_out = plan.event_driven()

    def counted(*args):
        convolution = lay_out(*args)
        made = mock.Mock(wraps=convolution, outputs=convolution.outputs)
        taken.append(made)
        return made

    monkeypatch.setattr(plan, "event_driven", lambda: counted)
    recorded(snn, images(2), 8, chunk=4)
    calls = [len(made.mock_calls) - len(made.places.mock_calls) for made in taken]
    assert calls == [2] * wanted.count("event")


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


class Everything(nn.Module):
    """Strides, groups, dilation, shortcuts, concatenation, average pooling, a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.grouped = nn.Conv2d(2, 32, 3, padding=1), nn.Conv2d(32, 64, 3, groups=4)
        self.dilated = nn.Conv2d(64, 64, 3, padding=2, dilation=2)
        self.wide, self.strided = nn.Conv2d(64, 64, 5, padding=2), nn.Conv2d(128, 64, 3, 2, 1)
        self.pool, self.one, self.last = nn.AvgPool2d(2, 1), nn.Conv2d(64, 16, 1), nn.Linear(16, 4)

    def forward(self, x):
        x = torch.relu(self.grouped(torch.relu(self.first(x))))
        y = torch.relu(self.dilated(x))
        z = torch.relu(self.wide(y) + x + y)
        z = torch.relu(self.strided(torch.cat([z, y], 1)))
        return self.last(torch.relu(self.one(self.pool(z))).flatten(1))


@pytest.mark.parametrize(("kind", "params"), EVERY_LAYER, ids=str)
def test_all_kinds_spike_the_same_by_events(kind, params):
    """All, where numbers are dyadic; where sums round, ties may fall to either side: a few."""
    exact = kind != "msat" and params.get("omega") != "causal"
    net = rounded(Everything()) if exact else Everything().eval()
    given = checkpoint(net, neuron=kind, theta=low(params), params=params, timesteps=8)
    dense, event = (
        recorded(spiking_network(given, engine=e).eval(), images(3), 8) for e in ("dense", "event")
    )
    for site, spikes in dense[1].items():
        differ = (spikes.counts != event[1][site].counts).double().mean()
        assert differ <= (0 if exact else 1e-3)
        assert spikes.counts.any()


@pytest.mark.parametrize(
    ("active", "engine", "attrs", "way", "back"),
    [
        (0.1, "auto", {}, "event", "event"),
        (0.22, "auto", {}, "event", "dense"),
        (0.5, "event", {}, "event", "event"),
        (0.1, "dense", {}, "dense", "dense"),
        (None, "event", {}, "dense", "dense"),
        (0.3, "auto", {}, "dense", "dense"),
        (0.1, "auto", {"stride": [2, 2]}, "event", "dense"),
    ],
)
def test_convolutions_of_spikes_are_trained_by_events(active, engine, attrs, way, back):
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    weights, node = layer(**attrs)
    x, w = fired(), weights.tensors["w"].requires_grad_()
    found = compute(weights, node, x, active, engine)
    assert weights.dense == (way == "dense")
    expected = compute_node(node, weights.tensors, [x])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    below = torch.randn(found.shape)
    grads = [torch.autograd.grad(of, w, below)[0] for of in (found, expected)]
    torch.testing.assert_close(*grads, atol=1e-4, rtol=1e-4)
    assert torch.equal(*grads) == (back == "dense")  # then they are PyTorch's, bit by bit


def test_training_in_bfloat16_is_dense():
    weights, node = layer()
    with torch.autocast("cpu", torch.bfloat16):
        compute(weights, node, fired(), engine="event")
    assert weights.dense == 1


def test_linear_layers_and_lines_are_trained_densely():
    weights = Weights(w=torch.randn(128, 512))
    linear = Node("linear", "linear", ("x",), {}, {"weight": "w"})
    compute(weights, linear, (torch.rand(3, 512) < 0.1).float(), engine="event")
    weights.tensors["w"] = torch.randn(7, 5, 3)
    attrs = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
    line = Node("conv", "conv", ("x",), attrs, {"weight": "w"})
    compute(weights, line, (torch.rand(4, 5, 11) < 0.1).float(), engine="event")
    assert weights.dense == 2


def gradients(snn, x, steps=8):
    """Of what is learned, by name, and the spikes."""
    seen = {}

    def observe(name, start, spikes):
        seen[name] = spikes.counts.detach()

    logits, _ = snn(x[None], steps, torch.arange(len(x)), None, observe)
    torch.nn.functional.cross_entropy(logits.mean(0), torch.arange(len(x)) % 4).backward()
    return {name: p.grad for name, p in snn.named_parameters() if p.grad is not None}, seen


@pytest.mark.parametrize(("kind", "params"), EVERY_LAYER, ids=str)
def test_all_kinds_learn_the_same_by_events(kind, params):
    """Where sums round, a spike may fall to either side, and gradients with it."""
    exact = kind != "msat" and params.get("omega") != "causal"
    net = rounded(Everything()) if exact else Everything().eval()
    given = checkpoint(net, neuron=kind, theta=low(params), params=params, timesteps=8)
    made = [spiking_network(given, folded=False, engine=e).train() for e in ("dense", "event")]
    ways = [set(snn.paths(learns=True).values()) for snn in made]
    if plan.event_driven() is not None:
        assert ways == [{"once", "dense"}, {"once", "event", "dense"}]
    (dense, spikes), (event, others) = (gradients(snn, images(3)) for snn in made)
    differ = [(spikes[name] != others[name]).double().mean() for name in spikes]
    assert max(differ) <= (0 if exact else 1e-3)
    assert dense.keys() == event.keys()
    for name, of in dense.items():
        assert of.any(), name
        if exact:
            torch.testing.assert_close(event[name], of, atol=1e-4, rtol=1e-3)


def test_rates_that_nobody_has_seen_decide_nothing_in_training():
    if plan.event_driven() is None:
        pytest.skip("no wide vectors here")
    made = spiking_network(checkpoint(rounded(wide()), theta=0.5), folded=False)
    seen = dict.fromkeys(made.neurons, assumed_rate(1))
    calibrated = SpikingNetwork(made.network, made.neurons, 0, None, rates=seen)
    assert "event" in calibrated.paths(learns=True).values()
    snn = SpikingNetwork(made.network, made.neurons, 0, None)
    assert set(snn.paths(learns=True).values()) == {"once", "dense"}
    assert "event" in snn.paths().values()
    snn.engine = "event"
    assert "event" in snn.paths(learns=True).values()

import pytest
import torch
from helpers.layers import layer
from spikingjelly.activation_based.neuron import GatedLIFNode

from snnconv.errors import UsageError

C, T = 3, 5
CORNER = {"alpha": 100.0, "beta": -100.0, "gamma": 100.0, "v_th": 100.0}
"""What the sigmoid makes of these is 1, 0, 1 and 1."""


def glif(theta=1.0, dtype=torch.float32, **raw):
    neurons = layer("glif", torch.full((C,), theta), dtype, T).to(dtype)
    with torch.no_grad():
        for name, value in raw.items():
            getattr(neurons, name).copy_(torch.as_tensor(value))
    return neurons


@pytest.mark.parametrize("learns", [False, True])
def test_with_its_gates_at_a_corner_it_is_lif(learns):
    torch.manual_seed(0)
    currents, theta = torch.randn(T, 20, C, 4) + 0.5, 0.75
    neurons = glif(theta, **CORNER)
    decay = torch.sigmoid(neurons.tau.detach()).unique().item()
    lif = layer("lif", theta, decay=decay, reset="hard", v0=0)
    lif.surrogate = neurons.surrogate
    found = []
    for each in (neurons, lif):
        given = currents.clone().requires_grad_(learns)
        (counts, values), _ = each.run(given, each.initial(given[0]), None)
        if learns:
            (values * currents).sum().backward()
        found.append((counts, values, given.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert 0.2 < found[0][0].mean() < 0.8
    if learns:
        assert torch.equal(found[0][2], found[1][2])


def test_spikes_are_those_of_spikingjelly():
    torch.manual_seed(0)
    raw = {name: torch.randn(C) for name in ("alpha", "beta", "gamma", "tau")}
    raw |= {"v_th": torch.randn(C), "leak": torch.randn(C), "v_re": torch.randn(C)}
    raw["conductance"] = torch.randn(T, C)
    node = GatedLIFNode(T, C).double()
    theirs = {"v_th": "v_threshold", "leak": "linear_decay", "v_re": "v_subreset"}
    theirs["conductance"] = "conduct"
    with torch.no_grad():
        for name, value in raw.items():
            getattr(node, theirs.get(name, name)).copy_(value)
    currents = torch.randn(T, 10, C, 4, 4).double() * 2
    (counts, _), _ = glif(dtype=torch.float64, **raw)(currents)
    assert torch.equal(counts, node(currents))
    assert 0.1 < counts.mean() < 0.9


def test_everything_of_it_learns():
    torch.manual_seed(0)
    neurons = glif()
    (_, values), _ = neurons(torch.randn(T, 50, C) + 0.5)
    values.square().sum().backward()
    for name, parameter in neurons.named_parameters():
        assert parameter.grad.any(), name
    assert set(neurons.learnables()) == {name for name, _ in neurons.named_parameters()}


def test_it_starts_as_its_authors_code_does():
    neurons, node = glif(), GatedLIFNode(T, C)
    for name, other in (
        ("tau", "tau"),
        ("v_th", "v_threshold"),
        ("leak", "linear_decay"),
        ("v_re", "v_subreset"),
        ("conductance", "conduct"),
    ):
        torch.testing.assert_close(getattr(neurons, name), getattr(node, other))


def test_it_is_past_its_conductances():
    with pytest.raises(UsageError, match="each of T = 5"):
        glif()(torch.zeros(T + 1, 2, C))

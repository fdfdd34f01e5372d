import math

import pytest
import torch
from helpers.layers import layer, run, same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from spikingjelly.activation_based import surrogate
from spikingjelly.activation_based.neuron import LIFNode, ParametricLIFNode

from snnconv.neurons.lif import Params


def traced(currents, **params):
    """Counts and potentials of one neuron with theta = 1, step after step."""
    neuron, state, counts, potentials = layer("lif", **params), None, [], []
    for current in currents:
        spikes, state = neuron(torch.tensor([[[float(current)]]]), state)
        counts.append(spikes.counts.item())
        potentials.append(state.potential.item())
    return counts, potentials


def test_a_trace_with_a_soft_reset():
    counts, potentials = traced([0.5, 0.5, 0.5, 0, 3, 0, 0], decay=0.5, v0=0.5)
    assert potentials == [0.75, 0.875, 0.9375, 0.46875, 2.234375, 0.1171875, 0.05859375]
    assert counts == [0, 0, 0, 0, 1, 1, 0]


def test_a_trace_with_a_hard_reset():
    counts, potentials = traced([0.5, 0.75, 3, 0, 0.5], decay=0.5, v0=0, reset="hard")
    assert counts == [0, 1, 1, 0, 0]
    assert potentials == [0.5, 0, 0, 0, 0.5]


@pytest.mark.parametrize("learns", [False, True])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), v0=st.sampled_from([0, 0.5]), masked=st.booleans())
def test_without_a_leak_it_is_if(learns, seed, v0, masked):
    torch.manual_seed(seed)
    currents, theta = torch.randn(7, 2, 3, 5), torch.rand(3) + 0.1
    keep = (torch.rand(currents.shape) < 0.7).float() if masked else None
    found = []
    for neurons in (layer("lif", theta, decay=1, v0=v0), layer("if", theta, v0=v0)):
        given_ = currents.clone().requires_grad_(learns)
        with torch.set_grad_enabled(learns):
            spikes, state = run(neurons, given_, None, keep)
        if learns:
            (spikes.values * currents).sum().backward()
        found.append((tuple(spikes), tuple(state), given_.grad))
    assert same(*found)
    assert found[0][0][0].any()


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("scaled", [False, True])
def test_spikes_are_those_of_spikingjelly(reset, scaled):
    theta = 0.75
    node = LIFNode(
        tau=2.0,
        decay_input=scaled,
        v_threshold=theta,
        v_reset=0.0 if reset == "hard" else None,
        step_mode="m",
    )
    currents = torch.randint(-32, 64, (50, 4, 3, 5)) / 16
    theirs = node(currents)
    params = {"decay": 0.5, "reset": reset, "v0": 0, "input": "scaled" if scaled else "full"}
    (counts, _), state = layer("lif", theta, **params)(currents)
    assert torch.equal(counts, theirs)
    torch.testing.assert_close(state.potential, node.v)
    assert 0.1 < theirs.mean() < 0.9


@given(st.floats(1.5, 50))
def test_a_potential_at_rest_decays_by_e_in_tau_steps(tau):
    params = {"decay": math.exp(-1 / tau), "v0": 0.5}
    _, potentials = traced([0] * 100, **params)
    steps = torch.arange(1, 101).double()
    torch.testing.assert_close(
        torch.tensor(potentials).double(), 0.5 * torch.exp(-steps / tau), rtol=1e-4, atol=1e-9
    )


def test_a_scaled_input_moves_the_potential_to_its_own_value():
    _, potentials = traced([0.75] * 80, decay=0.75, input="scaled", v0=0)
    assert potentials[-1] == pytest.approx(0.75)


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_learned_decay_is_that_of_spikingjelly(reset):
    """Spikes, and the gradient by what is learned; theirs learns 1/tau, the sigmoid of -w."""
    node = ParametricLIFNode(
        init_tau=2.5, v_reset=0.0 if reset == "hard" else None, step_mode="m", detach_reset=True,
        surrogate_function=surrogate.PiecewiseQuadratic(1.0),
    ).double()  # fmt: skip
    params = {"decay": 0.6, "reset": reset, "v0": 0, "input": "scaled", "learned": True}
    neurons = layer("lif", 1.0, torch.float64, **params).double()
    torch.manual_seed(0)
    currents = torch.randn(6, 4, 3).double() * 2 + 1
    (counts, _), _ = neurons(currents)
    theirs = node(currents)
    assert torch.equal(counts, theirs)
    assert 0.1 < counts.mean() < 0.9
    if reset == "hard":  # with a soft one, gradients pass through the reset here
        (ours,) = torch.autograd.grad((counts * currents).sum(), neurons.w)
        (other,) = torch.autograd.grad((theirs * currents).sum(), node.w)
        torch.testing.assert_close(ours, -other.view(1))


def test_a_decay_is_learned_from_where_it_starts():
    neurons = layer("lif", decay=0.8, learned=True)
    assert neurons.learnables()["decay"].item() == pytest.approx(0.8)
    assert layer("lif", decay=0.8).learnables() == {}
    with pytest.raises(ValidationError, match="can't be learned"):
        Params(decay=1, learned=True)


def test_a_scaled_input_without_a_leak_is_refused():
    with pytest.raises(ValidationError, match="leaves nothing of a current"):
        Params(decay=1, input="scaled")

import math

import pytest
import torch
from helpers.layers import layer, run, same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from spikingjelly.activation_based.neuron import LIFNode

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


def test_a_scaled_input_without_a_leak_is_refused():
    with pytest.raises(ValidationError, match="leaves nothing of a current"):
        Params(decay=1, input="scaled")

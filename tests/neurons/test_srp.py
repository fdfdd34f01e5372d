import pytest
import torch
from helpers.layers import layer, same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from snnconv.neurons.srp import Params

eighths = st.integers(-16, 24).map(lambda k: k / 8)
sequences = st.lists(eighths, min_size=1, max_size=12)


def counts_of(before, currents, **params):
    """Of one neuron: what it fires before the T steps and in them, and the state at the end."""
    neurons = layer("srp", dtype=torch.float64, tau=len(before), **params)
    as_steps = [torch.tensor(x, dtype=torch.float64).view(-1, 1, 1) for x in (before, currents)]
    (early, _), state = neurons(as_steps[0])
    (counts, _), after = neurons(as_steps[1], neurons.begun(state))
    return early.flatten().tolist(), counts.flatten().tolist(), after


def test_a_neuron_that_fired_too_early_is_silenced():
    # 0.5 + 1 fires and leaves 0.5; then -1.25 leaves -0.75
    early, counts, after = counts_of([1.0, -1.25], [1.0, 1.0, 1.0])
    assert (early, counts) == ([1, 0], [0, 0, 0])
    assert after.mask.item() == 0


def test_a_neuron_that_has_something_left_starts_again():
    # 0.75, then 1.25 fires and leaves 0.25, above 0.001: from 0.5 on again
    early, counts, after = counts_of([0.25, 0.5], [0.25, 0.25, 0.25])
    assert (early, counts) == ([0, 1], [0, 1, 0])
    assert (after.mask.item(), after.potential.item()) == (1, 0.25)


@pytest.mark.parametrize(("left", "mask"), [(0.0, 0), (0.0009, 0), (0.0011, 1), (0.5, 1)])
def test_what_is_left_has_to_be_above_a_thousandth_of_theta(left, mask):
    neurons = layer("srp", 2.0, torch.float64)
    state = neurons.initial(torch.zeros(1, 1, dtype=torch.float64))
    begun = neurons.begun(state._replace(potential=torch.full((1, 1), 2 * left)))
    assert begun.mask.item() == mask
    assert begun.potential.item() == 1


@settings(deadline=None, max_examples=60)
@given(sequences, sequences)
def test_it_is_if_behind_a_mask(before, currents):
    early, counts, after = counts_of(before, currents)

    def fires(given):
        v, found = 0.5, []
        for current in given:
            v += current
            found.append(int(v >= 1))
            v -= found[-1]
        return v, found

    left, expected = fires(before)
    assert early == expected
    assert after.mask.item() == (left > 1e-3)
    assert counts == [count * (left > 1e-3) for count in fires(currents)[1]]


@pytest.mark.parametrize("v0", [0.0, 0.5])
def test_without_steps_before_it_is_if(v0):
    currents, theta = torch.randn(24, 5, 4, 7) + 0.2, torch.rand(4) + 0.1
    keep = (torch.rand(currents.shape) < 0.7).float()
    ours, state = layer("srp", theta, tau=0, v0=v0)(currents, None, keep)
    theirs, other = layer("if", theta, v0=v0)(currents, None, keep)
    assert same(tuple(ours), tuple(theirs))
    assert torch.equal(state.potential, other.potential)
    assert layer("srp", tau=0).lead == 0


@pytest.mark.parametrize("wrong", [{"tau": -1}, {"tau": 2**16 + 1}, {"v0": 1}, {"rho": 2}])
def test_what_there_is_not(wrong):
    with pytest.raises(ValidationError):
        Params(**wrong)

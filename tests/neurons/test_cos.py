import pytest
import torch
from helpers.layers import layer, same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from snnconv.neurons.cos import Params

eighths = st.integers(-16, 24).map(lambda k: k / 8)
sequences = st.lists(eighths, min_size=1, max_size=12)


def counts_of(currents, **params):
    sequence = torch.tensor(currents, dtype=torch.float64).view(-1, 1, 1)
    (counts, _), state = layer("cos", dtype=torch.float64, **params)(sequence)
    return counts.flatten().tolist(), state.potential.item()


def fires(currents, v):
    """IF in scalars: the potentials before a spike, the spikes, and what is left."""
    before, found = [], []
    for current in currents:
        v += current
        before.append(v)
        found.append(int(v >= 1))
        v -= found[-1]
    return before, found, v


def by_hand(currents, rho):
    """The paper's neuron in scalars, theta = 1."""
    before, found, left = fires(currents[:rho], 0.5)
    start = 0.5
    if left < 0 and any(found):
        start -= max(1.0, min(v for v, s in zip(before, found, strict=True) if s) - 0.999)
    elif left >= 1 and not all(found):
        start += max(1.0, 1.001 - max(v for v, s in zip(before, found, strict=True) if not s))
    return fires(currents, start)[1]


def test_a_spike_that_was_too_much_is_not_fired():
    # alone: 1.5 fires, and -1.25 leaves -0.75; a theta lower, nothing fires
    assert fires([1.0, -1.25, 0.0], 0.5)[1] == [1, 0, 0]
    assert counts_of([1.0, -1.25, 0.0]) == ([0, 0, 0], -0.75)


def test_a_spike_that_was_missing_is_fired():
    # alone: 0.25 is silent, 3.25 fires once and leaves 2.25, then 1.25, for a charge of 3.5
    assert fires([-0.25, 3.0, 0.0], 0.5) == ([0.25, 3.25, 2.25], [0, 1, 1], 1.25)
    assert counts_of([-0.25, 3.0, 0.0]) == ([1, 1, 1], 1.25)


def test_a_shift_lowers_the_least_potential_that_fired_below_theta():
    # both fire, at 2.5 and at 2.5, and -4 leaves -2; 1.501 lower the first is at 0.999
    assert counts_of([2.0, 1.0, -4.0])[0] == by_hand([2.0, 1.0, -4.0], 8)
    assert by_hand([2.0, 1.0, -4.0], 8) == [0, 1, 0]


def test_where_every_step_has_a_spike_there_is_none_to_add():
    assert counts_of([3.0, 3.0]) == ([1, 1], 4.5)


@settings(deadline=None, max_examples=80)
@given(sequences, st.integers(1, 12))
def test_it_does_what_its_equations_say(currents, rho):
    assert counts_of(currents, rho=rho)[0] == by_hand(currents, rho)


def test_where_nothing_is_left_over_it_is_if():
    torch.manual_seed(0)
    currents, theta = torch.rand(8, 5, 4, 7) * 0.9, torch.ones(4)  # never more than a spike a step
    ours, state = layer("cos", theta)(currents)
    theirs, other = layer("if", theta)(currents)
    assert 0.1 < theirs.counts.mean() < 0.9
    assert same(tuple(ours), tuple(theirs))
    assert torch.equal(state.potential, other.potential)


def test_confidence_acts_on_the_steps_that_count():
    currents = torch.tensor([1.0, -1.25, 2.0]).view(3, 1, 1)
    keep = torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1)
    _, free = layer("cos", rho=2)(currents)
    spikes, held = layer("cos", rho=2)(currents, None, keep)
    assert spikes.counts.flatten().tolist() == [0, 0, 1]
    assert same(free, held)


@pytest.mark.parametrize("wrong", [{"rho": 0}, {"rho": -1}, {"v0": 1}, {"tau": 2}])
def test_what_there_is_not(wrong):
    with pytest.raises(ValidationError):
        Params(**wrong)

import pytest
import torch
from helpers.layers import layer, same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from snnconv.engine.dispatch import fire
from snnconv.neurons.confidence import drawn
from snnconv.neurons.tpp import Params

eighths = st.integers(-16, 24).map(lambda k: k / 8)
chances = st.integers(0, 15).map(lambda k: k / 16)
given_numbers = st.lists(st.tuples(eighths, chances), min_size=1, max_size=8)


def fired(currents, numbers, theta=1.0):
    """The counts of one neuron, and its charge at the end."""
    sequence, keep = (
        torch.tensor(x, dtype=torch.float64).view(-1, 1, 1)
        for x in (currents, [1 - u for u in numbers])
    )
    (counts, _), state = layer("tpp", theta, torch.float64)(sequence, None, keep)
    return counts.flatten().tolist(), state.potential.item()


def by_hand(currents, numbers, theta):
    """The paper's neuron in scalars: spike with the chance of the charge a step that is left."""
    charge, found = sum(currents), []
    for t, number in enumerate(numbers):
        chance = min(max(charge / ((len(currents) - t) * theta), 0.0), 1.0)
        found.append(int(number < chance))
        charge -= found[-1] * theta
    return found, charge


def test_a_trace_by_hand():
    # charge 1.5 over 3 steps: chances 1/2, then 1/4 of the 0.5 left, then 1/2
    assert fired([2.0, -1.0, 0.5], [0.4, 0.3, 0.45]) == ([1, 0, 1], -0.5)
    # without the first spike 1.5 over 2 steps: 3/4, then 0.5
    assert fired([2.0, -1.0, 0.5], [0.5, 0.7, 0.5]) == ([0, 1, 0], 0.5)


@settings(deadline=None, max_examples=80)
@given(given_numbers, st.integers(1, 16).map(lambda k: k / 8))
def test_it_does_what_its_equations_say(pairs, theta):
    currents, numbers = zip(*pairs, strict=True)
    assert fired(currents, numbers, theta) == by_hand(currents, numbers, theta)


@settings(deadline=None, max_examples=80)
@given(given_numbers)
def test_the_count_is_the_clipped_sum_rounded_down_or_up(pairs):
    currents, numbers = zip(*pairs, strict=True)
    wanted = min(max(sum(currents), 0), len(currents))
    assert abs(sum(fired(currents, numbers)[0]) - wanted) < 1


def expectation(charge, left):
    """Of the count in the steps that are left, over all that may be drawn."""
    if left == 0:
        return 0.0
    chance = min(max(charge / left, 0.0), 1.0)
    spike, none = expectation(charge - 1, left - 1), expectation(charge, left - 1)
    return chance * (1 + spike) + (1 - chance) * none


@pytest.mark.parametrize("total", [0.3, 1.0, 2.0, 2.6, 3.9, 7.0, -1.0])
def test_its_mean_count_is_the_expectation(total):
    many, T = 40_000, 4
    currents = torch.full((T, 1, many), total / T)
    keep = drawn(3, "act", torch.tensor([0]), 0, currents)
    (counts, _), _ = layer("tpp")(currents, None, keep)
    mean = counts.sum(0).mean().item()
    assert mean == pytest.approx(expectation(total, T), abs=4 * 0.5 / many**0.5)
    if total in (1.0, 2.0):  # a whole number of spikes comes at every step alike
        assert (counts.sum(0) == total).all()
        rates = counts.mean((1, 2))
        torch.testing.assert_close(rates, torch.full((T,), total / T), rtol=0, atol=0.01)


def test_a_fraction_is_not_rounded_without_bias():
    assert expectation(0.3, 4) == pytest.approx(1 - 0.925 * 0.9 * 0.85 * 0.7)
    assert expectation(3.7, 4) == pytest.approx(4 - expectation(0.3, 4))
    assert expectation(2.0, 4) == 2


def test_without_numbers_it_rounds_up():
    (counts, _), state = layer("tpp")(torch.tensor([0.25, 0.5, 0.5]).view(3, 1, 1))
    assert counts.flatten().tolist() == [1, 1, 0]
    assert state.potential.item() == -0.75


def test_the_numbers_hang_on_seed_sample_layer_step_and_neuron_alone():
    like, samples = torch.empty(4, 3, 5, 2), torch.tensor([7, 0, 9])
    found = drawn(1, "act", samples, 0, like)
    assert ((found > 0) & (found <= 1)).all()
    assert torch.equal(found * 2**24, (found * 2**24).round())
    assert torch.equal(drawn(1, "act", samples[[2, 0]], 0, like[:, :2]), found[:, [2, 0]])
    assert torch.equal(drawn(1, "act", samples, 2, like[2:]), found[2:])
    for other in (drawn(2, "act", samples, 0, like), drawn(1, "act2", samples, 0, like)):
        assert (other != found).float().mean() > 0.99


@pytest.mark.parametrize("masked", [False, True])
def test_the_engine_does_the_same_with_numbers_of_any_size(masked):
    currents, theta = torch.randn(6, 4, 3, 5) + 0.3, torch.tensor([0.5, 0.75, 0.25])
    keep = drawn(0, "act", torch.arange(4), 0, currents)
    keep = keep * (torch.rand(keep.shape) < 0.7) if masked else keep
    neurons = layer("tpp", theta)
    with torch.no_grad():
        output, state = fire(neurons, currents, None, keep)
        spikes, expected = neurons(currents, None, keep)
    assert 0.1 < spikes.counts.mean() < 0.9
    assert torch.equal(output.counts, spikes.counts)
    assert torch.equal(output.values, spikes.values)
    assert same(tuple(state), tuple(expected))


def test_the_gradient_of_the_sum_is_that_of_a_clipped_relu():
    x = torch.linspace(-1, 3, 33, dtype=torch.float64).view(1, 1, -1) + 1 / 64
    currents = (x.expand(4, 1, -1) / 4).clone().requires_grad_()
    keep = drawn(0, "act", torch.tensor([0]), 0, currents.detach())
    (_, values), _ = layer("tpp", 0.5, torch.float64)(currents, None, keep)
    (found,) = torch.autograd.grad(values.sum(), currents)
    inside = ((x > 0) & (x < 2)).double().expand_as(found)
    # where a count is settled before the last step, later chances are 0 or 1
    assert (found[inside == 0] == 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert found[inside == 1].mean() > 0.5


@pytest.mark.parametrize("wrong", [{"v0": 0.5}, {"tau": 1}])
def test_there_is_nothing_to_choose(wrong):
    with pytest.raises(ValidationError):
        Params(**wrong)

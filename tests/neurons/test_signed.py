import pytest
import torch
from helpers.layers import layer, same
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from snnconv.engine.dispatch import fire
from snnconv.engine.layer_output import Wants, WeightedSum
from snnconv.neurons.signed import Params

eighths = st.integers(-24, 40).map(lambda k: k / 8)
thetas = st.integers(1, 24).map(lambda k: k / 8)
sequences = st.lists(eighths, min_size=1, max_size=24)
forms = st.fixed_dictionaries(
    {
        "spikes": st.integers(1, 5),
        "hysteresis": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        "negative": st.booleans(),
        "v0": st.sampled_from([0.0, 0.25, 0.5]),
    }
)
laws = settings(deadline=None, max_examples=60)


def signed(theta=1.0, ceiling=None, **params):
    neurons = layer("signed", theta, torch.float64, **params)
    neurons.ceiling = None if ceiling is None else torch.tensor(ceiling, dtype=torch.float64)
    return neurons


def counts_of(currents, **given):
    """Of one neuron, as a list, and its state."""
    sequence = torch.tensor(currents, dtype=torch.float64).view(-1, 1, 1)
    (counts, _), state = signed(**given)(sequence)
    return counts.flatten().tolist(), state


def by_hand(currents, theta, spikes, hysteresis, negative, v0, ceiling=None):
    """The counts of one neuron, from the equations, in scalars."""
    potential, total, found = v0 * theta, 0, []
    for t, current in enumerate(currents, start=1):
        potential += current
        count = int(potential // theta)
        if -hysteresis * theta < potential < 0:
            count = 0
        count = min(max(count, -spikes if negative else 0), spikes)
        count = max(count, -total)
        if ceiling is not None:
            count = min(count, int(t * ceiling // theta) - total)
        potential -= count * theta
        total += count
        found.append(count)
    return found


def with_levels(currents, theta, levels, hysteresis, negative, v0, ceiling=None):
    """The same with one spike of theta/2^k a step, in units of the smallest."""
    unit, potential, total, found = theta / 2 ** (levels - 1), 0.0, 0, []
    potential = v0 * unit
    sizes = [2**k for k in range(levels)]
    for t, current in enumerate(currents, start=1):
        potential += current
        count = int(potential // unit)
        if count:
            held = [p for p in sizes if abs(potential / unit - v0) >= 0.75 * p]
            count = max([1, *held]) * (1 if count > 0 else -1)
        if -hysteresis * unit < potential < 0 or (count < 0 and not negative):
            count = 0
        low, high = -total, sizes[-1]
        if ceiling is not None:
            high = int(t * ceiling // unit) - total
        if not low <= count <= high:
            bound = min(max(count, low), high)
            part = max([p for p in sizes if p <= abs(bound)], default=0)
            count = part if bound > 0 else -part
        potential -= count * unit
        total += count
        found.append(count)
    return found


def snm(currents, theta):
    """Wang et al. 2022: a spike of either sign, the negative one under a memory that is above 0."""
    potential, memory, found = 0.0, 0.0, []
    for current in currents:
        potential += current
        if potential >= theta:
            spike = theta
        elif potential <= -theta and memory > 0:
            spike = -theta
        else:
            spike = 0.0
        memory += spike
        potential -= spike
        found.append(spike / theta)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v0", [0.0, 0.5])
def test_one_spike_and_none_negative_is_if(dtype, v0):
    currents, theta = torch.randn(24, 5, 4, 7, dtype=dtype) + 0.2, torch.rand(4) + 0.1
    keep = (torch.rand(currents.shape) < 0.7).to(dtype)
    for mask in (None, keep):
        ours, state = layer("signed", theta, dtype, negative=False, v0=v0)(currents, None, mask)
        theirs, other = layer("if", theta, dtype, v0=v0)(currents, None, mask)
        assert same(tuple(ours), tuple(theirs))
        assert torch.equal(state.potential, other.potential)
        assert 0.05 < theirs.counts.mean() < 0.95


@laws
@given(sequences, thetas, forms, st.none() | st.integers(1, 4))
def test_it_does_what_its_equations_say(currents, theta, form, times):
    ceiling = None if times is None else theta * times
    found, _ = counts_of(currents, theta=theta, ceiling=ceiling, **form)
    assert found == by_hand(currents, theta, ceiling=ceiling, **form)


@laws
@given(sequences, thetas)
def test_the_preset_snm_is_the_papers_neuron(currents, theta):
    found, _ = counts_of(currents, theta=theta, preset="snm")
    assert found == snm(currents, theta)


@pytest.mark.parametrize("g", [1, 3, 5])
def test_a_burst_has_as_many_spikes_as_the_potential_holds_up_to_its_most(g):
    found, _ = counts_of([0.4, 2.75, 0.0, -9.0, 20.0], preset="burst", spikes=g, v0=0)
    potential, wanted = 0.0, []
    for current in (0.4, 2.75, 0.0, -9.0, 20.0):
        potential += current
        wanted.append(min(g, int(max(potential, 0))))
        potential -= wanted[-1]
    assert found == wanted


@laws
@given(
    sequences,
    thetas,
    st.fixed_dictionaries(
        {
            "levels": st.integers(2, 5),
            "hysteresis": st.sampled_from([0.0, 0.25, 1.0]),
            "negative": st.booleans(),
            "v0": st.sampled_from([0.0, 0.5]),
        }
    ),
    st.none() | st.integers(1, 3),
)
def test_a_spike_of_several_levels_is_one_event(currents, theta, form, times):
    ceiling = None if times is None else theta * times
    found, _ = counts_of(currents, theta=theta, ceiling=ceiling, **form)
    assert found == with_levels(currents, theta, ceiling=ceiling, **form)
    assert {abs(count) for count in found} <= {0, *(2**k for k in range(form["levels"]))}


def test_levels_by_hand():
    # units of 1/4, from 1/8: 0.6 is 2.4 units, of which 2 is the largest with three quarters;
    # what is left is below a half. 0.5 more is 2.4 again; -1.1 is 2 units too few, of the 4 put out
    found, state = counts_of([0.6, 0.5, -1.1, 0.0], levels=3)
    assert found == [2, 2, -4, 0]
    assert state.total.item() == 0
    neurons = layer("signed", 1.0, levels=3)
    assert (neurons.levels, neurons.amplitude().item()) == (4, 0.25)
    assert Params(levels=3).grid(8) == (32, 0.5, 1.0)
    assert Params(levels=3).fit(8).levels == 32


@laws
@given(eighths, thetas, st.integers(1, 24), st.integers(2, 4))
def test_the_sum_of_levels_under_a_constant_current_is_within_a_step_of_qcfs(
    current, theta, timesteps, levels
):
    found, _ = counts_of([current] * timesteps, theta=theta, levels=levels, hysteresis=0)
    parts = 2 ** (levels - 1)
    wanted = min(max((current * timesteps * parts / theta + 0.5) // 1, 0), timesteps * parts)
    assert abs(sum(found) - wanted) <= parts


def test_what_came_too_early_is_taken_back():
    assert counts_of([1.0, -0.5, 0.0, 0.25])[0] == [1, 0, 0, 0]
    assert counts_of([1.0, -1.75, 0.0, 0.25])[0] == [1, -1, 0, 0]
    assert counts_of([3.0, -4.0, 0.0, 0.0], spikes=2)[0] == [2, -2, 0, 0]  # no more than m


def test_a_dead_zone_waits():
    # after the first spike the potential is 0.5 - 0.7 = -0.2, then -0.3
    assert counts_of([1.0, -0.7, -0.1], hysteresis=0.25)[0] == [1, 0, -1]
    assert counts_of([1.0, -0.7, -0.1], hysteresis=0.5)[0] == [1, 0, 0]
    assert counts_of([1.0, -0.7, -0.1], hysteresis=0)[0] == [1, -1, 0]


@laws
@given(eighths, thetas, st.integers(1, 24), forms)
def test_the_sum_under_a_constant_current_is_qcfs(current, theta, timesteps, form):
    form |= {"v0": 0.5}
    ceiling = theta * form["spikes"]  # QCFS of so many levels: clipped at its theta
    _, state = counts_of([current] * timesteps, theta=theta, **form)
    levels = timesteps * form["spikes"]
    quantised = min(max((current * timesteps / theta + 0.5) // 1, 0), levels)
    assert state.total.item() == quantised
    _, capped = counts_of([current] * timesteps, theta=theta, ceiling=ceiling, **form)
    assert capped.total.item() == quantised


@laws
@given(sequences, thetas, forms, st.none() | st.integers(1, 3))
def test_the_sum_is_never_negative_and_never_above_a_ceiling(currents, theta, form, times):
    ceiling = None if times is None else theta * times
    found, _ = counts_of(currents, theta=theta, ceiling=ceiling, **form)
    totals = torch.tensor(found).cumsum(0)
    assert (totals >= 0).all()
    if times is not None:
        assert (totals <= times * torch.arange(1, len(found) + 1)).all()


@laws
@given(sequences, thetas, st.integers(1, 5))
def test_when_the_input_has_settled_the_sum_is_the_rounded_charge(currents, theta, spikes):
    quiet = [0.0] * (int(sum(map(abs, currents)) / theta / spikes) + 2)
    _, state = counts_of(currents + quiet, theta=theta, spikes=spikes, hysteresis=0)
    assert state.total.item() == max((sum(currents) / theta + 0.5) // 1, 0)
    assert torch.equal(
        state.potential.flatten() + state.total.flatten() * theta,
        torch.tensor([0.5 * theta + sum(currents)], dtype=torch.float64),
    )


def test_a_ceiling_a_channel():
    currents = torch.full((4, 1, 2), 9.0)
    neurons = layer("signed", [1.0, 2.0], spikes=5)
    neurons.ceiling = torch.tensor([1.0, 6.0])
    (_, values), _ = neurons(currents)
    assert values.mean(0).tolist() == [[1.0, 6.0]]


def gradient(currents, **params):
    sequence = torch.tensor(currents, dtype=torch.float64).view(-1, 1, 1).requires_grad_()
    ceiling = params.pop("ceiling", None)
    (_, values), _ = signed(ceiling=ceiling, **params)(sequence)
    return torch.autograd.grad(values.sum(), sequence)[0].flatten().tolist()


@pytest.mark.parametrize("negative", [True, False])
def test_the_gradient_of_the_sum_is_one_where_it_follows_the_charge(negative):
    assert gradient([0.25, 0.5, 0.0], negative=negative) == [1, 1, 1]


def test_the_gradient_is_zero_where_a_bound_holds_the_sum():
    assert gradient([1.0, -3.0, 0.0]) == [0, 0, 0]  # the sum is zero, and the charge below
    assert gradient([3.0, 3.0], ceiling=1.0, spikes=4) == [0, 0]
    assert gradient([-1.0, -1.0]) == [0, 0]


def test_the_gradient_waits_with_the_charge():
    # g = 1: of a charge of 3 the first two steps put out a spike each, whatever comes; the third
    # still has 1.5 to put out, so no change of any current shows
    assert gradient([3.0, 0.0, 0.0]) == [1, 1, 1]
    assert gradient([3.0, 0.0]) == [0, 0]


def test_gradients_are_the_slopes_of_qcfs():
    x = torch.linspace(-1, 3, 41, dtype=torch.float64).view(1, 1, -1).requires_grad_()
    (_, values), _ = signed(spikes=4)(x)
    (found,) = torch.autograd.grad(values.sum(), x)
    assert torch.equal(found.flatten(), (x.flatten() >= -0.5).double())


@pytest.mark.parametrize("form", [{}, {"spikes": 3, "hysteresis": 0}, {"preset": "burst"}])
@pytest.mark.parametrize("ceiling", [None, [1.0, 2.5, 0.75]])
@pytest.mark.parametrize("masked", [False, True])
def test_the_engine_does_the_same_under_a_ceiling_and_adds_up_spikes_of_both_signs(
    form, ceiling, masked
):
    currents = torch.randn(12, 4, 3, 5) + 0.2
    keep = (torch.rand(currents.shape) < 0.7).float() if masked else None
    neurons = layer("signed", [0.5, 0.75, 0.25], **form)
    neurons.ceiling = None if ceiling is None else torch.tensor(ceiling)
    weighted = WeightedSum(torch.stack([torch.ones(3, 5), torch.arange(15.0).view(3, 5)]), 8)
    with torch.no_grad():
        output, state = fire(neurons, currents, None, keep, Wants(sums=weighted))
        spikes, expected = neurons(currents, None, keep)
    assert torch.equal(output.counts, spikes.counts)
    assert torch.equal(output.values, spikes.values)
    assert same(tuple(state), tuple(expected))
    for k, weights in enumerate(weighted.weights):
        assert torch.equal(output.sums[..., k], (spikes.counts.abs() * weights).sum((2, 3)).long())


@pytest.mark.parametrize("form", [{}, {"spikes": 3, "hysteresis": 0}, {"preset": "burst"}])
@pytest.mark.parametrize("ceiling", [None, [1.0, 2.5, 0.75]])
def test_the_engines_gradient_is_that_of_the_class(form, ceiling):
    neurons = layer("signed", [0.5, 0.75, 0.25], **form)
    neurons.ceiling = None if ceiling is None else torch.tensor(ceiling)
    weights = torch.randn(12, 4, 3, 5)
    found = []
    for run in (lambda x: fire(neurons, x, None, None)[0].values, lambda x: neurons(x)[0].values):
        currents = torch.randn(12, 4, 3, 5, generator=torch.Generator().manual_seed(1)) + 0.2
        currents.requires_grad_()
        (gradient,) = torch.autograd.grad((run(currents) * weights).sum(), currents)
        found.append(gradient)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    assert found[0].any()


def test_silence_has_no_sign():
    # events are told from silence by their bits
    currents, keep = torch.tensor([0.75, -9.0, -9.0]).view(3, 1, 1), torch.zeros(3, 1, 1)
    for mask in (None, keep):
        spikes, _ = layer("signed")(currents, None, mask)
        for silent in (spikes.counts[spikes.counts == 0], spikes.values[spikes.values == 0]):
            assert not silent.signbit().any()


def test_it_tells_what_may_come_out():
    assert (layer("signed", spikes=4).levels, layer("signed").signed) == (4, True)
    assert not layer("signed", preset="burst").signed
    assert layer("signed").single_threshold() is None


def test_the_defaults_and_the_presets():
    assert Params() == Params(spikes=1, hysteresis=0.25, negative=True, v0=0.5)
    assert Params(preset="snm") == Params(preset="snm", spikes=1, hysteresis=1, v0=0)
    assert Params(preset="burst").spikes == 5
    assert Params(preset="burst", spikes=3).spikes == 3


@pytest.mark.parametrize(
    "wrong",
    [
        *({"spikes": 0}, {"hysteresis": -0.1}, {"preset": "rmp"}),
        *(
            {"levels": 0},
            {"levels": 9},
            {"levels": 2, "spikes": 2},
            {"levels": 2, "preset": "burst"},
        ),
    ],
)
def test_what_there_is_not(wrong):
    with pytest.raises(ValidationError):
        Params(**wrong)

import math

import pytest
import torch
from helpers.layers import layer
from pydantic import ValidationError

from snnconv.neurons.msat import MSAT, PRESETS, Params

CURRENTS = [0.9, 0.75, -0.4, 1.6, 0.3]  # two spikes or more with each setting
TABLE_2 = {
    "vgg16": {"alpha": 0.03, "k_a": 1, "k_i": 1, "c": 5, "tau_mp": 1, "tau_rd": 1},
    "resnet20": {"alpha": 0.3, "k_a": 1, "k_i": 1, "c": 5, "tau_mp": 0.5, "tau_rd": 0.5},
    "resnet34": {"alpha": 1.0, "k_a": 1, "k_i": 1, "c": 5, "tau_mp": 0.5, "tau_rd": 0.5},
}
SETTINGS = [
    {},
    {"preset": "resnet20"},
    {"preset": "resnet34"},
    {"det": False},
    {"dtt": False},
    {"dtt": False, "preset": "resnet20"},
    {"depolarization": "input"},
    {"v0": 0.25},
    {"v0": 0.25, "preset": "resnet34", "depolarization": "input"},
]


class Recorded(MSAT):
    """MSAT that remembers its thresholds."""

    def adapted(self, *args):
        self.seen.append(super().adapted(*args))
        return self.seen[-1]


def recorded(theta=1.0, **params):
    neurons = Recorded(Params(**params), torch.tensor([theta], dtype=torch.float64))
    neurons.seen = []
    return neurons


def by_hand(currents, theta, preset="vgg16", v0=0.0, dtt=True, det=True, depolarization=None):
    """Thresholds, spikes, potentials before and after firing: Eq. 9-13 for one neuron.

    Everything is divided by theta first, so that Table 2 applies, and multiplied by it at the end.
    """
    alpha, k_a, k_i, c, tau_mp, tau_rd = TABLE_2[preset].values()
    fire, residuals, rows = v0, [], []
    residual = v0
    for t, current in enumerate(currents, start=1):
        last, fire = fire, residual + current / theta
        argument = 0.0
        if dtt and t > 1:
            x = residuals[-1] - sum(residuals) / len(residuals)
            argument += tau_mp * (alpha * x - 1 + k_a * math.log(1 + math.exp(x / k_i)))
        if det and t > 1:
            rise = current / theta if depolarization == "input" else fire - last
            argument += tau_rd * math.exp(-rise / c)
        threshold = 1.0 if t == 1 else 1 / (1 + math.exp(-argument))
        count = int(fire >= threshold)
        residual = fire - count * threshold
        residuals.append(residual)
        rows.append((threshold * theta, count, fire * theta, residual * theta))
    return rows


@pytest.mark.parametrize("theta", [1.0, 0.6])
@pytest.mark.parametrize("params", SETTINGS)
def test_five_steps_by_hand(params, theta):
    neurons = recorded(theta, **params)
    state, rows = None, []
    for current in CURRENTS:
        one = torch.tensor(current * theta, dtype=torch.float64).view(1, 1, 1)
        (counts, values), state = neurons(one, state)
        threshold = neurons.seen[-1].item()
        assert values.item() == counts.item() * threshold
        rows.append((threshold, counts.item(), state.before.item(), state.after.item()))
    expected = by_hand([current * theta for current in CURRENTS], theta, **params)
    for found, row in zip(rows, expected, strict=True):
        assert found == pytest.approx(row, abs=1e-6)
    assert expected[0][0] == theta
    assert 2 <= sum(count for _, count, *_ in expected) < len(CURRENTS)


def test_two_steps_in_numbers():
    # V = 0.9, 1.65 without a spike at first: m = v = 0.9, so DTT = -1 + ln 2, and DET = exp(-0.15)
    neurons = recorded()
    neurons(torch.tensor([0.9, 0.75], dtype=torch.float64).view(2, 1, 1))
    assert neurons.seen[0].item() == 1
    assert neurons.seen[1].item() == pytest.approx(0.6350296, abs=1e-6)


@pytest.mark.parametrize("name", TABLE_2)
def test_presets_are_the_columns_of_table_2(name):
    params = Params(preset=name)
    assert {key: getattr(params, key) for key in TABLE_2[name]} == TABLE_2[name]
    assert params.v_t == -1
    assert sorted(PRESETS) == sorted(TABLE_2)


def test_what_is_given_wins_over_the_preset():
    assert Params(preset="resnet34", alpha=0.2).alpha == 0.2
    assert Params(preset="resnet34", alpha=0.2).tau_mp == 0.5
    assert Params() == Params(preset="vgg16")
    params = Params(preset="resnet20", c=3)
    assert Params(**params.model_dump()) == params


@pytest.mark.parametrize("bad", [{"preset": "vgg19"}, {"c": 0}, {"v0": 1}, {"tau_mp": -1}])
def test_parameters_that_can_not_be(bad):
    with pytest.raises(ValidationError):
        Params(**bad)


@pytest.mark.parametrize("v0", [0, 0.3, 0.5])
def test_without_dtt_and_det_it_is_if(v0):
    currents = torch.randn(20, 3, 4, 5)
    theta = torch.rand(4) + 0.1
    keep = (torch.rand_like(currents) < 0.7).float()
    for mask in (None, keep):
        ours, state = layer("msat", theta, v0=v0, dtt=False, det=False)(currents, None, mask)
        theirs, other = layer("if", theta, v0=v0)(currents, None, mask)
        assert torch.equal(ours.counts, theirs.counts)
        assert torch.equal(ours.values, theirs.values)
        assert torch.equal(state.after, other.potential)


def test_the_threshold_stays_between_0_and_theta():
    neurons = recorded(0.7)
    neurons(2 * torch.randn(30, 4, 5).double())
    assert all(((threshold > 0) & (threshold <= 0.7)).all() for threshold in neurons.seen)


def test_a_potential_above_its_mean_raises_the_threshold_and_a_fast_rise_lowers_it():
    def second(first, current, **params):
        neurons = recorded(**params)
        neurons(torch.tensor([first, current, 0.0], dtype=torch.float64).view(3, 1, 1))
        return neurons.seen

    high, low = (second(0.1, x, det=False)[2] for x in (0.2, -0.5))
    assert high > low
    fast, slow = (second(0.1, x, dtt=False)[1] for x in (0.8, 0.2))
    assert fast < slow


@pytest.mark.parametrize("params", SETTINGS)
def test_the_threshold_takes_no_gradient(params):
    currents = torch.randn(12, 5, 3, dtype=torch.float64, requires_grad=True)
    neurons = recorded(0.8, **params)
    (_, values), _ = neurons(currents)
    weights = torch.randn_like(values)
    (found,) = torch.autograd.grad((values * weights).sum(), currents)
    assert not any(threshold.requires_grad for threshold in neurons.seen)

    potential, replayed = neurons.params.v0 * 0.8, []
    for current, threshold in zip(currents, neurons.seen, strict=True):
        potential = potential + current
        replayed.append(neurons.spike(potential, threshold) * threshold)
        potential = potential - replayed[-1]
    assert torch.equal(torch.stack(replayed), values)
    (expected,) = torch.autograd.grad((torch.stack(replayed) * weights).sum(), currents)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.abs().max() > 0

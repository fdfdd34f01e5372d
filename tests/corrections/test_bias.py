"""Bias correction: the channels' mean outputs are the ANN's, as nearly as whole spikes come."""

import pytest
import torch
from helpers.corrections import (
    LARGE,
    T,
    activations,
    after,
    converted,
    deep,
    fitted,
    means,
    samples,
    simulated,
)
from helpers.networks import IMAGE, NETS, checkpoint
from torch import nn

from snnconv.corrections._matching import matching


@pytest.mark.parametrize(
    ("neuron", "params"),
    [("if", {}), ("signed", {}), ("lm-h", {}), ("lm-ht", {"levels": 2, "omega": "identity"})],
)
def test_channel_means_are_equal_to_1e_5(neuron, params):
    """So many neurons, steps and samples that half a spike changes a mean by less."""
    # weights as they are drawn: between dyadic ones many neurons would cross theta together
    network, given = checkpoint(deep(), LARGE, 0.5, neuron, params, T), samples(400, LARGE)
    wanted = activations(network, given)
    values, _ = simulated(after(network, "bias", given), given)
    uncorrected, _ = simulated(network, given)
    for name, activation in wanted.items():
        target = means(activation)
        places = activation[:, 0].numel()
        spike = 0.5 / network.spiking.timesteps / places
        error = (means(values[name].mean(0)) - target).abs().max()
        assert error <= max(1e-5, 0.51 * spike), name
        assert (means(uncorrected[name].mean(0)) - target).abs().max() > 20 * error
        assert 0.51 * spike < 1e-5


def test_by_hand():
    """Two neurons as samples of one channel, T = 2, theta = 1, v0 = 1/2.

    Currents 0.3 and 0.6 give one spike each: a mean of (0.5 + 0.5)/2. The ANN's mean is 0.45, and
    whole spikes come to multiples of 1/4 in the mean, so nothing is nearer than 0.5.
    Where the second current is 0.9, the ANN's mean is 0.6, spikes are one and two: 0.75. A
    current below -0.05 takes the first neuron's spike off, and leaves the second both as long as
    2*(0.9 + c) + 0.5 >= 2: a mean of 0.5, which is nearer.
    """
    for second, kept in ((0.6, True), (0.9, False)):
        module = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
        with torch.no_grad():
            for layer in (module[1], module[3]):
                layer.weight.fill_(0.5)  # the helper doubles and rounds
                layer.bias.zero_()
        network = converted(module, (1, 1, 1), 1.0, T=2)
        given = samples(2, (1, 1, 1))
        given.x[0].view(-1)[:] = torch.tensor([0.3, second])
        found = fitted(network, "bias", given)[("current", "2")]
        if kept:
            assert found.tolist() == [0.0]
        else:
            values, _ = simulated(after(network, "bias", given), given)
            assert -0.1501 < float(found) < -0.05
            assert values["2"].sum(0).flatten().tolist() == [0.0, 2.0]


def test_one_round_adds_what_is_missing():
    """As in the paper: ``mean(a) - mean(x)`` of the first site, before anything is corrected."""
    network, given = converted(deep(), LARGE), samples(20, LARGE)
    found = fitted(network, "bias", given, rounds=1)
    values, _ = simulated(network, given)
    missing = means(activations(network, given)["1"]) - means(values["1"].mean(0))
    assert torch.allclose(found[("current", "1")].double(), missing, atol=1e-6)


@pytest.mark.parametrize("net", NETS)
def test_every_wiring(net):
    network, given = converted(NETS[net](), IMAGE, 0.5), samples(30, IMAGE)
    found = fitted(network, "bias", given)
    assert {name for _, name in found} == {site.name for site in network.graph.sites}
    values, _ = simulated(after(network, "bias", given), given, batch=7)
    before, _ = simulated(network, given)
    for name, activation in activations(network, given).items():
        error, was = (
            (means(x[name].mean(0)) - means(activation)).abs().sum() for x in (values, before)
        )
        assert error <= was + 1e-6


def test_the_search_of_a_current():
    """Of made-up means: a line, a stair, one that falls back, and one out of reach."""

    def mean(current):
        line, stair, hump, flat = current.double()
        return torch.stack(
            [
                2 * line,
                (stair * 8).floor() / 8,
                1 - (hump - 0.5).abs(),
                flat.clamp(-0.25, 0.25),
            ]
        )

    target = torch.tensor([1.0, 0.55, 0.9, 0.5], dtype=torch.float64)
    theta, near = torch.ones(4, dtype=torch.float64), torch.full((4,), 1e-6).double()
    found = matching(mean, target, theta, near, 60)
    error = (mean(found.float()) - target).abs()
    assert error[0] <= 1e-6
    assert error[1] == pytest.approx(0.05)
    assert error[2] < 0.5
    assert error[3] == pytest.approx(0.25)
    once = matching(mean, target, theta, near, 1)
    assert torch.allclose(once, target - mean(torch.zeros(4)), atol=1e-6)
    assert torch.equal(
        matching(mean, mean(torch.zeros(4)), theta, near, 60), torch.zeros(4).double()
    )

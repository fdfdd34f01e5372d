"""Operations behind averages, by the two conventions, by hand."""

import pytest
import torch
from helpers.networks import maxed, measured, residual, spiking
from torch import nn

from snnconv.metrics.pooled_synops import parts_of

LABELS = torch.zeros(1, dtype=torch.int64)
NAMES = ["synops", "pooled-synops", "energy"]


def firing(*behind, size=4, T=3):
    """Every neuron of a map fires at every step; what stands behind it."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), *behind)
    nn.init.constant_(net[0].weight, 0.5)  # which is doubled
    snn = spiking(net, (1, size, size), theta=1.0)
    return measured(snn, torch.ones(1, 1, size, size), LABELS, T, NAMES)


def check(found, ours, pooled, T=3):
    totals, row = found.totals, found.layers["1"]
    assert totals["sops_per_sample"] == row["sops_per_sample"] == ours * T
    assert totals["sops_pooled_per_sample"] == pytest.approx(pooled * T, rel=1e-12)
    assert row["sops_pooled_per_sample"] == totals["sops_pooled_per_sample"]
    assert totals["energy_synaptic_mj"] == pytest.approx(0.9e-9 * ours * T)
    assert totals["energy_synaptic_pooled_mj"] == pytest.approx(0.9e-9 * pooled * T)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_behind_k_by_k_places_ours_are_k_times_k_of_them(k):
    """16 spikes a step; (4/k)^2 pooled values of one, each to two logits."""
    values = (4 // k) ** 2
    found = firing(nn.AvgPool2d(k), nn.Flatten(), nn.Linear(values, 2))
    check(found, ours=16 * 2, pooled=values * 2)


def test_behind_a_convolution_with_borders():
    """2 x 2 pooled values, all neighbours: each drives 4 synapses in each of 3 channels."""
    found = firing(nn.AvgPool2d(2), nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(12, 2))
    check(found, ours=16 * 12, pooled=4 * 12)


def test_averages_of_averages():
    found = firing(nn.AvgPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1, 5))
    check(found, ours=16 * 5, pooled=5)


def test_windows_of_different_sizes():
    """5 places into 2 bins overlap: 3 x 3, and the middle lies in all four."""
    found = firing(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 7), size=5)
    check(found, ours=4 * 9 * 7, pooled=4 * 7)


def test_a_window_over_the_border_that_counts_no_padding():
    """Windows of 4, 6 and 9 places: each value is an average of ones."""
    pool = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
    found = firing(pool, nn.Flatten(), nn.Linear(4, 2))
    check(found, ours=(4 + 6 + 6 + 9) * 2, pooled=4 * 2)


def test_padding_that_counts_is_zeros():
    """The same windows, of nine places each: a corner's value is 4/9."""
    found = firing(nn.AvgPool2d(3, stride=2, padding=1), nn.Flatten(), nn.Linear(4, 2))
    check(found, ours=25 * 2, pooled=25 / 9 * 2)


@pytest.mark.parametrize("net", [maxed, residual])
def test_without_averages_both_are_the_same(net):
    x = torch.rand(2, 2, 6, 6).mul(8).round() / 8
    found = measured(spiking(net()), x, torch.zeros(2, dtype=torch.int64), 4, NAMES)
    assert found.totals["sops_pooled_per_sample"] == pytest.approx(found.totals["sops_per_sample"])
    for row in found.layers.values():
        assert row["sops_pooled_per_sample"] == pytest.approx(row["sops_per_sample"])


def test_parts_make_whole_numbers():
    assert parts_of(torch.tensor([3.0, 7.0])) == 1
    assert parts_of(torch.tensor([1 / 4, 5 / 6, 2.0], dtype=torch.float64)) == 12

"""Corrected biases of a network in whole numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.exports import IF, Residual, T, subject, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnconv.exports.integer import Integer, Params
from snnconv.exports.parts.integer_bias import (
    OUTPUT,
    corrected,
    differs,
    readers,
    sole_source,
)
from snnconv.exports.parts.integer_network import IntegerLayer, IntegerNetwork, unpacked
from snnconv.exports.parts.integer_quantize import Widths, quantized
from snnconv.exports.parts.integer_run import run
from snnconv.simulation.simulate import simulate

HALF = {"neuron": "if", "params": {"v0": 0.5}}
SIGNED = {"neuron": "signed", "params": {"spikes": 3}}
CASES = {
    "residual": (Residual, (2, 6, 6), HALF),
    "signed": (Residual, (2, 6, 6), SIGNED),
    "wave": (wave, (1, 20), IF),
}


def with_samples(case, count=20, seed=0, frames=1):
    make, shape, how = CASES[case]
    torch.manual_seed(seed)
    one = subject(make(), shape, **how)
    one.network.hold = T // frames
    return replace(one, samples=torch.rand(frames, count, *shape))


def spikes_wanted(one):
    """The spikes of each sample and channel ``[B, C]``, as the network itself emits them."""
    found = {}

    def observe(name, start, output):
        found[name] = output.values

    samples = torch.arange(one.samples.shape[1])
    outputs = simulate(one.network, one.samples, samples, T, T, observe)[-1]
    counts = {}
    for name, neurons in one.network.neurons.items():
        theta = neurons.threshold.reshape(-1, *[1] * (found[name].dim() - 3))
        by_channel = (found[name] / theta).sum(0)[..., None].flatten(2).mean(2)
        counts[name] = by_channel.double().numpy()
    return counts, outputs.numpy()


def ran(network, one):
    """A run of a network in whole numbers."""
    return run(network, one.samples.double().numpy(), T, one.network.hold)


def spikes_found(network, one):
    """The same of a network in whole numbers, by layer."""
    spikes = ran(network, one).spikes
    return {number: each.sum(0).mean((2, 3)) for number, each in spikes.items()}


def by_chance(apart):
    """Whether a mean is within two standard errors of 0."""
    return np.abs(apart.mean(0)) <= 2 * apart.std(0, ddof=1) / len(apart) ** 0.5


def with_bias(network, number, bias):
    """The network with other biases in one layer."""
    layers = list(network.layers)
    layers[number - 1] = replace(layers[number - 1], bias=bias)
    return replace(network, layers=tuple(layers))


def means_are_kept(network, one, output):
    """The mean output is that of the network itself to half a unit, or differs by chance."""
    apart = ran(network, one).outputs.mean(0) - output / network.output_scale
    mean = np.abs(apart.mean(0))
    assert ((mean < 0.51 + 1e-5 * np.abs(output).max()) | by_chance(apart)).all()


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ([1] + [0] * 127, False),
        ([1] * 8 + [0] * 120, True),
        ([1, -1] * 64, False),
        ([0] * 128, False),
        ([0.25] * 128, True),
        ([5], False),
    ],
)
def test_what_differs_by_chance(counts, wanted):
    """One spike more of 128 samples is chance, and eight are not: z is 1 and 2.9."""
    apart = np.array(counts, float)[:, None]
    assert differs(np.hstack([apart, -apart])).tolist() == [wanted, wanted]


@pytest.mark.parametrize("case", ["residual", "wave"])
@pytest.mark.parametrize("state_bits", [8, 12])
def test_no_shift_of_a_bias_is_nearer_by_brute_force(case, state_bits):
    """Thresholds are of at most 8 and 128 units, so every shift can be tried."""
    one, moved = with_samples(case), 0
    network, sites = quantized(one, Widths(3, 4, state_bits, True))
    better = corrected(network, sites, one)
    found, wanted = spikes_found(better, one), spikes_wanted(one)[0]
    for site, number in sites.items():
        source = sole_source(network, readers(network), number)
        theta, bias = network.layers[number - 1].bias, network.layers[source - 1].bias
        gaps = {}
        for shift in range(-int(theta.max()) // 4, int(theta.max()) // 4 + 1):
            bounded = np.clip(shift, -(theta // 4), theta // 4)
            spikes = spikes_found(with_bias(better, source, bias + bounded), one)[number]
            gaps[shift] = spikes - wanted[site]
        least = np.abs([each.mean(0) for each in gaps.values()]).min(0)
        before, after = gaps[0], np.abs((found[number] - wanted[site]).mean(0))
        kept = by_chance(before)
        np.testing.assert_allclose(after[~kept], least[~kept], atol=1e-9)
        np.testing.assert_allclose(after[kept], np.abs(before.mean(0))[kept], atol=1e-9)
        new = better.layers[source - 1].bias
        np.testing.assert_array_equal(new[kept], bias[kept])
        moved += int((new != bias).sum())
    assert moved


@settings(max_examples=40)
@given(
    case=st.sampled_from(sorted(CASES)),
    seed=st.integers(0, 99),
    bits=st.integers(2, 8),
    frames=st.sampled_from((1, 2, T)),
)
def test_no_layer_is_farther_from_its_spikes_than_with_its_bias_of_before(case, seed, bits, frames):
    """Behind the same layers, which are corrected; and nothing but biases changes."""
    one = with_samples(case, 4, seed, frames)
    network, sites = quantized(one, Widths(bits, 8, 20, True))
    better = corrected(network, sites, one)
    wanted, output = spikes_wanted(one)
    read, moved = readers(network), set()
    found = spikes_found(better, one)
    for site, number in sites.items():
        source = sole_source(network, read, number)
        assert source is not None
        as_before = with_bias(better, source, network.layers[source - 1].bias)
        before = np.abs((spikes_found(as_before, one)[number] - wanted[site]).mean(0))
        after = np.abs((found[number] - wanted[site]).mean(0))
        assert (after <= before + 1e-9).all()
        moved.add(source)
    moved |= set(network.output)
    for number, (old, new) in enumerate(zip(network.layers, better.layers, strict=True), 1):
        np.testing.assert_array_equal(old.weight, new.weight)
        if number not in moved:
            np.testing.assert_array_equal(old.bias, new.bias)
    means_are_kept(better, one, output)


def test_one_sample_tells_nothing():
    """It has no standard error, so no bias moves, that of the output neither."""
    one = with_samples("residual", 1)
    network, sites = quantized(one, Widths(3, 8, 20, True))
    for old, new in zip(network.layers, corrected(network, sites, one).layers, strict=True):
        np.testing.assert_array_equal(old.bias, new.bias)


def test_the_same_samples_give_the_same_bytes_and_a_file_that_is_corrected():
    one = with_samples("residual")
    form = Integer(Params(bits=3, bias_correction=True, samples=10))
    assert form.samples == 10
    assert Integer(Params(bits=3)).samples == 0
    files = form.files(one, "net")
    assert files == form.files(one, "net")
    network, sites = quantized(one, form.params.widths)
    better, read = corrected(network, sites, one), unpacked(files[".snni"])
    for old, new in zip(better.layers, read.layers, strict=True):
        np.testing.assert_array_equal(old.bias, new.bias)
    assert files[".snni"] != Integer(Params(bits=3)).files(one, "net")[".snni"]


def layer(kind, *sources, kernel=(1, 1)):
    return IntegerLayer(kind, sources, (1, 1, 1), (1, 1, 1), kernel)


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([layer("weights", 0), layer("neurons", 1)], 1),
        ([layer("gains", 0), layer("weights", 0), layer("neurons", 1, 2)], 2),
        ([layer("weights", 0), layer("sum", 1), layer("neurons", 2)], 1),
        ([layer("weights", 0), layer("sum", 1, kernel=(2, 2)), layer("neurons", 2)], None),
        ([layer("weights", 0), layer("neurons", 1), layer("neurons", 1)], None),
        ([layer("weights", 0), layer("weights", 1), layer("neurons", 1)], None),
        ([layer("gains", 0), layer("neurons", 1)], None),
        ([layer("weights", 0), layer("sum", 1), layer("weights", 2), layer("neurons", 2)], None),
    ],
)
def test_a_bias_is_corrected_if_its_layer_feeds_one_membrane(layers, wanted):
    last = len(layers)
    network = IntegerNetwork(tuple(layers), (last,), T, (1, 1, 1), 1, 8, 24, 1.0, 1.0)
    assert readers(network)[last] == [OUTPUT]
    assert sole_source(network, readers(network), last) == wanted


@pytest.mark.parametrize("first_before", [False, True])
def test_weights_that_also_reach_the_output_keep_their_bias(first_before):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.second = nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4)

        def forward(self, x):
            x = self.first(x)
            other = self.second(self.relu(x))
            return x + other if first_before else other + x

    one = subject(Both(), (6,), **HALF)
    one.network.hold = T
    one = replace(one, samples=torch.rand(1, 8, 6))
    network, sites = quantized(one, Widths(8, 4, 20, True))
    better = corrected(network, sites, one)
    (number,) = sites.values()
    assert sole_source(network, readers(network), number) is None
    first = network.layers[number - 1].sources[0]
    np.testing.assert_array_equal(network.layers[first - 1].bias, better.layers[first - 1].bias)
    means_are_kept(better, one, spikes_wanted(one)[1])

from dataclasses import replace
from itertools import product

import pytest
import torch
from helpers.networks import (
    TwoLevels,
    context_of,
    images,
    maxed,
    measured,
    mlp,
    recorded,
    residual,
    spiking,
    vgg,
)
from torch import nn

from snnconv.core.uncertainty import unpacked_numbers
from snnconv.engine.layer_output import LayerOutput
from snnconv.frontends.torch.capture import capture
from snnconv.graph.network import Network
from snnconv.metrics.base import Batch, Figures, Watch
from snnconv.metrics.synops import Synops
from snnconv.neurons.if_ import IF, Params
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.lm_ht import Params as LMHTParams
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

T, COUNT = 6, 3
LABELS = torch.zeros(COUNT, dtype=torch.int64)


def figures(snn, timesteps=T):
    return measured(snn, images(COUNT), LABELS, timesteps, ["synops"])


def spikes_of(snn):
    return {name: s.counts for name, s in recorded(snn, images(COUNT), T)[1].items()}


def synapses(row, column, size, outputs):
    """Of a 3x3 convolution with a padding of one, from one place."""
    reached = product((row - 1, row, row + 1), (column - 1, column, column + 1))
    return outputs * sum(0 <= r < size and 0 <= c < size for r, c in reached)


def driven(counts, cost):
    """By step: for every spike what it costs at its channel and place."""
    steps = [0] * T
    for t, b, *neuron in torch.nonzero(counts).tolist():
        steps[t] += int(counts[t, b, *neuron]) * cost(*neuron)
    return steps


def check(snn, costs):
    """Operations of every source and step against the costs of single spikes, in order."""
    found, seen = figures(snn), spikes_of(snn)
    total = [0] * T
    for (name, counts), cost in zip(seen.items(), costs, strict=True):
        steps = driven(counts, cost)
        assert sum(steps) > 0
        assert found.layers[name]["sops_per_sample"] == sum(steps) / COUNT
        total = [a + b for a, b in zip(total, steps, strict=True)]
    running = [sum(total[: t + 1]) / COUNT for t in range(T)]
    assert found.totals["sops_per_sample_steps"] == running
    assert found.totals["sops_per_sample"] == running[-1]


@pytest.mark.parametrize("kind", [IF, TwoLevels])
def test_through_average_pooling_and_a_padded_convolution(kind):
    check(
        spiking(vgg(), kind=kind),
        [lambda c, y, x: synapses(y // 2, x // 2, 3, 3), lambda c, y, x: 4],
    )


def test_max_pooling_counts_what_it_emits():
    snn = spiking(maxed())
    found, seen = figures(snn).layers, spikes_of(snn)
    assert list(seen) == ["1", "2", "4"]
    assert found["1"]["sops_per_sample"] == 0
    for name, cost in (("2", lambda c, y, x: synapses(y, x, 3, 3)), ("4", lambda c, y, x: 4)):
        assert found[name]["sops_per_sample"] == sum(driven(seen[name], cost)) / COUNT > 0


@pytest.mark.parametrize(("levels", "timesteps"), [(1, 1), (4, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize(("window", "emitted"), [(2, 4), (4, 1)])
def test_a_pooling_of_ones_by_hand(levels, timesteps, window, emitted):
    """16 neurons fire all they can; each place of the pooling drives two logits."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(window),
        nn.Flatten(),
        nn.Linear(emitted, 2, bias=False),
    )
    nn.init.constant_(net[0].weight, 0.5)  # which is doubled
    params = LMHTParams(levels=levels)
    snn = spiking(net, (1, 4, 4), theta=1.0, kind=LMHT, params=params, T=timesteps)
    names = ["synops", "firing-rate", "sin", "energy"]
    found = measured(snn, torch.ones(1, 1, 4, 4), LABELS[:1], timesteps, names)
    sops = emitted * levels * timesteps * 2
    assert found.layers["1"]["sops_per_sample"] == 0
    assert found.layers["2"]["sops_per_sample"] == sops == found.totals["sops_per_sample"]
    assert found.totals["energy_synaptic_mj"] == pytest.approx(0.9e-9 * sops)
    assert found.totals["spikes_per_sample"] == 16 * levels * timesteps
    assert found.totals["firing_rate_mean"] == levels
    assert found.totals["sin_ratio_steps"] == [0] * timesteps


def test_a_function_outside_the_spiking_domain_is_macs_and_no_accumulates():
    net = nn.Sequential(
        nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Sigmoid(), nn.Linear(4, 2, bias=False)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(4))
    graph, tensors, _ = capture(net, (4,), analog=True)
    snn = SpikingNetwork(
        Network(graph, tensors), {"1": IF(Params(), torch.tensor([1.0]))}, 0, None
    ).eval()
    found = measured(snn, torch.ones(1, 4), LABELS[:1], 1, ["synops", "firing-rate"]).totals
    assert found["spikes_per_sample"] == 4
    assert found["sops_per_sample"] == 0
    # means of four spikes, products with t behind the sigmoid, and the matrix behind it
    assert found["analog_macs_per_sample"] == 4 + 4 + 4 * 2


def test_an_identity_shortcut_is_one_operation():
    check(
        spiking(residual()),
        [
            lambda c, y, x: synapses(y, x, 6, 3) + 1,
            lambda c, y, x: synapses(y, x, 6, 3),
            lambda c, y, x: 4,
        ],
    )


def test_fully_connected():
    check(spiking(mlp()), [lambda n: 7, lambda n: 4])


@pytest.mark.parametrize("levels", [1, 2])
def test_big_counts_are_exact(levels):
    """Float32 would lose the odd ones: a sum above 2**24 of odd costs."""
    snn = spiking(
        nn.Sequential(
            nn.Conv2d(1, 33, 1),
            nn.ReLU(),
            nn.Conv2d(33, 1001, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        (1, 32, 32),
        kind=TwoLevels if levels == 2 else IF,
    )
    metric = Synops(context_of(snn, 1))
    ones = torch.full((1, 1, 33, 32, 32), float(levels))
    ones[0, 0, 0, 5, 5] -= 1
    metric.begin(Batch(LABELS[:1], torch.zeros(1, 4), {}))
    Watch([metric])("1", 0, LayerOutput(ones, ones))
    cost = sum(synapses(y, x, 32, 1001) for y, x in product(range(32), repeat=2))
    expected = levels * 33 * cost - 9 * 1001
    assert expected > 2**24
    assert expected % 2 == 1
    assert metric.figures(Figures()).totals["sops_per_sample"] == expected


# Multiply-accumulates of what analog values feed


def test_the_first_layer_is_apart():
    found = figures(spiking(vgg())).totals
    assert found["first_layer_macs_per_sample"] == 36 * 4 * 2 * 9
    assert found["analog_macs_per_sample"] == 0
    assert found["ann_macs_per_sample"] == 36 * 4 * 2 * 9 + 9 * 3 * 4 * 9 + 27 * 4
    inside = sum(synapses(y, x, 6, 4) * 2 for y, x in product(range(6), repeat=2))
    inside += sum(synapses(y, x, 3, 3) * 4 for y, x in product(range(3), repeat=2)) + 27 * 4
    assert found["ann_macs_exact_per_sample"] == inside


def test_two_layers_before_the_first_site_are_both_first():
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4))
    assert figures(spiking(net)).totals["first_layer_macs_per_sample"] == 72 * 5 + 5 * 6


def test_a_layer_fed_by_currents_is_analog_and_no_spikes_business():
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 6), nn.Linear(6, 4))
    snn = spiking(net, theta=0.25)
    found = figures(snn)
    assert found.totals["analog_macs_per_sample"] == 6 * 4
    (counts,) = spikes_of(snn).values()
    assert found.totals["sops_per_sample"] == float(counts.sum()) * 6 / COUNT


@pytest.mark.parametrize("kind", [IF, TwoLevels])
def test_of_each_sample_in_the_order_of_their_indices(kind):
    snn, chosen = spiking(vgg(), kind=kind), torch.tensor([7, 2, 4])
    metric = Synops(replace(context_of(snn, T), population=9))
    watch = Watch([metric])
    for part in (chosen[:2], chosen[2:]):
        metric.begin(Batch(LABELS[: len(part)], None, {}, part))
        simulate(snn, images(9)[None, part], part, T, 4, watch, watch.needs)
    found = metric.figures(Figures()).totals
    _, seen = recorded(snn, images(9)[[2, 4, 7]], T)
    fan_out = snn.analysis.fan_out
    by_sample = sum((s.counts * fan_out[name]).flatten(2).sum((0, 2)) for name, s in seen.items())
    assert unpacked_numbers(found["sops_by_sample"], 3) == tuple(by_sample.tolist())
    assert found["sops_per_sample"] == by_sample.mean()


def test_who_does_not_know_the_samples_has_no_numbers_of_them():
    assert "sops_by_sample" not in figures(spiking(vgg())).totals

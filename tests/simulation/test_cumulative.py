"""Levels of what max poolings emit, against counts by hand."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import context_of, images, layered, measured, recorded, spiking
from torch import nn

from snnconv.metrics.base import Watch
from snnconv.metrics.synops import Synops
from snnconv.neurons.if_ import IF
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.lm_ht import Params as LMHTParams
from snnconv.neurons.msat import MSAT
from snnconv.neurons.msat import Params as MSATParams
from snnconv.simulation.network import SpikingNetwork

COUNT, T = 3, 4
LABELS = torch.zeros(COUNT, dtype=torch.int64)
IMAGE = (2, 7, 7)
WINDOW = {"kernel_size": 3, "stride": 2, "padding": 1}
THETAS = [0.5, 0.75, 0.25, 0.625]


class Net(nn.Module):
    """Two layers of neurons, something between them and a max pooling, and a layer behind it."""

    def __init__(self, between, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.between = between
        size = between(torch.zeros(1, 3, 7, 7), torch.zeros(1, 3, 7, 7)).shape[-1]
        self.pool = nn.MaxPool2d(**WINDOW)
        self.out = nn.Linear(channels * ((size + 1) // 2) ** 2, 5)

    def forward(self, x):
        spikes = self.between(F.relu(self.one(x)), F.relu(self.two(x)))
        return self.out(self.pool(spikes).flatten(1))


def pooled(numbers):
    """Running numbers ``[T, B, C, n, n]`` in loops: the largest of each window of three by three.

    Its stride is 2, and a line lies outside on every side.
    """
    steps, samples, channels, size, _ = numbers.shape
    out = torch.zeros(steps, samples, channels, (size + 1) // 2, (size + 1) // 2)
    for t, b, c in product(range(steps), range(samples), range(channels)):
        for i, j in product(range(out.shape[3]), repeat=2):
            around = product(range(2 * i - 1, 2 * i + 2), range(2 * j - 1, 2 * j + 2))
            inside = [(y, x) for y, x in around if 0 <= y < size and 0 <= x < size]
            out[t, b, c, i, j] = max(numbers[t, b, c, y, x] for y, x in inside)
    return out


def windows_of_four(numbers):
    """Sums of windows of two by two, an odd line and column left out."""
    size = numbers.shape[-1] // 2 * 2
    even = numbers[..., :size, :size]
    return sum(even[..., i::2, j::2] for i, j in product(range(2), repeat=2))


def rise(running):
    return torch.diff(running, dim=0, prepend=torch.zeros_like(running[:1]))


BETWEEN = {
    "a layer": (lambda a, b: a, lambda a, b: a),
    "a residual sum": (lambda a, b: a + b, lambda a, b: a + b),
    "an average pooling": (lambda a, b: F.avg_pool2d(a, 2), lambda a, b: windows_of_four(a)),
    "a pooling": (lambda a, b: F.max_pool2d(a, 3, 2, 1), lambda a, b: rise(pooled(a.cumsum(0)))),
    "a concatenation": (lambda a, b: torch.cat([a, b], 1), lambda a, b: torch.cat([a, b], 2)),
    "a sum with a pooling": (
        lambda a, b: F.max_pool2d(a, 3, 2, 1) + F.avg_pool2d(b, 2, padding=1),
        lambda a, b: rise(pooled(a.cumsum(0))) + windows_of_four(F.pad(b, (1, 0, 1, 0))),
    ),
    "reshapes": (
        lambda a, b: a.flatten(2).unflatten(2, (7, 7)).transpose(2, 3),
        lambda a, b: a.transpose(3, 4),
    ),
}


def network(name, kind=IF, params=None, theta=None, steps=T):
    between, _ = BETWEEN[name]
    net = Net(between, 6 if name == "a concatenation" else 3)
    thetas = (theta or THETAS)[: 1 + (name in TWO)]
    return spiking(net, IMAGE, theta=thetas, kind=kind, params=params, T=steps)


TWO = ("a residual sum", "a concatenation", "a sum with a pooling")


def lm_ht(name, levels, steps=T):
    return network(name, LMHT, LMHTParams(levels=levels), steps=steps)


def poolings(snn):
    return [n.name for n in snn.network.graph.nodes if n.op == "max_pool"]


def sites(snn, seen):
    found = [seen[site.name].counts for site in snn.network.graph.sites]
    return found if len(found) == 2 else [*found, None]


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("name", BETWEEN)
def test_the_level_is_the_increase_of_the_largest_number_of_spikes(name, levels):
    snn = lm_ht(name, levels)
    _, seen = recorded(snn, images(COUNT, IMAGE), T)
    numbers = BETWEEN[name][1](*sites(snn, seen))
    expected = rise(pooled(numbers.cumsum(0)))
    assert torch.equal(seen[poolings(snn)[-1]].counts, expected)
    assert expected.max() > 1 or levels == 1
    assert expected.sum() > 0


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("kind", [IF, MSAT])
def test_levels_do_not_depend_on_chunks_or_on_what_else_is_asked(name, kind):
    snn = network(name, kind, MSATParams() if kind is MSAT else None)
    x = images(COUNT, IMAGE)
    _, whole = recorded(snn, x, T)
    _, chunks = recorded(snn, x, T, chunk=1)
    pool = poolings(snn)[-1]
    assert torch.equal(whole[pool].counts, chunks[pool].counts)
    assert torch.equal(whole[pool].values, chunks[pool].values)
    found = [
        measured(snn, x, LABELS, T, names, chunk=3) for names in (["synops"], ["synops", "sin"])
    ]
    assert found[0].layers[pool] == {k: found[1].layers[pool][k] for k in ("sops_per_sample",)}
    assert found[0].layers[pool]["sops_per_sample"] == 5 * float(whole[pool].counts.sum()) / COUNT


def test_spikes_of_one_amplitude_are_counted_in_units_of_it():
    snn = lm_ht("a layer", 4)
    _, seen = recorded(snn, images(COUNT, IMAGE), T)
    emitted = seen[poolings(snn)[0]]
    assert torch.equal(emitted.values, emitted.counts * (THETAS[0] / 4))


def test_a_threshold_for_each_channel():
    thetas = torch.tensor([0.5, 0.3, 0.7])
    snn = lm_ht("a layer", 4)
    (neuron,) = snn.neurons.values()
    neuron.threshold = thetas
    _, seen = recorded(snn, images(COUNT, IMAGE), T)
    (counts, _) = sites(snn, seen)
    assert torch.equal(seen[poolings(snn)[0]].counts, rise(pooled(counts.cumsum(0))))


@pytest.mark.parametrize("name", ["a layer", "a residual sum", "an average pooling"])
def test_of_spikes_whose_amplitudes_differ_each_emission_counts_and_silence_does_not(name):
    snn = network(name, MSAT, MSATParams())
    _, seen = recorded(snn, images(COUNT, IMAGE), 16)
    emitted = seen[poolings(snn)[-1]]
    assert torch.equal(emitted.counts > 0, emitted.values != 0)
    numbers = rise(pooled(BETWEEN[name][1](*sites(snn, seen)).cumsum(0)))
    both = (numbers > 0) & (emitted.values != 0)
    assert torch.equal(emitted.counts[both], numbers[both])
    if name == "a layer":
        assert emitted.counts.max() == 1


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("levels", [2, 4])
def test_the_same_operations_as_the_network_of_one_threshold(name, levels):
    """LM-HT and its reparameterized twin, whose spikes are the same window by window."""
    before = lm_ht(name, levels)
    single = {site: neuron.single_threshold() for site, neuron in before.neurons.items()}
    after = SpikingNetwork(before.network, single, 0, None).eval()
    x, both = images(COUNT, IMAGE), ((before, T), (after, levels * T))
    counts = [recorded(snn, x, steps)[1] for snn, steps in both]
    for site in single:
        windows = counts[1][site].counts.unflatten(0, (T, levels)).sum(1)
        assert torch.equal(counts[0][site].counts, windows)
    found = [measured(snn, x, LABELS, steps, ["synops", "firing-rate"]) for snn, steps in both]
    assert found[0].totals["sops_per_sample"] == found[1].totals["sops_per_sample"]
    spikes = [totals["spikes_per_sample"] for totals in (found[0].totals, found[1].totals)]
    assert spikes[0] == pytest.approx(spikes[1], rel=1e-12)
    for row, other in zip(found[0].layers.values(), found[1].layers.values(), strict=True):
        assert row.get("sops_per_sample") == other.get("sops_per_sample")


@pytest.mark.compiled
@pytest.mark.parametrize("kind", [IF, MSAT])
def test_by_events_as_densely(kind):
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16, 4)),
    )
    params = MSATParams() if kind is MSAT else None
    snn = layered(spiking(net, (2, 8, 8), kind=kind, params=params))
    x, found = images(COUNT, (2, 8, 8)), []
    for engine in ("dense", "event"):
        snn.engine = engine
        assert set(snn.paths().values()) >= {engine}
        found.append(measured(snn, x, LABELS, 8, ["synops", "firing-rate", "energy"]))
    assert found[0].totals == found[1].totals
    assert found[0].layers == found[1].layers
    assert all(row["sops_per_sample"] > 0 for row in list(found[0].layers.values())[1::2])


def test_a_spike_whose_sign_is_turned_counts_as_another():
    """Behind a slope of -1 the largest sum falls, and the number of spikes does not."""
    snn = spiking(Net(lambda a, b: -a), IMAGE, theta=[0.5])
    _, seen = recorded(snn, images(COUNT, IMAGE), T)
    emitted = seen[poolings(snn)[0]]
    (counts, _) = sites(snn, seen)
    assert emitted.values.min() < 0
    assert torch.equal(emitted.counts, rise(pooled(counts.cumsum(0))))


def test_levels_beyond_float32_add_up_exactly():
    """Sums of many neurons before a pooling: their levels are in the bound of exact sums."""
    snn = spiking(Net(lambda a, b: F.avg_pool2d(a, 7)), IMAGE, theta=[0.5])
    (pool,) = poolings(snn)
    assert context_of(snn, T).most_spikes(pool) == 49
    assert Watch([Synops(context_of(snn, T))]).needs.sums[pool].levels == 49

"""Every count and energy of a table, recomputed on one network by nothing of the package.

The network has a convolution, an average pooling, a residual sum, a max pooling and a linear layer.
Here neurons are a loop over time, synapses are places counted one by one, and each convention is
written down again with its numbers.
"""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import images, measured, spiking
from torch import nn

T, COUNT, THETA = 6, 5, 0.5
NAMES = [
    *("accuracy", "firing-rate", "synops", "pooled-synops", "events"),
    *("energy", "energy-memory", "energy-twin"),
]


class Mixed(nn.Module):
    """``[B, 2, 6, 6] -> [B, 4]``."""

    def __init__(self):
        super().__init__()
        self.first, self.inside = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.branch, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(12, 4)
        self.a, self.b, self.c = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.average, self.largest = nn.AvgPool2d(2), nn.MaxPool2d(2, stride=1)

    def forward(self, x):
        b = self.b(self.inside(self.average(self.a(self.first(x)))))
        return self.last(self.largest(self.c(self.branch(b) + b)).flatten(1))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Mixed()


def neurons(current, potential):
    """Integrate and fire, soft reset."""
    potential = potential + current
    spikes = (potential >= THETA).float()
    return spikes, potential - spikes * THETA


@torch.no_grad()
def simulated(net, x):
    """The spikes of all sources ``[T, B, *N]``: of the pooling, increases of the maximum."""
    potentials = [torch.full((len(x), 3, n, n), THETA / 2) for n in (6, 3, 3)]
    running, before = torch.zeros(len(x), 3, 3, 3), torch.zeros(len(x), 3, 2, 2)
    found = {"a": [], "b": [], "c": [], "pool": []}
    logits = []
    for _ in range(T):
        a, potentials[0] = neurons(net.first(x), potentials[0])
        b, potentials[1] = neurons(net.inside(F.avg_pool2d(THETA * a, 2)), potentials[1])
        c, potentials[2] = neurons(net.branch(THETA * b) + THETA * b, potentials[2])
        running = running + c
        largest = F.max_pool2d(running, 2, 1)
        pool, before = largest - before, largest
        logits.append(net.last(THETA * pool.flatten(1)))
        for name, spikes in zip(found, (a, b, c, pool), strict=True):
            found[name].append(spikes)
    return {name: torch.stack(x) for name, x in found.items()}, torch.stack(logits)


def neighbours(row, column, size=3):
    """The places a padded kernel of 3 x 3 reaches, times three channels."""
    reached = product((row - 1, row, row + 1), (column - 1, column, column + 1))
    return 3 * sum(0 <= r < size and 0 <= c < size for r, c in reached)


FAN_OUT = {
    "a": lambda c, y, x: neighbours(y // 2, x // 2),
    "b": lambda c, y, x: neighbours(y, x) + 1,  # and the membrane of the sum
    "c": lambda c, y, x: 0,  # it enters a max pooling
    "pool": lambda c, y, x: 4,
}
SHAPES = {"a": (3, 6, 6), "b": (3, 3, 3), "c": (3, 3, 3), "pool": (3, 2, 2)}
NEURONS = {"a": 108, "b": 27, "c": 27, "pool": 12}


def cost(name):
    shape = SHAPES[name]
    costs = [FAN_OUT[name](*place) for place in product(*map(range, shape))]
    return torch.tensor(costs, dtype=torch.float64).view(shape)


@pytest.fixture(scope="module")
def both():
    """What the package found, and what was simulated here."""
    net = network()
    snn = spiking(net, theta=THETA)  # which doubles and rounds the weights of the very module
    x, labels = images(COUNT), torch.arange(COUNT) % 4
    found = measured(snn, x, labels, T, NAMES)
    spikes, logits = simulated(net, x)
    names = dict(zip((node.name for node in snn.analysis.emitters), SHAPES, strict=True))
    rows = {names[name]: row for name, row in found.layers.items()}
    return found.totals, rows, spikes, logits, net, x, labels


def operations(spikes):
    return {name: float((s * cost(name)).sum()) / COUNT for name, s in spikes.items()}


def test_weights_are_those_of_the_package(both):
    *_, net, _, _ = both
    assert (net.first.weight * 32 == (net.first.weight * 32).round()).all()


def test_accuracy(both):
    totals, _, _, logits, _, _, labels = both
    expected = [
        float((logits[:t].double().mean(0).argmax(1) == labels).double().mean())
        for t in range(1, T + 1)
    ]
    assert totals["accuracy"] == expected


def test_operations_and_events(both):
    totals, rows, spikes, *_ = both
    expected = operations(spikes)
    assert expected["a"] > 0
    assert expected["pool"] > 0
    for name, row in rows.items():
        assert row["sops_per_sample"] == pytest.approx(expected[name])
        assert row["events_per_sample"] == pytest.approx(float((spikes[name] != 0).sum()) / COUNT)
        pooled = expected[name] / (4 if name == "a" else 1)
        assert row["sops_pooled_per_sample"] == pytest.approx(pooled)
    assert totals["sops_per_sample"] == pytest.approx(sum(expected.values()))
    steps = [sum(operations({n: s[:t] for n, s in spikes.items()}).values()) for t in range(1, 7)]
    assert totals["sops_per_sample_steps"] == pytest.approx(steps)
    fired = sum(float(spikes[name].sum()) for name in "abc") / COUNT
    assert totals["spikes_per_sample"] == pytest.approx(fired)
    assert totals["firing_rate_mean"] == pytest.approx(fired / T / (108 + 27 + 27))


FIRST, ANN = 108 * 18, 108 * 18 + 2 * 27 * 27 + 12 * 4


def test_energy_of_operations(both):
    totals, _, spikes, *_ = both
    sops = sum(operations(spikes).values())
    assert totals["ann_macs_per_sample"] == ANN
    expected = {
        "synaptic": 0.9 * sops,
        "synaptic_pooled": 0.9 * (sops - 0.75 * operations(spikes)["a"]),
        "total": 0.9 * sops + 4.6 * FIRST,
        "total_every_step": 0.9 * sops + 4.6 * FIRST * T,
        "ann": 4.6 * ANN,
    }
    for name, pj in expected.items():
        assert totals[f"energy_{name}_mj"] == pytest.approx(pj * 1e-9), name
    assert totals["energy_total_ratio"] == pytest.approx(expected["total"] / expected["ann"])


def traffic(words, held):
    """Of 4 bytes each, in a memory below 8 KiB."""
    return 4 * words * 2.5 / 8192 * 4 * held


READERS = {"a": 1, "b": 2, "c": 1, "pool": 1}  # b: the branch, and the sum
WEIGHTS = {"a": 3 * 27 + 3, "b": 3 * 27 + 3, "c": 0, "pool": 48 + 4}
AXES = {"a": 2, "b": 2, "c": 0, "pool": 0}
ADDRESSED = {  # by readers that take a whole map: input, output, taps
    "a": 27 + 27 + 27,
    "b": (27 + 27 + 27) + (27 + 27 + 27),  # the neurons' input is the sum of two maps
    "c": 27 + 12,
    "pool": 12 + 4,
}
BEHIND = {"a": 27, "b": 27 + 27, "c": 12, "pool": 4}


def source(name, spikes):
    """A row of the convention with memory, in pJ."""
    n = float((spikes[name] != 0).sum()) / COUNT
    reads = float(((spikes[name] != 0) * cost(name)).sum()) / COUNT
    fired = float(spikes[name].sum()) / COUNT
    size, neurons = NEURONS[name], NEURONS[name] if name != "pool" else 0
    whole = n > 0.5 * size * T
    return {
        "operations": 0.1 * (operations(spikes)[name] + T * neurons + (fired if neurons else 0)),
        "addressing": 0.1 * T * ADDRESSED[name] if whole else 0.1 * reads + 3.2 * AXES[name] * n,
        "inout": traffic(size * T if whole else n, size) * (1 + READERS[name]),
        "weights": traffic(WEIGHTS[name] * T if whole else reads, WEIGHTS[name]),
        "potentials": traffic(2 * neurons * T, size),
    }


def layer(inputs, outputs, weights, macs, taps):
    return {
        "operations": 3.2 * macs,
        "addressing": 0.1 * (inputs + outputs + taps),
        "inout": traffic(inputs, inputs) + traffic(outputs, outputs),
        "weights": traffic(weights, weights),
        "potentials": 0.0,
    }


DENSE = [
    layer(72, 108, 57, FIRST, 27),
    layer(27, 27, 84, 729, 27),
    layer(27, 27, 84, 729, 27),
    layer(12, 4, 52, 48, 0),
]


def test_energy_with_memory(both):
    totals, rows, spikes, *_ = both
    total = dict(DENSE[0])
    for name, row in rows.items():
        expected = source(name, spikes)
        found = {key: 1e9 * mj for key, mj in row["energy_memory_terms_mj"].items()}
        assert found == pytest.approx(expected), name
        total = {key: total[key] + expected[key] for key in total}
    found = {key: 1e9 * mj for key, mj in totals["energy_memory_terms_mj"].items()}
    assert found == pytest.approx(total)
    assert totals["energy_memory_mj"] * 1e9 == pytest.approx(sum(total.values()))
    ann = sum(sum(each.values()) for each in DENSE)
    assert totals["energy_memory_ann_mj"] * 1e9 == pytest.approx(ann)
    every = sum(
        traffic(2 * float(((s != 0) * cost(name)).sum()) / COUNT, BEHIND[name])
        for name, s in spikes.items()
    )
    by_synapse = totals["energy_memory_by_synapse_mj"] - totals["energy_memory_mj"]
    assert by_synapse * 1e9 == pytest.approx(every)


@torch.no_grad()
def twin(net, x):
    """Activations of T + 1 values, one pass: logits, and the values of all sources."""

    def quantized(current):
        return (current * T / THETA + 0.5).floor().clamp(0, T) * THETA / T

    a = quantized(net.first(x))
    b = quantized(net.inside(F.avg_pool2d(a, 2)))
    c = quantized(net.branch(b) + b)
    pool = F.max_pool2d(c, 2, 1)
    return net.last(pool.flatten(1)), {"a": a, "b": b, "c": c, "pool": pool}


def test_energy_against_the_twin(both):
    totals, rows, spikes, _, net, x, labels = both
    logits, values = twin(net, x)
    assert totals["twin_accuracy"] == float((logits.argmax(1) == labels).double().mean())
    assert totals["twin_bits"] == 3  # 7 values
    mac = 0.23 * 8 * 3 / 64
    snn = its = 0.23 * FIRST
    for name, row in rows.items():
        fired = float(spikes[name].sum()) / COUNT
        events = float((spikes[name] != 0).sum()) / COUNT
        neurons = 0 if name == "pool" else NEURONS[name]
        compute = 0.05448 * (operations(spikes)[name] + T * neurons + (fired if neurons else 0))
        moves = min(3 * events, 0.25 * T * NEURONS[name]) * READERS[name]
        driven = float(((values[name] != 0) * cost(name)).sum()) / COUNT
        quantized = mac * driven + 0.25 * NEURONS[name] * 3 * READERS[name]
        assert row["energy_twin_snn_mj"] * 1e9 == pytest.approx(compute + moves), name
        assert row["energy_twin_mj"] * 1e9 == pytest.approx(quantized), name
        snn, its = snn + compute + moves, its + quantized
    assert totals["energy_twin_snn_mj"] * 1e9 == pytest.approx(snn)
    assert totals["energy_twin_mj"] * 1e9 == pytest.approx(its)
    assert totals["energy_twin_ratio"] == pytest.approx(snn / its)

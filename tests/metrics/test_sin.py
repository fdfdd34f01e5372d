import pytest
import torch
from helpers.networks import TwoLevels, images, measured, recorded, spiking, vgg

from snnconv.graph.network import ann_inputs
from snnconv.neurons.if_ import IF

T, COUNT = 6, 4
LABELS = torch.zeros(COUNT, dtype=torch.int64)


def count(counts, inactive):
    """SIN neurons by step, wrong spikes and all spikes at each step, a neuron at a time."""
    sin, wrong, everything = [0] * T, [0] * T, [0] * T
    trains = counts.reshape(T, -1).T.tolist()
    for train, silent in zip(trains, inactive.flatten().tolist(), strict=True):
        for t, spikes in enumerate(train):
            everything[t] += int(spikes)
            wrong[t] += int(spikes) if silent else 0
            sin[t] += silent and any(train[: t + 1])
    return sin, wrong, everything


@pytest.mark.parametrize(("kind", "most"), [(IF, 1), (TwoLevels, 2)])
def test_against_a_count(kind, most):
    snn, x = spiking(vgg(), theta=0.0625, kind=kind), images(COUNT)
    found = measured(snn, x, LABELS, T, ["sin"])
    _, seen = recorded(snn, x, T)
    _, inputs = ann_inputs(snn.network, x)
    ratios, largest = [], 0
    for name, spikes in seen.items():
        sin, wrong, everything = count(spikes.counts, inputs[name] < 0)
        largest = max(largest, int((spikes.counts * (inputs[name] < 0)).max()))
        neurons = spikes.counts[0].numel()
        row = found.layers[name]
        ratios.append([n / neurons for n in sin])
        assert row["sin_ratio"] == pytest.approx(ratios[-1])
        assert row["wrong_spike_share"] == pytest.approx(
            [w / n if n else 0 for w, n in zip(wrong, everything, strict=True)]
        )
        assert row["ans_per_neuron"] == pytest.approx(sum(wrong) / neurons)
        assert row["ans_per_sin_neuron"] == pytest.approx(sum(wrong) / sin[-1] if sin[-1] else 0)
    means = [sum(step) / len(step) for step in zip(*ratios, strict=True)]
    assert found.totals["sin_ratio_steps"] == pytest.approx(means)
    assert largest == most


def test_the_ratio_only_grows_and_stays_below_the_inactivated_share():
    snn, x = spiking(vgg(), theta=0.25), images(COUNT)
    _, inputs = ann_inputs(snn.network, x)
    for name, row in measured(snn, x, LABELS, T, ["sin"]).layers.items():
        assert row["sin_ratio"] == sorted(row["sin_ratio"])
        assert row["sin_ratio"][-1] <= float((inputs[name] < 0).double().mean())


def test_a_constant_current_makes_no_wrong_spike():
    snn = spiking(vgg())
    first = snn.network.graph.sites[0].name
    row = measured(snn, images(COUNT), LABELS, T, ["sin"]).layers[first]
    assert row["sin_ratio"] == row["wrong_spike_share"] == [0] * T
    assert row["ans_per_neuron"] == row["ans_per_sin_neuron"] == 0

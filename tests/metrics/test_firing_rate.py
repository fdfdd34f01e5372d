import pytest
import torch
from helpers.networks import TwoLevels, context_of, images, measured, recorded, spiking, vgg

from snnconv.core.shapes import per_sample
from snnconv.engine.layer_output import LayerOutput
from snnconv.metrics.base import Batch, Figures, Watch
from snnconv.metrics.firing_rate import FiringRate

T, COUNT = 6, 3
LABELS = torch.zeros(COUNT, dtype=torch.int64)


@pytest.mark.parametrize("kind", [None, TwoLevels])
def test_against_a_count(kind):
    snn, x = spiking(vgg(), **({"kind": kind} if kind else {})), images(COUNT)
    found = measured(snn, x, LABELS, T, ["firing-rate"])
    _, seen = recorded(snn, x, T)
    spikes = {name: [int(step.sum()) for step in s.counts] for name, s in seen.items()}
    neurons = {name: s.counts[0, 0].numel() for name, s in seen.items()}
    everyone = COUNT * sum(neurons.values())
    for name, steps in spikes.items():
        rates = [n / (COUNT * neurons[name]) for n in steps]
        assert found.layers[name]["firing_rate_steps"] == pytest.approx(rates)
        assert found.layers[name]["firing_rate"] == pytest.approx(sum(rates) / T)
    by_step = [sum(steps) for steps in zip(*spikes.values(), strict=True)]
    assert min(by_step) > 0
    assert found.totals["firing_rate_steps"] == pytest.approx([n / everyone for n in by_step])
    assert found.totals["firing_rate_mean"] == pytest.approx(sum(by_step) / T / everyone)
    assert found.totals["spikes_per_sample"] == pytest.approx(sum(by_step) / COUNT)


def test_two_spikes_at_once_are_two():
    snn = spiking(vgg(), kind=TwoLevels)
    _, seen = recorded(snn, images(COUNT), T)
    assert max(float(s.counts.max()) for s in seen.values()) == 2


def test_a_max_pooling_has_no_neurons():
    metric = FiringRate(context_of(spiking(vgg()), 1))
    metric.begin(Batch(LABELS, torch.zeros(COUNT, 4), {}))
    Watch([metric])("2", 0, LayerOutput(*[torch.ones(1, COUNT, 4, 3, 3)] * 2))
    assert metric.figures(Figures()).totals["spikes_per_sample"] == 0


def test_more_spikes_than_float32_can_count():
    assert int(per_sample(torch.ones(1, 1, 2**24 + 3))) == 2**24 + 3

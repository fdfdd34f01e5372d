"""Networks of signed neurons: every wiring, and every figure of spikes of both signs."""

import pytest
import torch
from helpers.networks import NETS, images, measured, recorded, spiking
from torch import nn

from snnconv.core.metadata import ConfidenceInfo
from snnconv.graph.network import walk
from snnconv.neurons.signed import Params, Signed

T, COUNT = 8, 3
every_net = pytest.mark.parametrize("net", NETS)


def network(module, g=1, **given):
    return spiking(module, kind=Signed, params=Params(spikes=g, hysteresis=0), **given)


@every_net
@pytest.mark.parametrize("g", [1, 3])
def test_there_are_spikes_of_both_signs_and_chunks_change_none(net, g):
    snn, x = network(NETS[net](), g), images(COUNT)
    logits, whole = recorded(snn, x, T)
    counts = torch.cat([spikes.counts.flatten() for spikes in whole.values()])
    assert (counts > 0).any()
    assert (counts < 0).any()
    assert counts.abs().max() == g
    for chunk in (1, 3):
        again, parts = recorded(snn, x, T, chunk)
        assert torch.equal(again, logits)
        for name, spikes in whole.items():
            assert torch.equal(parts[name].values, spikes.values)
            assert torch.equal(parts[name].counts, spikes.counts)


@every_net
def test_samples_do_not_see_each_other(net):
    snn, x = network(NETS[net](), 2), images(COUNT)
    logits, _ = recorded(snn, x, T)
    alone = [recorded(snn, x[i : i + 1], T, samples=torch.tensor([i]))[0] for i in range(COUNT)]
    assert torch.equal(torch.cat(alone, 1), logits)


def quantized(snn, x):
    """The ANN whose activations are rounded to multiples of theta/T and not clipped."""

    def evaluate(node, inputs):
        if node.op == "relu":
            unit = snn.neurons[node.name].threshold / T
            return unit * (inputs[0] / unit + 0.5).floor().clamp(min=0)
        return snn.network.compute(node, inputs)

    return walk(snn.network.graph, x, evaluate)


def without_biases(module):
    """They are currents at every step, silent or not."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    return module


@every_net
def test_when_all_has_settled_the_sum_is_the_quantized_anns(net):
    """The input is shown for T steps and silent then: all charge is put out, and put right."""
    snn, x = network(without_biases(NETS[net]()), 4, hold=T), images(COUNT)
    quiet = [torch.zeros_like(x)] * 11
    logits, _ = recorded(snn, torch.stack([x, *quiet]), 12 * T)
    torch.testing.assert_close(logits[-1] * 12, quantized(snn, x).double())


def pooled_late():
    """A max pooling behind a site whose input changes over time."""
    torch.manual_seed(0)
    sites = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU()
    return nn.Sequential(*sites, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(27, 4))


def test_a_max_pooling_takes_back_what_its_input_takes_back():
    snn, x = network(pooled_late(), 2), images(COUNT)
    _, seen = recorded(snn, x, T)
    _, site, pool = seen.values()
    assert (pool.values < 0).any()
    pooled = torch.nn.functional.max_pool2d(site.values.sum(0), 3, 2, 1)
    assert torch.equal(pool.values.sum(0), pooled)
    assert torch.equal(pool.counts * 0.5, pool.values)  # levels in units of theta
    found = measured(snn, x, torch.zeros(COUNT, dtype=torch.int64), T, ["synops"])
    emitted = pool.counts.abs().sum().item()
    assert list(found.layers.values())[-1]["sops_per_sample"] == emitted * 4 / COUNT


@every_net
def test_a_negative_spike_is_a_spike_in_every_figure(net):
    snn, x = network(NETS[net](), 2), images(COUNT)
    labels = torch.zeros(COUNT, dtype=torch.int64)
    found = measured(snn, x, labels, T, ["firing-rate", "synops", "sin"])
    _, seen = recorded(snn, x, T)
    sites = [site.name for site in snn.network.graph.sites]
    spikes = sum(seen[name].counts.abs().sum().item() for name in sites)
    assert found.totals["spikes_per_sample"] == pytest.approx(spikes / COUNT)
    for name in sites:
        ratios = found.layers[name]["sin_ratio"]
        assert ratios == sorted(ratios)
        assert 0 <= found.layers[name]["wrong_spike_share"][-1] <= 1


def test_operations_by_hand():
    """Fully connected: each spike of either sign reaches all neurons of the next layer."""
    snn, x = network(NETS["mlp"](), 2), images(COUNT)
    found = measured(snn, x, torch.zeros(COUNT, dtype=torch.int64), T, ["synops"])
    _, seen = recorded(snn, x, T)
    (first, one), (second, other) = seen.items()
    assert found.layers[first]["sops_per_sample"] == one.counts.abs().sum().item() * 7 / COUNT
    assert found.layers[second]["sops_per_sample"] == other.counts.abs().sum().item() * 4 / COUNT


def test_spike_confidence_acts():
    snn = network(NETS["mlp"](), 2)
    name = next(iter(snn.neurons))
    confident = network(
        NETS["mlp"](), 2, confidence=ConfidenceInfo(early=4, keep=dict.fromkeys([name], 0.5))
    )
    _, whole = recorded(snn, images(COUNT), T)
    _, fewer = recorded(confident, images(COUNT), T)
    assert fewer[name].counts[:4].abs().sum() < whole[name].counts[:4].abs().sum()
    totals = fewer[name].counts.cumsum(0)
    assert (totals >= 0).all()

"""Energy with memory, by hand: 16 neurons that fire at every step, and 32 of which half do."""

import pytest
import torch
from helpers.networks import measured, spiking
from torch import nn

from snnconv.metrics.energy_memory import EnergyMemory, moved, per_byte
from snnconv.neurons.lm_ht import LMHT, Params

T = 4
NAMES = ["synops", "events", "energy-memory"]
LABELS = torch.zeros(1, dtype=torch.int64)


def worked():
    """The network of the reference: a 1 x 1 convolution, one of 3 x 3, and a linear layer."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[2].weight.zero_()
        net[2].weight[0, 0, 1, 1] = 1.0
        net[2].weight[1] = -1.0
    return net


def found(**options):
    # the weights of `spiking` are doubled
    snn = spiking(worked(), (1, 4, 4), theta=[2.0, 4.0], **options)
    return measured(snn, torch.ones(1, 1, 4, 4), LABELS, T, NAMES)


def per(byte):
    """In a memory of so many bytes below 8 KiB, in pJ a byte."""
    return 2.5 * byte / 8192


def pj(value):
    return pytest.approx(value * 1e-9, rel=1e-12)


def test_bytes_by_the_size_of_a_memory():
    assert per_byte(0) == 0
    assert per_byte(4096) == 1.25
    assert per_byte(8192) == 2.5
    assert per_byte(20 * 1024) == 3.75
    assert per_byte(32 * 1024) == 5.0
    assert per_byte(528 * 1024) == 15.0
    assert per_byte(1 << 20) == per_byte(1 << 40) == 25.0
    assert moved(3, 2048) == 3 * 4 * 2.5


def test_events_of_half_of_the_neurons():
    """16 of 32 neurons fire at each of 4 steps: 64 events, each read by 2 logits."""
    row = found().layers["3"]
    assert row["events_per_sample"] == 64
    assert row["sops_per_sample"] == 128
    expected = {
        "operations": 0.1 * (128 + 4 * 32 + 64),
        "addressing": 0.1 * 128,  # of a linear layer, whose events need no address of their own
        "inout": 4 * 64 * (1 + 1) * per(4 * 32),
        "weights": 4 * 128 * per(4 * (64 + 2)),
        "potentials": 2 * 4 * 4 * 32 * per(4 * 32),
    }
    assert row["energy_memory_terms_mj"] == {key: pj(value) for key, value in expected.items()}
    assert row["energy_memory_mj"] == pj(sum(expected.values()))


def test_a_source_that_fires_everywhere_is_moved_as_a_map():
    """16 of 16 neurons at each step: the convolution behind reads its 18 weights once a step."""
    row = found().layers["1"]
    assert row["events_per_sample"] == 64
    assert row["sops_per_sample"] == 800
    expected = {
        "operations": 0.1 * (800 + 4 * 16 + 64),
        "addressing": 0.1 * 4 * (16 + 32 + 2 * 9),
        "inout": 4 * 4 * 16 * (1 + 1) * per(4 * 16),
        "weights": 4 * 4 * 18 * per(4 * 18),
        "potentials": 2 * 4 * 4 * 16 * per(4 * 16),
    }
    assert row["energy_memory_terms_mj"] == {key: pj(value) for key, value in expected.items()}


def dense(inputs, outputs, weights, macs, kernel=0):
    return {
        "operations": 3.2 * macs,
        "addressing": 0.1 * (inputs + outputs + kernel),
        "inout": 4 * inputs * per(4 * inputs) + 4 * outputs * per(4 * outputs),
        "weights": 4 * weights * per(4 * weights),
        "potentials": 0.0,
    }


def test_the_ann():
    layers = (dense(16, 16, 1, 16, 1), dense(16, 32, 18, 288, 18), dense(32, 2, 66, 64))
    expected = {key: sum(layer[key] for layer in layers) for key in layers[0]}
    totals = found().totals
    terms = totals["energy_memory_ann_terms_mj"]
    assert terms == {key: pj(value) for key, value in expected.items()}
    assert totals["energy_memory_ann_mj"] == pj(sum(expected.values()))
    assert totals["energy_memory_ratio"] == pytest.approx(
        totals["energy_memory_mj"] / totals["energy_memory_ann_mj"]
    )


def test_the_total_has_the_first_layer_once():
    figures = found()
    first = sum(dense(16, 16, 1, 16, 1).values())
    rows = sum(row["energy_memory_mj"] for row in figures.layers.values())
    assert figures.totals["energy_memory_mj"] == pytest.approx(rows + first * 1e-9)
    assert figures.totals["energy_memory_mj_steps"][-1] == figures.totals["energy_memory_mj"]


def test_up_to_a_step_it_is_what_so_many_steps_take():
    snn = spiking(worked(), (1, 4, 4), theta=[2.0, 4.0])
    for steps in (1, 2, 3):
        short = measured(snn, torch.ones(1, 1, 4, 4), LABELS, steps, NAMES).totals
        assert found().totals["energy_memory_mj_steps"][steps - 1] == pytest.approx(
            short["energy_memory_mj"]
        )


def test_potentials_at_every_synapse():
    """Site 1 reaches the 32 membranes of the convolution, site 3 the 2 logits."""
    totals = found().totals
    more = 2 * 4 * (800 * per(4 * 32) + 128 * per(4 * 2))
    assert totals["energy_memory_by_synapse_mj"] == pytest.approx(
        totals["energy_memory_mj"] + more * 1e-9
    )


def test_an_event_of_two_spikes_is_two_operations_and_one_look_up():
    """LM-HT neurons of two levels: site 3 has 16 events of 2 spikes in one step."""
    snn = spiking(worked(), (1, 4, 4), theta=[2.0, 4.0], kind=LMHT, params=Params(levels=2), T=1)
    row = measured(snn, torch.ones(1, 1, 4, 4), LABELS, 1, NAMES).layers["3"]
    assert row["events_per_sample"] == 16
    assert row["sops_per_sample"] == 64
    terms = row["energy_memory_terms_mj"]
    assert terms["operations"] == pj(0.1 * (64 + 32 + 32))
    assert terms["weights"] == pj(4 * 32 * per(4 * 66))
    assert terms["addressing"] == pj(0.1 * 32)


def test_it_needs_operations_and_events():
    assert EnergyMemory.needs == ("synops", "events")

"""Energy against the quantized twin, by hand."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.networks import context_of, images, measured, recorded, spiking, vgg
from torch import nn

from snnconv.metrics.base import Batch, Figures, Twin
from snnconv.metrics.energy_twin import EnergyTwin, bits_for, mac
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.lm_ht import Params as LMHTParams
from snnconv.neurons.signed import Params as SignedParams
from snnconv.neurons.signed import Signed
from snnconv.simulation.simulate import simulate
from snnconv.simulation.twin import QuantizedTwin

NAMES = ["synops", "events", "energy-twin", "accuracy"]


def pj(value):
    return pytest.approx(value * 1e-9, rel=1e-12)


@pytest.mark.parametrize(
    ("levels", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (255, 8), (256, 9)]
)
def test_bits_hold_one_value_more_than_levels(levels, bits):
    assert bits_for(levels) == bits == math.ceil(math.log2(levels + 1))


def test_a_multiply_accumulate_by_its_bits():
    assert mac(8) == pytest.approx(0.23)
    assert mac(4) == pytest.approx(0.115)


def simple():
    """Three inputs, two neurons of which one fires, two logits."""
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.5, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
    return net


def measure(T, x=1.0, **options):
    snn = spiking(simple(), (3,), theta=1.0, **options)
    labels = torch.zeros(1, dtype=torch.int64)
    return measured(snn, torch.full((1, 3), x), labels, T, NAMES)


def test_one_neuron_that_fires_at_every_step():
    """4 steps: 4 events to 2 logits; the twin has 3 bits and one value that is not zero."""
    found = measure(4)
    snn = 0.05448 * (8 + 4 * 2 + 4) + min(3 * 4, 0.25 * 4 * 2)
    twin = 0.23 * 8 * 3 / 64 * 2 + 0.25 * 2 * 3
    row = found.layers["1"]
    assert row["energy_twin_snn_mj"] == pj(snn)
    assert row["energy_twin_mj"] == pj(twin)
    first = 0.23 * 6
    totals = found.totals
    assert totals["twin_bits"] == 3
    assert totals["energy_twin_snn_mj"] == pj(snn + first)
    assert totals["energy_twin_mj"] == pj(twin + first)
    assert totals["energy_twin_ratio"] == pytest.approx((snn + first) / (twin + first))


def test_events_are_routed_one_by_one_if_that_is_cheaper():
    """Of 40 steps one has a spike: the current is 1/64, and the potential starts at a half."""
    found = measure(40, x=1 / 64)
    events = found.layers["1"]["events_per_sample"]
    assert events == 1
    snn = 0.05448 * (2 + 40 * 2 + 1) + 3 * 1
    assert found.layers["1"]["energy_twin_snn_mj"] == pj(snn)


@pytest.mark.parametrize("x", [1.0, 0.5, 1 / 8])
def test_at_the_rate_of_break_even_both_are_equal(x):
    """Spikes at that rate, which cost what these do on average, take what the twin takes."""
    T = 8
    row = measure(T, x=x).layers["1"]
    spikes, operations = row["events_per_sample"], row["sops_per_sample"]
    at = row["break_even_rate"] * T * 2
    taken = 0.05448 * (at * operations / spikes + T * 2 + at) + min(3 * at, 0.25 * T * 2)
    twin = row["energy_twin_mj"] * 1e9
    assert taken == pytest.approx(twin) or (at == 0 and taken > twin)


def test_levels_take_bits():
    """Two levels at 3 steps: 7 values; an event of up to 2 spikes has 2 bits."""
    snn = spiking(simple(), (3,), theta=1.0, kind=LMHT, params=LMHTParams(levels=2), T=3)
    found = measured(snn, torch.ones(1, 3), torch.zeros(1, dtype=torch.int64), 3, NAMES)
    assert found.totals["twin_bits"] == 3
    whole = 0.25 * 3 * 2 * 2
    snn = 0.05448 * (12 + 3 * 2 + 6) + min(3 * 3 * 2, whole)
    assert found.layers["1"]["energy_twin_snn_mj"] == pj(snn)


def test_a_sign_takes_a_bit():
    context = context_of(spiking(simple(), (3,), kind=Signed, params=SignedParams(spikes=1)), 4)
    assert EnergyTwin(context).event_bits == 2


def test_the_twins_accuracy_is_that_of_neurons_of_as_many_levels_at_one_step():
    T, count = 5, 12
    snn = spiking(vgg())
    one_step = spiking(vgg(), kind=LMHT, params=LMHTParams(levels=T), T=1)
    x, samples = images(count), torch.arange(count)
    logits = simulate(one_step, x[None], samples, 1, 1)[0]
    made = QuantizedTwin.of(context_of(snn, T), snn.network)(x)
    assert torch.equal(made.logits.double(), logits)
    labels = logits.argmax(1).roll(1)
    labels[:7] = logits.argmax(1)[:7]
    found = measured(snn, x, labels, T, NAMES).totals
    assert found["twin_accuracy"] == float((logits.argmax(1) == labels).double().mean())
    assert found["twin_accuracy_interval"][0] < found["twin_accuracy"]


def test_at_a_transfer_site_values_have_both_signs():
    snn = spiking(simple(), (3,))
    made = QuantizedTwin.of(context_of(snn, 4), snn.network)
    activation, theta = torch.tensor([[-9.0, -0.3, 0.1, 0.4, 9.0]]), torch.tensor([1.0])
    both = made.quantized(activation, theta, two_sided=True)
    assert both.tolist() == [[-1.0, -0.25, 0.0, 0.5, 1.0]]
    assert made.quantized(activation, theta).tolist() == [[0.0, 0.0, 0.0, 0.5, 1.0]]


def test_the_twin_skips_what_is_zero():
    T, count = 5, 4
    snn = spiking(vgg())
    made = QuantizedTwin.of(context_of(snn, T), snn.network)(images(count))
    one_step = spiking(vgg(), kind=LMHT, params=LMHTParams(levels=T), T=1)
    _, seen = recorded(one_step, images(count), 1)
    for name, fan_out in snn.analysis.fan_out.items():
        expected = ((seen[name].counts[0] > 0) * fan_out).sum()
        assert made.reads[name] == expected > 0


def test_steps_before_the_t_steps_are_steps_of_two_neurons_too():
    """3 steps, and 2 before them: 9 spikes, and 5 maps to move."""
    metric = EnergyTwin(replace(context_of(spiking(simple(), (3,)), 3), lead=2))
    twin = Twin(torch.zeros(1, 2), {"1": torch.zeros((), dtype=torch.float64)})
    metric.begin(Batch(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 2), {}, twin=twin))
    threes = {"1": torch.full((3,), 3, dtype=torch.float64)}
    by_step = dict.fromkeys(("spikes", "events", "operations", "reads"), threes)
    row = metric.figures(Figures(by_step=by_step)).layers["1"]
    assert row["energy_twin_snn_mj"] == pj(0.05448 * (9 + 5 * 2 + 9) + 0.25 * 5 * 2)


def test_its_runs_are_added_up_over_batches():
    snn = spiking(simple(), (3,))
    metric = EnergyTwin(context_of(snn, 2))
    for reads in (1.0, 4.0):
        twin = Twin(torch.zeros(2, 2), {"1": torch.tensor(reads, dtype=torch.float64)})
        metric.begin(Batch(torch.zeros(2, dtype=torch.int64), torch.zeros(2, 2), {}, twin=twin))
    none = {"1": torch.zeros(2, dtype=torch.float64)}
    by_step = dict.fromkeys(("spikes", "events", "operations", "reads"), none)
    row = metric.figures(Figures(by_step=by_step)).layers["1"]
    assert row["energy_twin_mj"] == pj(mac(2) * 5 / 4 + 0.25 * 2 * 2)
    assert row["break_even_rate"] is None

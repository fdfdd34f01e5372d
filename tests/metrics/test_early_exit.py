"""Early exit, by hand and against the whole simulation."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.networks import context_of, images, measured, spiking, vgg

from snnconv.core.uncertainty import wilson
from snnconv.graph.operations.work import Work
from snnconv.metrics.base import Batch, Figures, Watch
from snnconv.metrics.early_exit import EarlyExit
from snnconv.simulation.simulate import simulate
from snnconv.tasks.base import TASKS
from snnconv.tasks.base import margin as margin_of

T = 3


def metric(margin, answers=None):
    context = context_of(spiking(vgg()), T)
    return EarlyExit(replace(context, exit_margin=margin, answers=answers))


def of(metric, logits, operations, labels):
    """The figures of samples with these logits ``[T, B, classes]`` and operations ``[T, B]``."""
    (name, *_) = metric.weights()
    metric.begin(Batch(torch.tensor(labels), None, {}))
    metric.add_by_sample(name, 0, torch.tensor(operations[:2]))
    metric.add_by_sample(name, 2, torch.tensor(operations[2:]))
    metric.finish(torch.tensor(logits, dtype=torch.float64))
    return metric.figures(Figures()).totals["early_exit"]


# of probabilities p and 1 - p: margins of 2p - 1, reached by logits of log(p / (1 - p)) and 0
SURE = math.log(0.9 / 0.1)  # margin 0.8
HALF = math.log(0.7 / 0.3)  # margin 0.4
LOGITS = [
    [[SURE, 0.0], [0.0, 0.0], [0.0, HALF]],
    [[0.0, SURE], [0.0, HALF], [0.0, HALF]],
    [[SURE, 0.0], [SURE, 0.0], [0.0, HALF]],
]
OPERATIONS = [[10, 1, 100], [20, 2, 200], [40, 4, 400]]
"""Sample 0 is sure at step 1, sample 1 at step 3, sample 2 never."""


def test_by_hand():
    found = metric(0.6)
    figures = of(found, LOGITS, OPERATIONS, [0, 0, 0])
    assert figures["samples_by_step"] == [1, 0, 2]
    assert figures["steps_mean"] == pytest.approx((1 + 3 + 3) / 3)
    assert figures["sops_per_sample"] == pytest.approx((10 + 7 + 700) / 3)
    assert figures["accuracy"] == 2 / 3
    assert figures["accuracy_interval"] == wilson(2 / 3, 3)
    count = found.context.analysis.work_count
    assert count.each_step == Work()
    energy = (0.9 * (10 + 7 + 700) / 3 + 4.6 * count.first.weights) * 1e-9
    assert figures["energy_total_mj"] == pytest.approx(energy)
    assert figures["energy_total_ratio"] == pytest.approx(energy / (4.6e-9 * count.total.weights))


def test_a_lower_margin_stops_earlier():
    figures = of(metric(0.3), LOGITS, OPERATIONS, [0, 0, 1])
    assert figures["samples_by_step"] == [2, 1, 0]
    assert figures["sops_per_sample"] == pytest.approx((10 + 3 + 100) / 3)
    assert figures["accuracy"] == 2 / 3  # sample 1 is of class 1 at step 2


def test_a_margin_that_is_just_reached_is_enough():
    figures = of(metric(0.0), [[[0.0, 0.0]] * 3] * T, OPERATIONS, [0, 0, 0])
    assert figures["samples_by_step"] == [3, 0, 0]


def test_steps_without_an_answer_are_none_to_stop_at():
    figures = of(metric(0.6, answers=(2, 3)), LOGITS, OPERATIONS, [0, 0, 0])
    assert figures["samples_by_step"] == [0, 1, 2]
    assert figures["accuracy"] == 1 / 3  # sample 0 is of class 1 at step 2


def test_analog_values_count_at_the_steps_taken():
    found = metric(0.6)
    count = replace(found.context.analysis.work_count, each_step=Work(4, 3, 2, 5))
    analysis = replace(found.context.analysis)
    vars(analysis)["work_count"] = count
    found.context = replace(found.context, analysis=analysis)
    figures = of(found, LOGITS, OPERATIONS, [0, 0, 0])
    sops, steps = (10 + 7 + 700) / 3, (1 + 3 + 3) / 3
    energy = 0.9 * sops + 4.6 * (count.first.weights + 7 * steps) + (10 * 2 + 0.9 * 5) * steps
    assert figures["energy_total_mj"] == pytest.approx(energy * 1e-9)


def test_steps_before_the_t_steps_count_for_every_sample():
    found = metric(0.6)
    found.context = replace(found.context, lead=2)
    (name, *_) = found.weights()
    found.begin(Batch(torch.tensor([0, 0, 0]), None, {}))
    found.add_by_sample(name, -2, torch.tensor([[1000, 1000, 1000], [2000, 2000, 2000]]))
    found.add_by_sample(name, 0, torch.tensor(OPERATIONS))
    found.finish(torch.tensor(LOGITS, dtype=torch.float64))
    figures = found.figures(Figures()).totals["early_exit"]
    assert figures["samples_by_step"] == [1, 0, 2]
    assert figures["sops_per_sample"] == pytest.approx(3000 + (10 + 7 + 700) / 3)


def test_margins():
    logits = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, 0.0]])
    total = math.exp(2) + math.exp(1) + math.exp(-1)
    expected = [(math.exp(2) - math.exp(1)) / total, 0]
    assert margin_of(logits).tolist() == pytest.approx(expected)
    assert margin_of(torch.zeros(4, 2, 1)).tolist() == [[1, 1]] * 4  # one class


def test_what_confidence_is_for_other_tasks():
    """By hand, of one sample whose outputs have the probabilities 0.9 and 0.7."""
    labels = torch.tensor([[[SURE, -HALF]]])
    assert TASKS.load("multi-label").confidence(labels).tolist() == [[pytest.approx(0.4)]]
    places = torch.tensor([[[[[SURE, 0.0]], [[0.0, HALF]]]]])  # [T, B, classes, 1, 2]
    one = places[:, :, :1]  # one output a place stands against 0
    for name in ("segmentation", "none"):
        assert TASKS.load(name).confidence(places).tolist() == [[pytest.approx(0.6)]]
    assert TASKS.load("segmentation").confidence(one).tolist() == [[pytest.approx(0.4)]]
    for name, outputs in (("none", one), ("regression", labels), ("ranking", labels)):
        assert TASKS.load(name).confidence(outputs) is None


@pytest.mark.parametrize(("margin", "at"), [(0.0, 0), (1.0, 7)])
def test_at_its_ends_it_is_the_simulation_itself(margin, at):
    """Nobody waits, or everybody goes on to T."""
    snn, x = spiking(vgg()), images(12)
    labels = torch.tensor([0, 1, 2, 3] * 3)
    context = replace(context_of(snn, 8), exit_margin=margin)
    metric = EarlyExit(context)
    found = measured(snn, x, labels, 8, ["accuracy", "energy", "synops"]).totals
    watch = Watch([metric])
    metric.begin(Batch(labels, None, {}))
    logits = simulate(snn, x[None], torch.arange(12), 8, 3, watch, watch.needs)
    metric.finish(logits)
    early = metric.figures(Figures()).totals["early_exit"]
    assert early["samples_by_step"][at] == 12
    assert early["steps_mean"] == at + 1
    assert early["accuracy"] == found["accuracy"][at]
    assert early["sops_per_sample"] == pytest.approx(found["sops_per_sample_steps"][at])
    assert early["energy_total_mj"] == pytest.approx(found["energy_total_mj_steps"][at])

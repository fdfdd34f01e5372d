import hashlib
from dataclasses import replace

import pytest
import torch
from helpers.networks import context_of, images, measured, recorded, spiking, vgg

from snnconv.core.uncertainty import unpacked, wilson
from snnconv.graph.network import ann_inputs
from snnconv.metrics.accuracy import Accuracy
from snnconv.metrics.base import Batch, Figures
from snnconv.neurons.lm_ht import LMHT, Params

T = 8


def test_against_a_count():
    snn, x = spiking(vgg()), images(12)
    labels = torch.tensor([0, 1, 2, 3] * 3)
    found = measured(snn, x, labels, T, ["accuracy"]).totals
    logits, _ = recorded(snn, x, T)
    ann, _ = ann_inputs(snn.network, x)

    def one_line(rows):
        return [max(range(4), key=lambda k, row=row: float(row[k])) for row in rows]

    truth, by_ann = labels.tolist(), one_line(ann)

    def share(one, other):
        return sum(a == b for a, b in zip(one, other, strict=True)) / 12

    assert found["accuracy"] == [share(one_line(step), truth) for step in logits]
    assert found["agreement"] == [share(one_line(step), by_ann) for step in logits]
    assert found["ann_accuracy"] == share(by_ann, truth)
    gap = sum(float(d) ** 2 for d in (logits[-1] - ann).flatten()) ** 0.5
    norm = sum(float(d) ** 2 for d in ann.flatten()) ** 0.5
    assert found["logits_relative_error"] == pytest.approx(gap / norm)


def judged(snn_right, ann_right, samples):
    """The figures when so many samples are right at each step."""
    metric = Accuracy(context_of(spiking(vgg()), len(snn_right)))
    labels = torch.zeros(samples, dtype=torch.int64)

    def logits(right):
        rows = torch.zeros(samples, 2)
        rows[torch.arange(samples), (torch.arange(samples) >= right).long()] = 1
        return rows

    metric.begin(Batch(labels, logits(ann_right), {}))
    metric.finish(torch.stack([logits(right) for right in snn_right]).double())
    return metric.figures(Figures()).totals


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([900, 940, 945, 949, 950], {"1.0": 2, "0.5": 3, "0.1": 4}),  # on each bound: within
        ([939, 939], {"1.0": None, "0.5": None, "0.1": None}),
        ([960], {"1.0": 1, "0.5": 1, "0.1": 1}),  # better is within, too
        ([900, 950, 900], {"1.0": 2, "0.5": 2, "0.1": 2}),  # the first step, not the last
        ([948], {"1.0": 1, "0.5": 1, "0.1": None}),
    ],
)
def test_the_first_step_within_so_many_points(steps, expected):
    found = judged(steps, 950, 1000)
    assert found["steps_to_ann"] == expected
    assert found["accuracy"] == [right / 1000 for right in steps]
    assert found["ann_accuracy"] == 0.95


def test_logits_that_are_all_zero_have_no_relative_error():
    metric = Accuracy(context_of(spiking(vgg()), 1))
    metric.begin(Batch(torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3), {}))
    metric.finish(torch.ones(1, 2, 3).double())
    assert metric.figures(Figures()).totals["logits_relative_error"] is None


def test_without_an_ann_there_is_the_accuracy_alone():
    metric = Accuracy(context_of(spiking(vgg()), 2))
    metric.begin(Batch(torch.tensor([0, 1]), None, {}))
    metric.finish(torch.tensor([[[1.0, 0], [1, 0]], [[1, 0], [0, 1]]]).double())
    found = metric.figures(Figures()).totals
    assert found.keys() == {"accuracy", "accuracy_interval"}
    assert found["accuracy"] == [0.5, 1.0]
    assert found["accuracy_interval"] == [wilson(0.5, 2), wilson(1.0, 2)]


def by_sample(order, sizes, T=3, answers=None):
    """Figures of a metric that is told samples of 12 in some order, in batches of these sizes."""
    labels = torch.arange(12) % 2
    said = torch.stack([torch.zeros(12), labels * (torch.arange(12) > 4), labels]).long()
    by_ann = labels.clone()
    by_ann[:2] = 1 - by_ann[:2]
    metric = Accuracy(replace(context_of(spiking(vgg()), T), population=12, answers=answers))
    for indices in torch.tensor(order).split(sizes):
        logits = torch.nn.functional.one_hot(said[:, indices], 2).double()
        ann = torch.nn.functional.one_hot(by_ann[indices], 2).float()
        metric.begin(Batch(labels[indices], ann, {}, indices))
        metric.finish(logits)
    return metric.figures(Figures()).totals


def test_which_samples_are_right_by_hand():
    found = by_sample(range(12), 5)
    # labels 0101...: at step 1 all are called 0, at step 2 the odd ones from 5 on 1, then all right
    bits = {1: "101010101010", 2: "101011111111", 3: "111111111111"}
    kept = {t: f"{unpacked(s, 12):016b}"[:12] for t, s in found["outcomes"]["steps"].items()}
    assert kept == {str(t): text for t, text in bits.items()}
    assert f"{unpacked(found['outcomes']['ann'], 12):016b}" == "0011111111110000"
    # at T the network alone has the first two right: 2 of 2 discordant, p = 2/4
    assert found["against_ann"] == {"only_this_right": 2, "only_other_right": 0, "p": 0.5}
    assert found["classes"] == 2
    assert found["ann_accuracy_interval"] == wilson(10 / 12, 12)


def test_which_samples_does_not_depend_on_their_order():
    order = [7, 2, 11, 0, 4, 5, 1, 3, 10, 9, 8, 6]
    assert by_sample(order, 5) == by_sample(range(12), 12)


def test_other_samples_have_another_digest():
    one, other = (by_sample(chosen, 4)["outcomes"] for chosen in ([0, 1, 2, 3], [4, 5, 6, 7]))
    assert one["samples_sha256"] != other["samples_sha256"]
    expected = torch.tensor([0, 1, 2, 3, 0, 1, 0, 1]).numpy().astype("<i8").tobytes()
    assert one["samples_sha256"] == hashlib.sha256(expected).hexdigest()
    assert by_sample([0, 2, 4], 3)["classes"] == 1


def test_without_an_answer_before_the_last_step_there_is_one_point():
    found = by_sample(range(12), 12, answers=(3,))
    assert found["accuracy"] == [*found["agreement"][:2], 1.0] == [None, None, 1.0]
    assert found["accuracy_interval"][:2] == [None, None]
    assert found["steps_to_ann"] == {"1.0": 3, "0.5": 3, "0.1": 3}
    assert found["outcomes"]["steps"].keys() == {"3"}


@pytest.mark.parametrize("omega", ["uniform", "identity"])
def test_only_neurons_that_need_later_steps_lack_the_first_ones(omega):
    params = Params(levels=2, omega=omega)
    snn = spiking(vgg(), kind=LMHT, params=params, T=4)
    names = ["accuracy", "synops", "energy"]
    found = measured(snn, images(6), torch.arange(6) % 4, 4, names).totals
    for key in ("accuracy", "agreement", "sops_per_sample_steps", "energy_total_mj_steps"):
        lacking = [value is None for value in found[key]]
        assert lacking == ([True] * 3 + [False] if omega == "uniform" else [False] * 4)
    assert found["sops_per_sample_steps"][-1] == found["sops_per_sample"]
    assert found["energy_total_mj_steps"][-1] == found["energy_total_mj"]

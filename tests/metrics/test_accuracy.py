import pytest
import torch
from networks import images, measured, recorded, setup, spiking, vgg

from snnconv.conversion import ann_inputs
from snnconv.metric import Batch, Figures
from snnconv.metrics.accuracy import Accuracy

T = 8


def test_against_a_count():
    snn, x = spiking(vgg()), images(12)
    labels = torch.tensor([0, 1, 2, 3] * 3)
    found = measured(snn, x, labels, T, ["accuracy"]).totals
    logits, _ = recorded(snn, x, T)
    ann, _ = ann_inputs(snn.network, x)

    def said(rows):
        return [max(range(4), key=lambda k, row=row: float(row[k])) for row in rows]

    truth, by_ann = labels.tolist(), said(ann)

    def share(one, other):
        return sum(a == b for a, b in zip(one, other, strict=True)) / 12

    assert found["accuracy"] == [share(said(step), truth) for step in logits]
    assert found["agreement"] == [share(said(step), by_ann) for step in logits]
    assert found["ann_accuracy"] == share(by_ann, truth)
    gap = sum(float(d) ** 2 for d in (logits[-1] - ann).flatten()) ** 0.5
    norm = sum(float(d) ** 2 for d in ann.flatten()) ** 0.5
    assert found["logits_relative_error"] == pytest.approx(gap / norm)


def judged(snn_right, ann_right, samples):
    """The figures when so many samples are right at each step."""
    metric = Accuracy(setup(spiking(vgg()), len(snn_right)))
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
    metric = Accuracy(setup(spiking(vgg()), 1))
    metric.begin(Batch(torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3), {}))
    metric.finish(torch.ones(1, 2, 3).double())
    assert metric.figures(Figures()).totals["logits_relative_error"] is None


def test_without_an_ann_there_is_the_accuracy_alone():
    metric = Accuracy(setup(spiking(vgg()), 2))
    metric.begin(Batch(torch.tensor([0, 1]), None, {}))
    metric.finish(torch.tensor([[[1.0, 0], [1, 0]], [[1, 0], [0, 1]]]).double())
    assert metric.figures(Figures()).totals == {"accuracy": [0.5, 1.0]}

"""Scores of tasks against scikit-learn and SciPy on random labels, and by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn import metrics

from snnconv.tasks.base import TASKS, pseudo_values

N = 60


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scores(name, outputs, labels):
    """The scores of a task, by name, of outputs at one step."""
    task = TASKS.load(name)
    assert task.fault(labels, tuple(outputs.shape[1:])) == ""
    return task.values(task.rows(outputs[None], labels)[0])


@pytest.mark.parametrize("seed", range(3))
def test_classification(seed):
    outputs = drawn(seed, N, 8)
    labels = torch.randint(8, (N,), generator=torch.Generator().manual_seed(seed))
    found = scores("classification", outputs, labels)
    for k in (1, 5):
        wanted = metrics.top_k_accuracy_score(labels, outputs, k=k, labels=range(8))
        assert found[f"top-{k}"] == pytest.approx(wanted, abs=1e-12)


def test_of_equal_outputs_the_first_is_the_class():
    outputs, labels = torch.zeros(3, 6), torch.tensor([0, 1, 5])
    assert scores("classification", outputs, labels) == {"top-1": 1 / 3, "top-5": 2 / 3}
    assert scores("classification", outputs, labels)["top-1"] == float(
        (outputs.argmax(1) == labels).double().mean()
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_multi_label(seed, ties):
    outputs = drawn(seed, N, 5)
    outputs = outputs.round() if ties else outputs
    labels = (drawn(seed + 10, N, 5) + outputs > 0.5).long()
    labels[:, 4] = 0  # a label that no sample has
    found = scores("multi-label", outputs, labels)
    wanted = metrics.average_precision_score(labels[:, :4], outputs[:, :4], average="macro")
    assert found["mean-average-precision"] == pytest.approx(wanted, abs=1e-12)
    wanted = metrics.f1_score(labels, outputs > 0, average="macro", zero_division=0)
    assert found["f1"] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("shape", [(1,), (3,)])
@pytest.mark.parametrize("seed", range(3))
def test_regression(seed, shape):
    outputs = drawn(seed, N, *shape)
    labels = (outputs * 0.7 + drawn(seed + 10, N, *shape)).squeeze(1) + 5
    found = scores("regression", outputs, labels)
    outputs, flat = outputs.double(), labels.double().reshape(N, -1)
    wanted = metrics.mean_squared_error(flat, outputs) ** 0.5
    assert found["rmse"] == pytest.approx(wanted, rel=1e-6)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(flat, outputs), rel=1e-6)
    assert found["r2"] == pytest.approx(metrics.r2_score(flat, outputs), rel=1e-6)


def test_regression_of_maps_takes_places_for_samples_of_a_channel():
    outputs, labels = drawn(0, N, 2, 3, 4), drawn(1, N, 2, 3, 4)
    found = scores("regression", outputs, labels)
    x, y = (v.double().movedim(1, -1).reshape(-1, 2) for v in (outputs, labels))
    assert found["r2"] == pytest.approx(metrics.r2_score(y, x), rel=1e-6)
    assert scores("regression", outputs, torch.ones_like(outputs))["r2"] is None


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_segmentation(seed, classes):
    outputs = drawn(seed, N, classes, 4, 5)
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(
        2, (N, 4, 5), generator=random, dtype=torch.uint8
    )  # class 2 is said only
    labels[torch.rand(N, 4, 5, generator=random) < 0.2] = 255
    said = (outputs[:, 0] > 0).long() if classes == 1 else outputs.argmax(1)
    y, x = labels[labels != 255], said[labels != 255]
    found = scores("segmentation", outputs, labels)
    wanted = metrics.jaccard_score(y, x, average="macro")
    assert found["mean-iou"] == pytest.approx(wanted, abs=1e-12)
    assert found["pixel-accuracy"] == pytest.approx(metrics.accuracy_score(y, x), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ranking(seed, ties):
    outputs, labels = drawn(seed, N, 2), drawn(seed + 10, N, 2)
    outputs = outputs.round() if ties else outputs
    wanted = np.mean([spearmanr(outputs[:, k], labels[:, k]).statistic for k in (0, 1)])
    assert scores("ranking", outputs, labels)["rank-correlation"] == pytest.approx(wanted)
    assert scores("ranking", outputs * 0, labels)["rank-correlation"] == 0
    assert scores("ranking", outputs, labels * 0)["rank-correlation"] is None


def test_without_labels_the_ann_is_the_measure():
    ann = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    outputs = torch.tensor([[4.0, 3.0], [0.0, 5.0]])
    found = scores("none", outputs, ann)
    assert found == {"agreement": 0.5, "relative-error": pytest.approx((2 / 50) ** 0.5)}
    assert scores("none", ann, ann) == {"agreement": 1.0, "relative-error": 0.0}


def test_outputs_of_other_samples_are_chance():
    """Outputs that follow their targets are no luck, and the same outputs of other samples are."""
    y = drawn(0, N, 4)
    places = (drawn(1, N, 4, 5) > 0).long()
    for name, outputs, labels in (
        ("classification", y, y.argmax(1)),
        ("multi-label", y, y > 0.5),
        ("regression", y + drawn(2, N, 4) / 2, y),
        ("ranking", y + drawn(2, N, 4), y),
        ("segmentation", places[:, None] + 0.3 * drawn(3, N, 1, 4, 5) - 0.5, places),
    ):
        task = TASKS.load(name)
        assert not task.near_chance(outputs, labels), name
        assert task.near_chance(outputs.roll(1, 0), labels), name
        if name != "classification":  # equal labels say nothing of what outputs follow
            assert not task.near_chance(outputs.roll(1, 0), labels[:1].expand_as(labels)), name


def test_pseudo_values_of_a_mean_are_the_samples():
    """The jackknife of a mean gives the samples back, and so their standard error."""
    task = TASKS.load("regression")
    outputs, labels = drawn(0, 20, 1), drawn(1, 20)
    rows = task.rows(outputs[None], labels)[0]
    found = pseudo_values(task, rows, torch.arange(20), "mae")
    assert found == pytest.approx((outputs[:, 0] - labels).abs().tolist(), rel=1e-5)


def test_standard_errors_are_those_of_new_samples():
    """The jackknife's standard error of a rank correlation against its spread over new samples."""
    task = TASKS.load("ranking")

    def rows(k):
        x = drawn(k, 200, 1)
        return task.rows(x[None], x[:, 0] + drawn(k + 7000, 200))[0]

    spread = np.std([task.values(rows(k))["rank-correlation"] for k in range(200)], ddof=1)
    groups = torch.arange(200) % 50
    parts = [pseudo_values(task, rows(9000 + k), groups, "rank-correlation") for k in range(20)]
    errors = np.std(parts, axis=1, ddof=1) / 50**0.5
    assert errors.mean() == pytest.approx(spread, rel=0.3)

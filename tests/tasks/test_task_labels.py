"""Which task labels are for, and what is said of labels that do not fit."""

import pytest
import torch

from snnconv.core.metadata import DataInfo
from snnconv.core.scores import Score
from snnconv.errors import UnsupportedError, UsageError
from snnconv.tasks.base import TASKS, refuse_labels, task_of

F = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]])


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (None, "none"),
        (torch.tensor([0, 3, 1]), "classification"),
        (torch.tensor([[0, 1], [1, 1], [0, 0]]), "multi-label"),
        (torch.tensor([[False, True], [True, False]]), "multi-label"),
        (torch.tensor([[0.0, 1.0], [1.0, 1.0]]), "multi-label"),
        (torch.tensor([0.5, 1.0]), "regression"),
        (F, "regression"),
        (torch.rand(2, 1, 4, 4), "regression"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "segmentation"),
    ],
)
def test_the_task_is_found_from_the_labels(labels, task):
    assert task_of(labels, "d") == task


@pytest.mark.parametrize(
    "labels",
    [
        torch.eye(3).long(),  # one-hot rows: classes, or several labels
        torch.tensor([[0, 2], [1, 1]]),
        torch.zeros(2, 3, 4, 4, dtype=torch.int64),
        torch.tensor([True, False]),
    ],
)
def test_labels_that_say_nothing_are_asked_about(labels):
    with pytest.raises(UsageError, match=r"do not say what the task is(.|\n)*--task"):
        task_of(labels, "d")


@pytest.mark.parametrize(
    ("labels", "found", "remedy"),
    [
        (torch.eye(3), "one-hot rows", "y.argmax(1)"),
        (torch.arange(3)[:, None], "a column", "y.reshape(-1)"),
        (torch.arange(3) > 1, "truth values", "y.astype(int)"),
        (torch.zeros(3, 1, 2, 2).long(), "maps of one channel", "y[:, 0]"),
    ],
)
def test_labels_that_need_another_form_are_told_so(labels, found, remedy):
    with pytest.raises(UsageError, match=found) as caught:
        task_of(labels, "data")
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("task", "labels", "outputs", "said"),
    [
        ("classification", torch.tensor([0, 19]), (10,), r"labels 0\.\.19 for 10 outputs"),
        ("classification", torch.tensor([0.5, 1.0]), (10,), "no class for each sample"),
        ("classification", torch.tensor([0, 1]), (10, 4, 4), "no row of classes"),
        ("multi-label", torch.tensor([[0, 1], [1, 1]]), (3,), "one number for each output"),
        ("multi-label", torch.tensor([[0, 2], [1, 1]]), (2,), "other than 0 and 1"),
        ("regression", torch.tensor([0.5, float("nan")]), (1,), r"NaN .* first at index 1"),
        ("regression", torch.rand(4, 2), (3,), "one number for each output"),
        ("segmentation", torch.zeros(2, 3, 3).long(), (5, 4, 4), "each place"),
        ("segmentation", torch.full((2, 4, 4), 7), (5, 4, 4), r"labels 7\.\.7 for 5 classes"),
        ("segmentation", torch.rand(2, 4, 4), (5, 4, 4), "no whole numbers"),
        ("ranking", torch.rand(4, 2), (1,), "one number for each output"),
        ("ranking", torch.tensor([1.0, float("inf")]), (1,), "NaN or Inf"),
    ],
)
def test_labels_that_do_not_fit_are_refused(task, labels, outputs, said):
    info = DataInfo(spec="npz:d.npz", shape=(1,), classes=(), mean=(), std=(), task=task)
    with pytest.raises(UnsupportedError, match=said) as caught:
        refuse_labels(info, {"train": None, "test": labels}, outputs)
    assert f"the task '{task}'" in str(caught.value)
    assert TASKS.load(task).labels in caught.value.remedy


def test_closeness_is_in_points_or_in_percent_of_the_ann():
    share = Score(name="s", title="S")
    error = Score(name="e", title="E", higher=False, relative=True)
    assert share.ahead(0.89, 0.9) == pytest.approx(-1)
    assert error.ahead(2.2, 2.0) == pytest.approx(-10)
    assert error.ahead(1.0, 0.0) is None
    assert share.within(0.89, 0.9, 1.0)
    assert not share.within(0.889, 0.9, 1.0)
    assert error.within(2.02, 2.0, 1.0)
    assert not error.within(2.03, 2.0, 1.0)
    assert error.within(1.0, 2.0, 0.0)
    assert error.better(1.0, 2.0)
    assert share.better(2.0, 1.0)

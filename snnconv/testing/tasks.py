"""The laws of tasks.

Each law is asked on a task's own example: random outputs, and labels that fit them.

Shape:
    Outputs ``[n, *out]``, labels ``[n, ...]``.
"""

import json
from collections.abc import Iterator

import torch
from torch import Tensor

from snnconv.tasks.base import TASKS, Task, Values, pseudo_values
from snnconv.testing.base import Kind, Law

SAMPLES = 40


def subjects(task: Task) -> Iterator[tuple[str, Task]]:
    """A task has no parameters."""
    yield "", task


def _example(task: Task) -> tuple[Tensor, Tensor]:
    return task.example(SAMPLES, torch.Generator().manual_seed(0))


def _assert_same(one: Values, other: Values) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == other[name] or abs((value or 0) - (other[name] or 0)) < 1e-9, name


def labels_of_the_example_fit(task: Task) -> None:
    """What a task draws as labels it accepts."""
    outputs, labels = _example(task)
    assert task.fault(labels, tuple(outputs.shape[1:])) == ""


def scores_have_their_values(task: Task) -> None:
    """Each score has a value that JSON can hold, and scores have different names."""
    outputs, labels = _example(task)
    values = task.values(task.rows(outputs[None], labels)[0])
    names = [score.name for score in task.scores(tuple(outputs.shape[1:]))]
    assert len(set(names)) == len(names) > 0
    assert set(names) <= values.keys()
    json.dumps(values, allow_nan=False)


def rows_do_not_depend_on_the_batch(task: Task) -> None:
    """Rows of a batch are those of its samples, at each step alone."""
    outputs, labels = _example(task)
    steps = torch.stack([outputs, outputs.flip(0)])
    whole = task.rows(steps, labels)
    assert whole.dtype == torch.float64
    assert whole.shape == (2, SAMPLES, task.width(tuple(outputs.shape[1:])))
    for t, part in ((t, slice(k, k + 7)) for t in (0, 1) for k in range(0, SAMPLES, 7)):
        alone = task.rows(steps[t, part][None], labels[part])[0]
        torch.testing.assert_close(alone, whole[t, part], rtol=1e-12, atol=1e-12)


def the_order_of_samples_changes_nothing(task: Task) -> None:
    """Scores of shuffled samples are the same."""
    outputs, labels = _example(task)
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1))
    rows = task.rows(outputs[None], labels)[0]
    _assert_same(task.values(rows), task.values(rows[order]))


def sums_of_rows_give_the_scores(task: Task) -> None:
    """Scores of a task whose rows are summed are the same of groups as of samples."""
    outputs, labels = _example(task)
    rows = task.rows(outputs[None], labels)[0]
    groups = rows.new_zeros(5, rows.shape[1])
    groups.index_add_(0, torch.arange(SAMPLES) % 5, rows)
    _assert_same(task.values(rows), task.values(groups))


def pseudo_values_surround_the_score(task: Task) -> None:
    """The mean of the jackknife's pseudo-values is near the score that decides."""
    outputs, labels = _example(task)
    rows = task.rows(outputs[None], labels)[0]
    name = task.scores(tuple(outputs.shape[1:]))[0].name
    value = task.values(rows)[name]
    found = torch.tensor(pseudo_values(task, rows, torch.arange(SAMPLES), name)).double()
    assert len(found) == SAMPLES
    assert value is not None
    assert abs(float(found.mean()) - value) <= float(found.std()) / SAMPLES**0.5 + 1e-9


def a_step_down_the_gradient_lowers_the_loss(task: Task) -> None:
    """The loss is one finite number, and its gradient leads away from it."""
    outputs, labels = _example(task)
    outputs.requires_grad_()
    loss = task.loss(outputs, labels)
    assert loss.shape == ()
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert torch.isfinite(gradient).all()
    with torch.no_grad():
        assert task.loss(outputs - 0.1 * gradient, labels) < loss


def larger_outputs_are_surer(task: Task) -> None:
    """Confidence is one number in 0..1 for each sample, and grows with the outputs."""
    outputs, _ = _example(task)
    both = [task.confidence(factor * outputs[None]) for factor in (1, 3)]
    once, more = both
    assert once is not None
    assert more is not None
    assert once.shape == more.shape == (1, SAMPLES)
    assert ((once >= 0) & (once <= more) & (more <= 1)).all()
    alone = task.confidence(outputs[None, 5:6])
    assert alone is not None
    torch.testing.assert_close(alone[0], once[0, 5:6])


def _unsure(task: Task) -> str:
    unsure = task.confidence(_example(task)[0][None]) is None
    return "its outputs have no probability" if unsure else ""


def _kept(task: Task) -> str:
    return "" if task.summed else "its rows are kept sample by sample"


KIND: Kind[Task] = Kind(
    registry=TASKS,
    laws=(
        Law(labels_of_the_example_fit),
        Law(scores_have_their_values),
        Law(rows_do_not_depend_on_the_batch),
        Law(the_order_of_samples_changes_nothing),
        Law(sums_of_rows_give_the_scores, _kept),
        Law(pseudo_values_surround_the_score),
        Law(a_step_down_the_gradient_lowers_the_loss),
        Law(larger_outputs_are_surer, _unsure),
    ),
    subjects=subjects,
)

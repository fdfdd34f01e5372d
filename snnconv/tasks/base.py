"""What a task is: what its labels are, how good outputs are, and what training lowers.

Scores are made of *rows*, numbers of each sample. If scores follow from sums over samples,
rows are added up in :data:`GROUPS` groups, so that memory does not grow with the samples. If not,
as with a rank correlation, each sample keeps its row. Both kinds of rows give scores by
:meth:`Task.values`, of all samples or of any part of them.

Shape:
    Outputs ``[T, B, *out]``, targets ``[B, ...]``, rows ``[T, B, k]`` float64.

Reference:
    The jackknife: Quenouille 1949; Tukey 1958.

Deviations:
    Groups of samples are left out, not single ones: a hundred groups say as much, and cost the same
    for any number of samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.scores import Score
from snnconv.errors import UnsupportedError, UsageError

GROUPS = 100
"""Parts of the samples that the jackknife leaves out; as many as a test of means needs."""

DEALS = 19
"""A score that is luck beats so many deals of the targets less than once in twenty times."""

Shape = tuple[int, ...]
Values = dict[str, float | None]
"""Scores by name; None where the samples leave one undefined."""


class Task(ABC):
    """One task.

    Attributes:
        labels: what labels it takes, in words, for errors.
        summed: whether scores follow from sums of rows.
        supervised: whether it needs labels; if not, targets are the ANN's outputs.
        decides: whether outputs are read by comparing them, with each other or with a bound, so
            that a little noise on them mostly changes nothing.
        smooths: whether labels are classes that smoothing and mixing may blur.
        numeric: whether labels are numbers, so that whole ones, one a sample, are no classes.
        chance: what is true of a network that is near chance, in words.
        placed: whether labels belong to places of the samples, so that moving one without the
            other makes them wrong.
    """

    labels: ClassVar[str]
    summed: ClassVar[bool] = True
    supervised: ClassVar[bool] = True
    decides: ClassVar[bool] = True
    smooths: ClassVar[bool] = False
    placed: ClassVar[bool] = False
    numeric: ClassVar[bool] = False
    chance: ClassVar[str] = "the labels of other samples would suit its outputs as well"

    @abstractmethod
    def claims(self, labels: Tensor) -> bool:
        """Whether labels ``[n, ...]`` are clearly this task's."""

    @abstractmethod
    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return what measures outputs of a sample's shape; the first score decides."""

    @abstractmethod
    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Say what is wrong with labels for outputs of this shape; empty if they fit."""

    @abstractmethod
    def width(self, outputs: Shape) -> int:
        """Return how many numbers a row has, for outputs of this shape."""

    @abstractmethod
    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the rows ``[T, B, k]`` float64 of outputs ``[T, B, *out]``."""

    @abstractmethod
    def values(self, rows: Tensor) -> Values:
        """Return the scores of rows ``[m, k]``: of samples, or of groups if rows are summed."""

    def right(self, rows: Tensor) -> Tensor | None:
        """Return which samples are right, ``[n]`` bool of rows ``[n, k]``.

        None unless the score that decides is the share of those (:attr:`.Score.outcome`).
        """
        return None

    @abstractmethod
    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return random outputs ``[n, *out]`` and labels ``[n, ...]``, for the laws."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return what training lowers, for outputs ``[B, *out]``: a mean over the batch, ``[]``."""

    def distance(self, outputs: Tensor, ann: Tensor, temperature: float) -> Tensor:
        """Return how far outputs ``[B, *out]`` are from the ANN's, ``[]``, for distillation.

        By default the square of the relative error, which has no temperature.
        """
        return relative_square(outputs, ann)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return what outputs ``[B, *out]`` say; the outputs themselves unless a task decides."""
        return outputs

    def confidence(self, outputs: Tensor) -> Tensor | None:
        """Return how sure outputs ``[T, B, *out]`` are of their answers, 0..1 ``[T, B]``.

        A sample may stop once the network is sure of it (early exit). None for outputs that have
        no probability: nothing in a number says how far it is from its target.
        """
        return None

    def score_of(self, outputs: Tensor, targets: Tensor) -> float | None:
        """Return the score that decides, for the outputs ``[n, *out]`` of a whole set."""
        name = self.scores(tuple(outputs.shape[1:]))[0].name
        return self.values(self.rows(outputs[None], targets)[0])[name]

    def near_chance(self, outputs: Tensor, targets: Tensor) -> bool:
        """Whether outputs say no more of their samples than of others.

        Targets are dealt out again, 19 times: if the score is once as good, outputs may be luck.

        Args:
            outputs: of samples in random order, ``[n, *out]``.
            targets: theirs. Of fewer than 20 samples, of equal targets, and where the score is
                undefined, nothing can be said.
        """
        n = len(targets)
        if n <= DEALS or bool((targets == targets[:1]).all()):
            return False
        kind = self.scores(tuple(outputs.shape[1:]))[0]
        own, random = self.score_of(outputs, targets), torch.Generator().manual_seed(0)
        if own is None:
            return False
        orders = (torch.randperm(n, generator=random) for _ in range(DEALS))
        others = (self.score_of(outputs, targets[order]) for order in orders)
        return any(other is not None and not kind.better(own, other) for other in others)


def relative_square(outputs: Tensor, ann: Tensor) -> Tensor:
    """Compute ``|x - a|^2 / |a|^2`` over a batch of outputs ``x`` and the ANN's ``a``, ``[]``."""
    ann = ann.to(outputs)
    return (outputs - ann).square().sum() / ann.square().sum().clamp(min=1e-12)


def divergence(outputs: Tensor, ann: Tensor, temperature: float) -> Tensor:
    """Compute ``t^2 KL(softmax(a/t) || softmax(x/t))`` over classes: the mean over places, ``[]``.

    Args:
        outputs: x, ``[B, C, ...]``.
        ann: a, of the same shape.
        temperature: t.
    """
    ours, theirs = ((each / temperature).log_softmax(1) for each in (outputs, ann))
    each = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
    return temperature**2 * each.mean()


def margin(outputs: Tensor, classes: int = -1) -> Tensor:
    """Return how much likelier the first class is than the second, by a softmax over an axis.

    Args:
        outputs: ``[..., C, ...]``.
        classes: the axis of the classes. With one class the margin is 1.

    Returns:
        0..1, without that axis.
    """
    if outputs.shape[classes] < 2:
        return torch.ones_like(outputs.select(classes, 0))
    first, second = outputs.softmax(classes).topk(2, classes).values.unbind(classes)
    return first - second


def _fault(found: object) -> str:
    """Say what is wrong with a task from outside; empty if nothing is."""
    if not isinstance(found, Task):
        return f"{found!r:.40}, which is no instance of a subclass of snnconv.tasks.base.Task"
    return "" if getattr(found, "labels", "") else "a task that does not say what its labels are"


TASKS: Registry[Task] = replace(REGISTRIES["tasks"], fault=_fault)


def task_of(labels: Tensor | None, spec: str) -> str:
    """Return the name of the task that labels are clearly for.

    Args:
        labels: ``[n, ...]``; none where there are none.
        spec: of the data set, for errors.

    Raises:
        UsageError: they may be for several tasks, or for none.
    """
    if labels is None:
        return "none"
    names = [name for name in TASKS.own() if TASKS.load(name).claims(labels)]
    if len(names) == 1:
        return names[0]
    may = " or ".join(names) if names else "of no task that is known"
    say = f"say it: --task {'|'.join(names or TASKS.own())}"
    for is_so, what, instead in (
        (_one_hot(labels), "one-hot rows", "the class of each sample, y.argmax(1)"),
        (labels.dim() == 2 and labels.shape[1] == 1, "a column", "one axis, y.reshape(-1)"),
        (labels.dim() > 2 and labels.shape[1] == 1, "maps of one channel", "the maps, y[:, 0]"),
        (labels.dtype == torch.bool, "truth values", "numbers, y.astype(int), if they are classes"),
    ):
        if is_so:
            may, say = what, f"give {instead}; or {say}"
            break
    raise UsageError(
        f"the labels of data set '{spec}' do not say what the task is",
        f"{told(labels)}, {may}",
        say,
    )


def _one_hot(labels: Tensor) -> bool:
    if labels.dim() != 2 or labels.shape[1] < 2:
        return False
    return bool(((labels == 0) | (labels == 1)).all()) and bool((labels.sum(1) == 1).all())


def told(labels: Tensor) -> str:
    """Say the shape and type of labels."""
    kind = str(labels.dtype).removeprefix("torch.")
    return f"labels of shape {list(labels.shape)} and type {kind}"


def refuse_labels(info: DataInfo, labels: Mapping[str, Tensor | None], outputs: Shape) -> None:
    """Refuse labels that the task can't take, or that the network has no outputs for.

    Args:
        info: of the data set.
        labels: the labels of each split, ``train`` and ``test``; None if it has none.
        outputs: the shape of the network's output for one sample.

    Raises:
        UnsupportedError: it says what the task takes.
    """
    task = TASKS.recall(info.task)
    for part, given in labels.items():
        if given is not None and (wrong := _misfit(task, given, outputs)):
            raise UnsupportedError(
                f"the {part} labels of data set '{info.spec}' do not fit the task '{info.task}'",
                f"{wrong} ({told(given)}; the network's output has the shape {list(outputs)})",
                f"give {task.labels}; or say what the labels are: --task. --task none takes any "
                "finite numbers, and compares with the ANN alone",
            )


def _misfit(task: Task, labels: Tensor, outputs: Shape) -> str:
    """Say what is wrong with labels; empty if nothing is."""
    if labels.is_floating_point() and not (finite := torch.isfinite(labels)).all():
        bad = (~finite).reshape(len(labels), -1).any(1).nonzero().flatten()
        return f"NaN or Inf in the labels of {len(bad)} samples, the first at index {int(bad[0])}"
    return task.fault(labels, outputs)


def pseudo_values(task: Task, rows: Tensor, groups: Tensor, name: str) -> list[float]:
    """Return the jackknife's pseudo-values of a score: independent parts with the score as mean.

    Args:
        task: of the rows.
        rows: ``[m, k]``.
        groups: which group each row is in, ``[m]`` int64.
        name: of the score.

    Returns:
        A number for each group; none if there are fewer than two groups, or a score is undefined
        without one of them.
    """
    each = groups.unique()
    whole = task.values(rows)[name]
    if len(each) < 2 or whole is None:
        return []
    found = []
    for group in each:
        rest = task.values(rows[groups != group])[name]
        if rest is None:
            return []
        found.append(len(each) * whole - (len(each) - 1) * rest)
    return found

"""Training samples to choose a network by; it was neither calibrated nor corrected on them.

The test split is not among them, so a choice made on them leaves the test accuracy unbiased.

Shape:
    Indices into the training split ``[n]``, and the class wanted of each ``[n]``, int64.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import DataInfo, LineageStep
from snnconv.data.dataset import Dataset, batches
from snnconv.data.split import Split, is_class, subset
from snnconv.errors import UsageError
from snnconv.frontends.ann_accuracy import Seen, near_chance, one_class
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.tasks.base import TASKS, Task


class Draw(NamedTuple):
    """Training samples that a stage draws."""

    samples: int
    seed: int


@dataclass(frozen=True)
class HeldOut:
    """Samples, and the class that a network should predict for each.

    Attributes:
        split: the split of the samples.
        order: their indices, in the order of the measurement.
        wanted: their classes: labels, or what the ANN says; or their labels for another task.
        ann_right: whether the ANN gives that class, bool ``[n]``.
        measured: what the share of right classes is; or the name of the task's score.
        task: whose score is measured, if it is no share of right classes.
        ann_rows: the ANN's rows of that task.
        why: labels were not used; empty if they were.
    """

    split: Split
    order: Tensor
    wanted: Tensor
    ann_right: Tensor
    measured: str
    why: str = ""
    task: Task | None = None
    ann_rows: Tensor | None = None

    def needed(self, points: float) -> int:
        """How many samples a network at most this many points below the ANN classifies right."""
        least = int(self.ann_right.sum()) - points / 100 * len(self.order)
        return max(0, -int(-(least - 1e-9) // 1))

    def one_class(self) -> str:
        """Return what to say if the ANN gives nearly all samples one class, else nothing."""
        if self.task is not None or not self.why:
            return ""
        counts = self.wanted.unique(return_counts=True)[1]
        return one_class(int(counts.max()) / len(self.wanted), len(self.wanted))


def calibrated_on(checkpoint: Checkpoint) -> str:
    """The data set that a checkpoint was calibrated with, or made for, as ``--data`` takes it."""
    named = [step.config.get("data") for step in checkpoint.lineage if step.stage == "calibrate"]
    return next((str(spec) for spec in reversed(named) if spec), checkpoint.data.spec)


def draws(steps: Iterable[LineageStep], spec: str, own: str) -> list[Draw]:
    """What the stages behind a checkpoint drew from the training samples of a data set.

    Args:
        steps: its lineage.
        spec: the name of the data set.
        own: the facts of the data set that the network was made for.
    """
    found = []
    for step in steps:
        config, number = step.config, None
        if step.stage in ("calibrate", "correct"):
            number = config.get("samples")
        elif step.stage == "convert" and config.get("confidence", "off") != "off":
            number = config.get("confidence_samples")
        if number and (config.get("calibration_data") or config.get("data") or own) == spec:
            found.append(Draw(number, int(config.get("seed", 0))))
    return found


def left(labels: Tensor, drawn: Iterable[Draw], n: int, seed: int) -> Tensor:
    """Samples that nobody has drawn, in random order.

    Args:
        labels: the labels of the training split.
        drawn: what stages have drawn of it.
        n: at most so many, every class by its share.
        seed: the seed of the draw.

    Raises:
        UsageError: there is none.
    """
    free = torch.ones(len(labels), dtype=torch.bool)
    for draw in drawn:
        free[subset(labels, draw.samples, draw.seed)] = False
    rest = free.nonzero().flatten()
    if not len(rest):
        raise UsageError(
            "no training samples are left to measure on",
            f"all {len(labels)} were calibrated on",
            f"calibrate on fewer: snnconv calibrate --samples {max(1, len(labels) // 2)}",
        )
    chosen = rest[subset(labels[rest], n, seed)]
    return chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))]


@torch.no_grad()
def held_out(
    ann: Checkpoint,
    dataset: Dataset,
    order: Tensor,
    batch_size: int,
    device: torch.device,
    advance: Callable[[int], Any],
) -> HeldOut:
    """Return the samples with the classes that a network should predict.

    Labels are not used if all samples have one label, or if the ANN itself is near chance on them:
    then a network should say what the ANN says.

    Args:
        ann: the checkpoint of the network.
        dataset: whose training samples these are.
        order: their indices.
        batch_size: samples at once.
        device: the device to run the ANN on.
        advance: told of samples done.
    """
    network = Network(*fold(ann.graph, ann.network)).to(device).eval().laid_out()
    split, info, found = dataset.train, ann.data, []
    for indices, x, _ in batches(split, info, order, batch_size):
        found.append(network(x.to(device)).cpu())
        advance(len(indices))
    outputs = torch.cat(found)
    if dataset.info.task != "classification" and (
        dataset.info.task != "none" or outputs.dim() != 2 or outputs.shape[1] == 1
    ):
        return _by_task(dataset, order, outputs)
    classes = wanted = outputs.argmax(1)
    why = "the samples have no classes"
    if is_class(split.labels):
        labels = split.labels[order].long()
        why = _unlabelled(labels, classes == labels, info)
        wanted = classes if why else labels
    return HeldOut(split, order, wanted, classes == wanted, "agreement" if why else "accuracy", why)


def _by_task(dataset: Dataset, order: Tensor, outputs: Tensor) -> HeldOut:
    """The samples, to be measured by the score of their task; the ANN's outputs are given."""
    task, labels = TASKS.load(dataset.info.task), dataset.train.labels
    targets = outputs if labels is None or not task.supervised else labels[order]
    kind = task.scores(tuple(outputs.shape[1:]))[0]
    why = "" if task.supervised else "the samples have no labels"
    if not why and task.near_chance(outputs, targets):
        found = task.score_of(outputs, targets)
        told = "undefined" if found is None else kind.shown(found)
        why = f"the ANN's {kind.title}, {told}, is near chance"
        task, targets = TASKS.load("none"), outputs
        kind = task.scores(tuple(outputs.shape[1:]))[0]
    name, rows = kind.name, task.rows(outputs[None], targets)[0]
    nobody = torch.zeros(len(order), dtype=torch.bool)
    return HeldOut(dataset.train, order, targets, nobody, name, why, task, rows)


def _unlabelled(labels: Tensor, right: Tensor, info: DataInfo) -> str:
    """Why labels tell nothing of a network; empty if they do."""
    if len(labels.unique()) == 1:
        return "all samples have one label"
    if near_chance(Seen(int(right.sum()), len(right)), len(info.classes)):
        return f"the ANN's accuracy, {float(right.double().mean()):.2%}, is near chance"
    return ""

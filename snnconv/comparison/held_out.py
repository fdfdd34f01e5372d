"""Held-out samples: training samples on which a network was neither calibrated nor corrected.

A search chooses a network by them, so its choice does not bias the accuracy on the test split.

Shape:
    Indices into the training split ``[n]``, and the wanted class of each ``[n]``, int64.
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
        measured: the name of the measured share of right classes, or of the task's score.
        task: the task of the score, if the score is no share of right classes.
        ann_rows: the rows of the ANN for that task.
        why: why labels were not used; empty if they were.
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
        """Return how many samples a network has right that is this many points below the ANN."""
        least = int(self.ann_right.sum()) - points / 100 * len(self.order)
        return max(0, -int(-(least - 1e-9) // 1))

    def one_class(self) -> str:
        """Return the warning if the ANN gives nearly all samples one class; empty if not."""
        if self.task is not None or not self.why:
            return ""
        counts = self.wanted.unique(return_counts=True)[1]
        return one_class(int(counts.max()) / len(self.wanted), len(self.wanted))


def calibrated_on(checkpoint: Checkpoint) -> str:
    """Return the data set of a checkpoint's calibration, as ``--data`` takes it."""
    named = [step.config.get("data") for step in checkpoint.lineage if step.stage == "calibrate"]
    return next((str(spec) for spec in reversed(named) if spec), checkpoint.data.spec)


def draws(steps: Iterable[LineageStep], spec: str, own: str) -> list[Draw]:
    """Return what the stages behind a checkpoint drew from the training samples of a data set.

    Args:
        steps: the lineage of the checkpoint.
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
    """Return samples that no stage has drawn, in random order.

    Args:
        labels: the labels of the training split.
        drawn: what stages have drawn from the split.
        n: the most samples; every class keeps its share.
        seed: the seed of the draw.

    Raises:
        UsageError: no sample is left.
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

    Labels are not used if all samples have one label, or if the ANN itself is near chance on them.
    Then a network should predict the same as the ANN.

    Args:
        ann: the checkpoint of the network.
        dataset: the data set.
        order: the indices of the samples in the training split.
        batch_size: how many samples to compute at once.
        device: the device for the ANN.
        advance: called with the number of samples that are done.
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
    if is_class(split.labels) and dataset.info.task == "classification":
        labels = split.labels[order].long()
        why = _unlabelled(labels, classes == labels, info)
        wanted = classes if why else labels
    return HeldOut(split, order, wanted, classes == wanted, "agreement" if why else "accuracy", why)


def _by_task(dataset: Dataset, order: Tensor, outputs: Tensor) -> HeldOut:
    """Return the samples for a measurement by the score of their task, with the ANN's outputs."""
    task, labels = TASKS.load(dataset.info.task), dataset.train.labels
    targets = outputs if labels is None or not task.supervised else labels[order]
    kind = task.scores(tuple(outputs.shape[1:]))[0]
    why = "" if task.supervised else "the samples have no labels"
    if not why and task.near_chance(outputs, targets):
        found = task.score_of(outputs, targets)
        told = "undefined" if found is None else kind.shown(found)
        why = f"the ANN's {kind.words}, {told}, is near chance"
        task, targets = TASKS.load("none"), outputs
        kind = task.scores(tuple(outputs.shape[1:]))[0]
    name, rows = kind.name, task.rows(outputs[None], targets)[0]
    nobody = torch.zeros(len(order), dtype=torch.bool)
    return HeldOut(dataset.train, order, targets, nobody, name, why, task, rows)


def _unlabelled(labels: Tensor, right: Tensor, info: DataInfo) -> str:
    """Return why labels say nothing about a network; empty if they do."""
    if len(labels.unique()) == 1:
        return "all samples have one label"
    if near_chance(Seen(int(right.sum()), len(right)), len(info.classes)):
        return f"the ANN's accuracy, {float(right.double().mean()):.2%}, is near chance"
    return ""

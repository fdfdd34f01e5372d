"""A summary of data: their values, their classes, and how well the ANN does on them.

Shape:
    Samples ``[n, *shape]`` as a network takes them; figures are of values after the scale, before
    mean and std.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snnconv.core.metadata import DataInfo
from snnconv.core.scores import ACCURACY, Score
from snnconv.data.dataset import batches, normalise
from snnconv.data.split import Split, is_class, strata, subset
from snnconv.tasks.base import TASKS

SAMPLES = 256
"""The number of samples that are read; a smaller split is read whole."""

NUMBERS = 2**22
"""At most this many outputs are kept to tell whether the ANN is near chance."""


class DataSummary(NamedTuple):
    """What some samples of a data set show.

    Attributes:
        samples: the number of samples that were read.
        low: the smallest value.
        high: the largest one.
        mean: the mean of all values.
        std: the standard deviation of all values, around that mean.
        classes: how many different labels there are; None if labels are no classes.
        largest_class_share: the share of the samples that have the most frequent class, 0..1.
        ann_accuracy: share that the ANN classifies right, 0..1; None for other tasks.
        score: the task's first score; None without labels.
        ann_score: the ANN's; None without labels, or if these samples leave it undefined.
        near_chance: whether the ANN predicts these labels no better than chance does, by
            :meth:`.Task.near_chance`.
    """

    samples: int
    low: float
    high: float
    mean: float
    std: float
    classes: int | None
    largest_class_share: float | None
    ann_accuracy: float | None
    score: Score | None
    ann_score: float | None
    near_chance: bool

    @property
    def right(self) -> int:
        """How many samples the ANN classifies right."""
        return round((self.ann_accuracy or 0.0) * self.samples)

    def in_words(self, classes: int) -> str:
        """Describe the data in one line, for a network with this number of classes."""
        text = (
            f"data: {self.samples} samples, values {self.low:.4g} to {self.high:.4g} "
            f"(mean {self.mean:.4g}, std {self.std:.4g})"
        )
        if self.classes is not None:
            text += f", {self.classes} of {classes} classes"
        if self.ann_accuracy is not None:
            return f"{text}; the ANN classifies {self.ann_accuracy:.2%} of them right"
        if self.score is None or self.ann_score is None:
            return text
        return f"{text}; the ANN's {self.score.words}: {self.score.shown(self.ann_score)}"


@torch.no_grad()
def summarise_data(
    network: nn.Module,
    split: Split,
    info: DataInfo,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> DataSummary:
    """Summarise some samples of a split, which are drawn as all subsets are.

    Args:
        network: the ANN, in evaluation mode.
        split: the split of the data.
        info: mean and std that samples are normalised by.
        seed: the seed of the draw.
        batch_size: samples at once.
        device: the device of the network.
    """
    order = subset(strata(split), SAMPLES, seed)
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(seed))]
    raw = info.model_copy(update={"mean": (0.0,), "std": (1.0,)})
    task = TASKS.recall(info.task)
    low, high, total, squares, values, kept = math.inf, -math.inf, 0.0, 0.0, 0, 0
    rows, outputs, targets = list[Tensor](), list[Tensor](), list[Tensor]()
    for _, x, labels in batches(split, raw, order, batch_size):
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        exact = x.double()
        total, squares = total + float(exact.sum()), squares + float(exact.square().sum())
        values += x.numel()
        if labels is None or not task.supervised:
            continue
        said = network(normalise(x, info).to(device)).cpu()
        rows.append(task.rows(said[None], labels)[0])
        if kept < NUMBERS:
            outputs, targets, kept = [*outputs, said], [*targets, labels], kept + said.numel()
    n, center = len(order), total / values
    spread = math.sqrt(max(0.0, squares / values - center**2))
    classes = share = kind = score = None
    if info.task == "classification" and is_class(split.labels):
        counts: Tensor = split.labels[order].unique(return_counts=True)[1]
        classes, share = len(counts), int(counts.max()) / n
    if rows:
        kind = task.scores(tuple(outputs[0].shape[1:]))[0]
        score = task.values(torch.cat(rows))[kind.name]
    lucky = bool(rows) and task.near_chance(torch.cat(outputs), torch.cat(targets))
    right = score if kind == ACCURACY else None
    return DataSummary(n, low, high, center, spread, classes, share, right, kind, score, lucky)

"""A first look at data: what values they have, which classes, and what the ANN makes of them.

Shape:
    Samples ``[n, *shape]`` as a network takes them; figures are of values after the scale, before
    mean and std.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import batches, normalise
from snnconv.data.split import Split, is_class, strata, subset

SAMPLES = 256
"""Looked at; of a smaller split all."""


class Look(NamedTuple):
    """What a first look finds.

    Attributes:
        samples: looked at.
        low: the smallest value.
        high: the largest one.
        mean: of all values.
        std: of all values, around that mean.
        classes: different ones among the labels; none where labels are no classes.
        largest_class_share: of the samples that have the most frequent class, 0..1.
        ann_accuracy: share that the ANN classifies right, 0..1; none where labels are no classes.
    """

    samples: int
    low: float
    high: float
    mean: float
    std: float
    classes: int | None
    largest_class_share: float | None
    ann_accuracy: float | None

    @property
    def right(self) -> int:
        """Samples that the ANN classifies right."""
        return round((self.ann_accuracy or 0.0) * self.samples)

    def in_words(self, classes: int) -> str:
        """One line, for a network of so many classes."""
        text = (
            f"data: {self.samples} samples, values {self.low:.4g} to {self.high:.4g} "
            f"(mean {self.mean:.4g}, std {self.std:.4g})"
        )
        if self.classes is None or self.ann_accuracy is None:
            return text
        right = f"the ANN classifies {self.ann_accuracy:.2%} of them right"
        return f"{text}, {self.classes} of {classes} classes; {right}"


@torch.no_grad()
def look(
    network: nn.Module,
    split: Split,
    info: DataInfo,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> Look:
    """Look at some samples of a split, drawn as all subsets are.

    Args:
        network: the ANN, in evaluation mode.
        split: of the data.
        info: mean and std that samples are normalised by.
        seed: of the draw.
        batch_size: samples at once.
        device: of the network.
    """
    order = subset(strata(split), SAMPLES, seed)
    raw = info.model_copy(update={"mean": (0.0,), "std": (1.0,)})
    low, high, total, squares, values, right = math.inf, -math.inf, 0.0, 0.0, 0, 0
    for _, x, labels in batches(split, raw, order, batch_size):
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        exact = x.double()
        total, squares = total + float(exact.sum()), squares + float(exact.square().sum())
        values += x.numel()
        if is_class(labels):
            said = network(normalise(x, info).to(device)).argmax(1).cpu()
            right += int((said == labels).sum())
    n, center = len(order), total / values
    spread = math.sqrt(max(0.0, squares / values - center**2))
    if not is_class(split.labels):
        return Look(n, low, high, center, spread, None, None, None)
    found: Tensor = split.labels[order].unique(return_counts=True)[1]
    share = int(found.max()) / n
    return Look(n, low, high, center, spread, len(found), share, right / n)

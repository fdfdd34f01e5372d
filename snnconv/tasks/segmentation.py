"""Segmentation: each place of a sample has a class, and the largest output there says which.

``mean-iou`` is the mean over classes of intersection over union, ``TP / (TP + FP + FN)`` of all
places together, over the classes that are there or are said. ``pixel-accuracy`` is the share of
places whose class is right. A network with one output for each place has two classes: the second
where the output is above 0. Labels of 255 are left out.

Shape:
    Labels ``[n, H, W]``, whole numbers from 0; outputs ``[B, C, H, W]``, or ``[B, 1, H, W]``. Other
    numbers of axes behind the classes do as well.

Reference:
    scikit-learn's ``jaccard_score``, averaged over classes ("macro"). 255: Pascal VOC.

Deviations:
    None.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.scores import Score
from snnconv.tasks.base import Shape, Task, Values, divergence, margin

LEFT_OUT = 255
"""The label of places that belong to no class."""


class Segmentation(Task):
    """A class for every place."""

    labels = "one whole number for each place of the output, its class, from 0 (255 is left out)"
    placed = True

    def claims(self, labels: Tensor) -> bool:
        """Whether they are maps of whole numbers."""
        return labels.dim() == 3 and not labels.is_floating_point()

    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return the scores, mean intersection over union first."""
        return (
            Score(name="mean-iou", title="Mean IoU"),
            Score(name="pixel-accuracy", title="Pixel accuracy"),
        )

    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Say what is wrong: another shape, fractions, or classes beyond the outputs."""
        if labels.is_floating_point():
            return "labels that are no whole numbers"
        if len(outputs) < 2 or tuple(labels.shape[1:]) != tuple(outputs[1:]):
            return "labels that are not one class for each place of the output"
        classes, used = max(outputs[0], 2), labels[labels != LEFT_OUT]
        low, high = (int(used.min()), int(used.max())) if used.numel() else (0, 0)
        return f"labels {low}..{high} for {classes} classes" if low < 0 or high >= classes else ""

    def width(self, outputs: Shape) -> int:
        """See :class:`.Task`."""
        return 3 * max(outputs[0], 2)

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return places by class: right, said, and there."""
        T, B, C = len(outputs), outputs.shape[1], max(outputs.shape[2], 2)
        said = self.answers(outputs.flatten(0, 1)).reshape(T, B, -1)
        labels = targets.to(said).reshape(1, B, -1).expand_as(said)
        used = labels != LEFT_OUT
        cell = torch.arange(T * B, device=said.device).reshape(T, B, 1)
        place = (cell * C + labels) * C + said
        table = torch.bincount(place[used], minlength=T * B * C * C).reshape(T, B, C, C)
        right = table.diagonal(dim1=2, dim2=3)
        return torch.cat([right, table.sum(2), table.sum(3)], 2).double()

    def values(self, rows: Tensor) -> Values:
        """Return the scores of all places together."""
        right, said, there = rows.sum(0).chunk(3)
        union = said + there - right
        known, places = union > 0, float(there.sum())
        if not places:
            return {"mean-iou": None, "pixel-accuracy": None}
        iou = float((right[known] / union[known]).mean())
        return {"mean-iou": iou, "pixel-accuracy": float(right.sum()) / places}

    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`.Task`."""
        labels = torch.randint(3, (n, 4, 5), generator=random)
        return torch.randn(n, 3, 4, 5, generator=random), labels

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy, averaged over places."""
        return F.cross_entropy(_two(outputs), targets.long(), ignore_index=LEFT_OUT)

    def distance(self, outputs: Tensor, ann: Tensor, temperature: float) -> Tensor:
        """Return the divergence of the probabilities of each place's classes."""
        return divergence(_two(outputs), _two(ann), temperature)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the class of each place, ``[B, H, W]``."""
        return _two(outputs).argmax(1)

    def confidence(self, outputs: Tensor) -> Tensor:
        """Return the margin of a place's two most probable classes, averaged over places."""
        each = margin(_two(outputs.flatten(0, 1)), 1)
        return each.reshape(*outputs.shape[:2], -1).mean(2)


def _two(outputs: Tensor) -> Tensor:
    """Return outputs with an axis of classes: one logit stands against 0."""
    if outputs.shape[1] > 1:
        return outputs
    return torch.cat([torch.zeros_like(outputs), outputs], 1)


TASK = Segmentation()

"""Classification: each sample has one class, and the largest output says which.

``top-1`` is the accuracy: the share of samples whose largest output is that of their class; of
equal outputs the first counts. ``top-5``, if there are more than five classes, is the share of
samples whose class is among the five largest outputs.

Shape:
    Labels ``[n]``, whole numbers from 0; outputs ``[B, C]``.

Reference:
    Cross-entropy with label smoothing: Szegedy et al. 2016.

Deviations:
    None.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.scores import ACCURACY, Score
from snnconv.core.uncertainty import lucky
from snnconv.tasks.base import Shape, Task, Values, divergence, margin

K = 5
"""Of ``top-5``."""


class Classification(Task):
    """One class a sample."""

    labels = "one whole number a sample, its class, from 0"
    smooths = True

    def claims(self, labels: Tensor) -> bool:
        """Whether they are whole numbers, one a sample."""
        return labels.dim() == 1 and not labels.is_floating_point() and labels.dtype != torch.bool

    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return the scores, accuracy first."""
        top = Score(name=f"top-{K}", title=f"Among the {K} largest outputs", outcome=True)
        return (ACCURACY, top) if outputs[0] > K else (ACCURACY,)

    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Say what is wrong: another shape, or classes beyond the outputs."""
        if labels.dim() != 1 or labels.is_floating_point():
            return "labels that are no class for each sample"
        if len(outputs) != 1:
            return "outputs that are no row of classes"
        return beyond(labels, outputs[0])

    def width(self, outputs: Shape) -> int:
        """See :class:`.Task`."""
        return 3

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return rows: the sample, and whether its class is the first, and among the first five."""
        outputs, labels = outputs.double(), targets.long().to(outputs.device)
        C = outputs.shape[2]
        own = outputs.gather(2, labels.expand(len(outputs), -1)[..., None])  # [T, B, 1]
        first = torch.arange(C, device=outputs.device) < labels[:, None]  # of equals
        rank = ((outputs > own) | ((outputs == own) & first)).sum(2)
        return torch.stack([torch.ones_like(rank), rank < 1, rank < K], 2).double()

    def values(self, rows: Tensor) -> Values:
        """Return shares of the samples."""
        n, first, among = rows.sum(0).tolist()
        return {"top-1": first / n, f"top-{K}": among / n} if n else {}

    def right(self, rows: Tensor) -> Tensor:
        """Return those whose class is the first."""
        return rows[:, 1] > 0

    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`.Task`."""
        return (
            torch.randn(n, 7, generator=random),
            torch.randint(7, (n,), generator=random),
        )

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy; targets may be soft, ``[B, C]``."""
        targets = targets if targets.is_floating_point() else targets.long()
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def distance(self, outputs: Tensor, ann: Tensor, temperature: float) -> Tensor:
        """Return the divergence of the probabilities of the classes."""
        return divergence(outputs, ann, temperature)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the class ``[B]``."""
        return outputs.argmax(1)

    def near_chance(self, outputs: Tensor, targets: Tensor) -> bool:
        """Whether a network that guesses could be right as often."""
        right = int(self.rows(outputs[None], targets)[0, :, 1].sum())
        return lucky(right, len(targets), outputs.shape[1])

    def confidence(self, outputs: Tensor) -> Tensor:
        """Return the margin of the two most probable classes."""
        return margin(outputs)


def beyond(labels: Tensor, classes: int) -> str:
    """Say which labels are no number of a class; empty if all are."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        return f"labels {low}..{high} for {classes} outputs"
    return ""


TASK = Classification()

"""Multi-label: each sample has any number of labels, and an output above 0 says that it has one.

``mean-average-precision`` is the mean over labels of the average precision
``sum_k (R_k - R_{k-1}) P_k`` over the thresholds ``k``, highest first, where ``P`` and ``R`` are
precision and recall of the samples at or above the threshold. ``f1`` is the mean over labels of
``2 TP / (2 TP + FP + FN)`` for outputs above 0, and 0 for a label that nobody has and nobody says.

Shape:
    Labels ``[n, K]``, each 0 or 1; outputs ``[B, K]``, logits.

Reference:
    scikit-learn's ``average_precision_score`` and ``f1_score``, averaged over labels ("macro").

Deviations:
    A label that no sample has is left out of the mean average precision.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.scores import Score
from snnconv.tasks.base import Shape, Task, Values, divergence


class MultiLabel(Task):
    """Several labels a sample."""

    labels = "a row of 0 and 1 for each sample, one number an output"
    summed = False
    numeric = True

    def claims(self, labels: Tensor) -> bool:
        """Whether they are rows of 0 and 1, and not each with a single 1."""
        if labels.dim() != 2 or labels.shape[1] < 2 or not _binary(labels):
            return False
        return labels.dtype == torch.bool or not bool((labels.sum(1) == 1).all())

    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return the scores, mean average precision first."""
        return (
            Score(name="mean-average-precision", title="Mean average precision"),
            Score(name="f1", title="F1, mean over labels"),
        )

    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Say what is wrong: another shape, or other numbers than 0 and 1."""
        columns = labels.shape[1] if labels.dim() == 2 else 1
        if labels.dim() > 2 or len(outputs) > 1 or columns != (*outputs, 1)[0]:
            return "labels that are not one number for each output"
        return "" if _binary(labels) else "labels other than 0 and 1"

    def width(self, outputs: Shape) -> int:
        """See :class:`.Task`."""
        return 2 * (*outputs, 1)[0]

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return outputs, with labels behind them."""
        outputs = outputs.double().reshape(*outputs.shape[:2], -1)
        labels = targets.to(outputs).reshape(len(targets), -1).expand_as(outputs)
        return torch.cat([outputs, labels], 2)

    def values(self, rows: Tensor) -> Values:
        """Return means over labels."""
        outputs, labels = rows.chunk(2, 1)
        precisions = [
            average_precision(outputs[:, k], labels[:, k])
            for k in range(labels.shape[1])
            if labels[:, k].any()
        ]
        said = (outputs > 0).double()
        both, total = 2 * (said * labels).sum(0), said.sum(0) + labels.sum(0)
        f1 = torch.where(total > 0, both / total.clamp(min=1), 0.0)
        mean = sum(precisions) / len(precisions) if precisions else None
        return {"mean-average-precision": mean, "f1": float(f1.mean())}

    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`.Task`."""
        labels = torch.rand(n, 4, generator=random) < 0.4
        return torch.randn(n, 4, generator=random), labels

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the binary cross-entropy, averaged over labels."""
        return F.binary_cross_entropy_with_logits(
            outputs, targets.to(outputs).reshape(outputs.shape)
        )

    def distance(self, outputs: Tensor, ann: Tensor, temperature: float) -> Tensor:
        """Return the divergence of the probabilities of "yes" and "no", averaged over labels."""
        return divergence(_yes_no(outputs), _yes_no(ann), temperature)

    def answers(self, outputs: Tensor) -> Tensor:
        """Whether each label is said, ``[B, K]`` of 0 and 1."""
        return (outputs > 0).long()

    def confidence(self, outputs: Tensor) -> Tensor:
        """Return the margin of "yes" and "no" of the label that is least sure."""
        sure = (2 * outputs.sigmoid() - 1).abs()
        return sure.reshape(*outputs.shape[:2], -1).amin(2)


def _yes_no(outputs: Tensor) -> Tensor:
    """Return each label as two classes, ``[B, 2, K]``."""
    return torch.stack([outputs, torch.zeros_like(outputs)], 1)


def _binary(labels: Tensor) -> bool:
    return bool(((labels == 0) | (labels == 1)).all())


def average_precision(outputs: Tensor, labels: Tensor) -> float:
    """Return the average precision of outputs ``[n]`` for labels ``[n]`` of 0 and 1, not all 0."""
    order = outputs.argsort(descending=True, stable=True)
    outputs, hits = outputs[order], labels[order].cumsum(0)
    # equal outputs are one threshold: only the last of them counts
    last = torch.cat([outputs.diff() != 0, torch.ones(1, dtype=torch.bool)])
    hits, count = hits[last], torch.nonzero(last).flatten() + 1
    new = hits.diff(prepend=hits.new_zeros(1))
    return float((new * hits / count).sum() / hits[-1])


TASK = MultiLabel()

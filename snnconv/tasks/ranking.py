"""Ranking: what counts is the order in which outputs put the samples.

``rank-correlation`` is Spearman's: the correlation of the ranks of outputs and targets over all
samples, averaged over outputs. Equal values share the mean of their ranks. It is undefined if a
target is the same for all samples. An output that is the same for all samples has 0, because it
says nothing about their order. Before the first spike, a network's outputs are of this kind.

Training lowers ``log(1 + exp(-(x_i - x_j)))``, averaged over the pairs of a batch whose targets are
``y_i > y_j``.

Shape:
    Targets ``[n]`` or ``[n, K]``; outputs ``[B, K]``. Each output ranks the samples.

Reference:
    Spearman 1904; the loss: Burges et al. 2005, *Learning to rank using gradient descent*.

Deviations:
    Spearman's correlation has no value for an output that is the same for all samples.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.scores import Score
from snnconv.tasks.base import Shape, Task, Values


class Ranking(Task):
    """An order of the samples."""

    labels = "one finite number for each output of the network: [n], or [n, K]"
    summed = False
    decides = False
    numeric = True

    def claims(self, labels: Tensor) -> bool:
        """Return False: its targets look like those of a regression, so the user has to say it."""
        return False

    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return Spearman's correlation."""
        return (Score(name="rank-correlation", title="Rank correlation"),)

    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Say what is wrong: not as many numbers as outputs."""
        columns = labels.shape[1] if labels.dim() == 2 else 1
        if labels.dim() > 2 or len(outputs) > 1 or columns != (*outputs, 1)[0]:
            return "targets that are not one number for each output"
        return ""

    def width(self, outputs: Shape) -> int:
        """See :class:`.Task`."""
        return 2 * (*outputs, 1)[0]

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return outputs, with targets behind them."""
        outputs = outputs.double().flatten(2) if outputs.dim() > 2 else outputs.double()[..., None]
        targets = targets.to(outputs).reshape(1, len(targets), -1).expand_as(outputs)
        return torch.cat([outputs, targets], 2)

    def values(self, rows: Tensor) -> Values:
        """Return the mean over outputs."""
        found = [spearman(x, y) for x, y in zip(*(v.T for v in rows.chunk(2, 1)), strict=True)]
        known = [each for each in found if each is not None]
        whole = len(known) == len(found)
        return {"rank-correlation": sum(known) / len(known) if whole and known else None}

    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`.Task`."""
        outputs = torch.randn(n, 1, generator=random)
        return outputs, outputs[:, 0] + torch.randn(n, generator=random)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the logistic loss of pairs; 0 if all targets are equal."""
        x = outputs.reshape(len(outputs), -1)
        y = targets.to(x).reshape(x.shape)
        above = y[:, None] > y[None]  # [B, B, K]
        pairs = F.softplus(x[None] - x[:, None])
        return (pairs * above).sum() / above.sum().clamp(min=1)


def ranks(values: Tensor) -> Tensor:
    """Return the rank of each value ``[n]``, from 1; equal values share the mean of theirs."""
    _, group, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    found: Tensor = (last - (counts - 1) / 2)[group]
    return found


def spearman(x: Tensor, y: Tensor) -> float | None:
    """Compute Spearman's rank correlation of outputs and targets ``[n]``; none of equal targets."""
    a, b = (each - each.mean() for each in (ranks(x), ranks(y)))
    if not b.any():
        return None
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm else 0.0


TASK = Ranking()

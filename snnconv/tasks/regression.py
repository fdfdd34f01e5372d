"""Regression: outputs are numbers, or maps of numbers, that should come close to targets.

``rmse`` is the root of the mean squared error and ``mae`` the mean absolute error, over all numbers
of all samples. ``r2`` is ``1 - sum (y - x)^2 / sum (y - mean y)^2``, the mean over outputs (over
channels, where outputs are maps), and undefined where a target does not vary.

Shape:
    Targets ``[n]``, ``[n, K]`` or ``[n, C, *places]``; outputs ``[B, K]`` or ``[B, C, *places]``.

Reference:
    scikit-learn's ``mean_squared_error``, ``mean_absolute_error`` and ``r2_score``.

Deviations:
    None.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.scores import Score
from snnconv.tasks.base import Shape, Task, Values


class Regression(Task):
    """Numbers."""

    labels = "one finite number for each output of the network: [n], or [n, *output]"
    decides = False
    numeric = True
    placed = True
    chance = "the mean of the targets, or those of other samples, would be as close to its outputs"

    def claims(self, labels: Tensor) -> bool:
        """Whether they are numbers with fractions, and no rows of 0 and 1."""
        rows = labels.dim() == 2 and labels.shape[1] > 1
        return labels.is_floating_point() and not (
            rows and bool(((labels == 0) | (labels == 1)).all())
        )

    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return the scores, root of the mean squared error first."""
        return (
            Score(name="rmse", title="RMSE", higher=False, relative=True),
            Score(name="mae", title="MAE", higher=False, relative=True),
            Score(name="r2", title="R2"),
        )

    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Say what is wrong: not as many numbers as outputs."""
        if _without_ones(tuple(labels.shape[1:])) != _without_ones(outputs):
            return "targets that are not one number for each output"
        return "" if labels.dtype != torch.bool else "targets that are true or false"

    def width(self, outputs: Shape) -> int:
        """See :class:`.Task`."""
        return 5 * (*outputs, 1)[0]

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how many numbers, and sums of |e|, e^2, y and y^2, of each output or channel."""
        outputs = outputs.double()
        T, B, *out = outputs.shape
        columns = (T, B, out[0] if out else 1, -1)  # [T, B, C, places]
        x = outputs.reshape(columns)
        y = targets.to(outputs).expand(T, *targets.shape).reshape(columns)
        e = x - y
        sums = [torch.ones_like(e), e.abs(), e.square(), y, y.square()]
        return torch.cat([each.sum(3) for each in sums], 2)

    def values(self, rows: Tensor) -> Values:
        """Return the scores of all numbers together."""
        n, absolute, squares, y, y_squares = rows.sum(0).chunk(5)
        varies = y_squares - y.square() / n
        known = bool((varies > 1e-12 * y_squares).all())
        return {
            "rmse": float((squares.sum() / n.sum()).sqrt()),
            "mae": float(absolute.sum() / n.sum()),
            "r2": float((1 - squares / varies).mean()) if known else None,
        }

    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`.Task`."""
        outputs = torch.randn(n, 3, generator=random)
        return outputs, outputs + torch.randn(n, 3, generator=random)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the mean squared error."""
        return F.mse_loss(outputs, targets.to(outputs).reshape(outputs.shape))

    def near_chance(self, outputs: Tensor, targets: Tensor) -> bool:
        """Whether the mean of the targets, or those of other samples, would be as close."""
        r2 = self.values(self.rows(outputs[None], targets)[0])["r2"]
        return (r2 is not None and r2 <= 0) or super().near_chance(outputs, targets)


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


TASK = Regression()

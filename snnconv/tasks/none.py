"""No labels: outputs are compared with the ANN's alone.

``agreement`` is the share of samples, or of their places, whose largest output is the ANN's largest
one; a network with one output has none. ``relative-error`` is ``|x - a| / |a|`` (L2 over all
samples) of the outputs ``x`` against the ANN's ``a``.

Shape:
    Targets are the ANN's outputs, ``[B, *out]``.

Reference:
    Methods: "Counting".

Deviations:
    None.
"""

import torch
from torch import Tensor

from snnconv.core.scores import Score
from snnconv.tasks.base import Shape, Task, Values, divergence, margin, relative_square


class Unlabelled(Task):
    """Nothing but the ANN says what is right."""

    labels = "no labels"
    supervised = False

    def claims(self, labels: Tensor) -> bool:
        """Return False, because labels are for something."""
        return False

    def scores(self, outputs: Shape) -> tuple[Score, ...]:
        """Return the scores; if there is an agreement, it is the first."""
        agreement = Score(
            name="agreement", title="Agreement with the ANN", outcome=len(outputs) == 1
        )
        error = Score(name="relative-error", title="Relative error", higher=False)
        return (agreement, error) if (*outputs, 1)[0] > 1 else (error,)

    def fault(self, labels: Tensor, outputs: Shape) -> str:
        """Return no fault, because labels are not looked at."""
        return ""

    def width(self, outputs: Shape) -> int:
        """See :class:`.Task`."""
        return 4

    def rows(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sample, the share of its places that agree, and squares of error and norm."""
        outputs = outputs.double()
        T, B = outputs.shape[:2]
        ann = targets.to(outputs).expand_as(outputs)
        flat = outputs.reshape(T, B, -1)
        agree = torch.ones_like(flat[..., 0])
        if outputs.dim() > 2:
            same = outputs.argmax(2) == ann.argmax(2)
            agree = same.double().reshape(T, B, -1).mean(2)
        error = (flat - ann.reshape(T, B, -1)).square().sum(2)
        norm = ann.reshape(T, B, -1).square().sum(2)
        return torch.stack([torch.ones_like(agree), agree, error, norm], 2)

    def values(self, rows: Tensor) -> Values:
        """Return the scores of all samples together."""
        n, agree, error, norm = rows.sum(0).tolist()
        return {
            "agreement": agree / n if n else None,
            "relative-error": (error / norm) ** 0.5 if norm else None,
        }

    def right(self, rows: Tensor) -> Tensor | None:
        """Return those that agree; none if outputs are maps, whose places agree one by one."""
        agree = rows[:, 1]
        return agree > 0 if bool(((agree == 0) | (agree == 1)).all()) else None

    def example(self, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :class:`.Task`."""
        outputs = torch.randn(n, 4, generator=random)
        return outputs, outputs + torch.randn(n, 4, generator=random)

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the square of the relative error, so that the outputs' unit does not matter."""
        return relative_square(outputs, targets)

    def distance(self, outputs: Tensor, ann: Tensor, temperature: float) -> Tensor:
        """Return the distance as for classes; with one output, the square of the relative error."""
        if (*outputs.shape[1:], 1)[0] < 2:
            return relative_square(outputs, ann)
        return divergence(outputs, ann, temperature)

    def confidence(self, outputs: Tensor) -> Tensor | None:
        """Return the confidence as for classes, averaged over places; none with one output."""
        if (*outputs.shape[2:], 1)[0] < 2:
            return None
        return margin(outputs, 2).reshape(*outputs.shape[:2], -1).mean(2)


TASK = Unlabelled()

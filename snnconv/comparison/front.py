"""Which cells are worth their cost: those that no other cell beats in accuracy and in cost.

The front is of the figures as they were measured. What is worth its cost beyond chance is marked:
a difference counts only if chance brings it about less than once in twenty times.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from snnconv.core.uncertainty import CHANCE, FEW, apart, discordant, mcnemar, paired, wilson

Key = TypeVar("Key", bound=Hashable)


def front(cells: Mapping[Key, tuple[float, float]]) -> frozenset[Key]:
    """The Pareto front of (quality, cost) pairs: high quality, low cost.

    A cell is on it if every other cell is less accurate, or dearer, or equal in both.
    """

    def beaten(accuracy: float, cost: float) -> bool:
        return any(
            a >= accuracy and c <= cost and (a > accuracy or c < cost) for a, c in cells.values()
        )

    return frozenset(key for key, (a, c) in cells.items() if not beaten(a, c))


@dataclass(frozen=True)
class Judged:
    """A cell, with what a test needs; all cells are of the same samples.

    Attributes:
        quality: the accuracy, a share of the samples; or another score, with a minus if less is
            better.
        samples: how many.
        cost: the cost of the mean sample.
        right: a bit for each sample; none where a file does not say.
        parts: of a score that is no accuracy, the jackknife's; none where a file does not say.
        costs: the costs of each sample; None if all cost the same, or if a file does not say.
    """

    quality: float
    samples: int
    cost: float
    right: int | None = None
    costs: Sequence[float] | None = None
    parts: Sequence[float] | None = None

    def better(self, other: "Judged") -> bool:
        """Whether it is more accurate, by more than chance."""
        if self.quality <= other.quality:
            return False
        if self.parts is not None or other.parts is not None:
            known = self.parts is not None and other.parts is not None
            return known and paired(self.parts or (), other.parts or ()) < CHANCE
        if self.right is not None and other.right is not None:
            return mcnemar(*discordant(self.right, other.right)) < CHANCE
        return apart(*(wilson(each.quality, each.samples) for each in (self, other)))

    def cheaper(self, other: "Judged") -> bool:
        """Whether it costs less, by more than chance where costs differ between samples."""
        if self.cost >= other.cost:
            return False
        if self.costs is not None and other.costs is not None:
            return paired(self.costs, other.costs) < CHANCE
        return True


def worth_it(cells: Mapping[Key, Judged]) -> frozenset[Key]:
    """The cells that are worth their cost beyond chance; none of fewer than 100 samples.

    A cell is beaten by one that is cheaper, unless it is more accurate than that one, and by one
    that is more accurate, unless it is cheaper: each by more than chance.
    """

    def beaten(cell: Judged) -> bool:
        return any(
            (other.cheaper(cell) and not cell.better(other))
            or (other.better(cell) and not cell.cheaper(other))
            for other in cells.values()
            if other is not cell
        )

    return frozenset(key for key, cell in cells.items() if cell.samples >= FEW and not beaten(cell))

"""Which cells are worth their cost: those that no other cell beats in accuracy and in cost."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def front(cells: Mapping[Key, tuple[float, float]]) -> frozenset[Key]:
    """The Pareto front of (accuracy, cost) pairs: high accuracy, low cost.

    A cell is on it if every other cell is less accurate, or dearer, or equal in both.
    """

    def beaten(accuracy: float, cost: float) -> bool:
        return any(
            a >= accuracy and c <= cost and (a > accuracy or c < cost) for a, c in cells.values()
        )

    return frozenset(key for key, (a, c) in cells.items() if not beaten(a, c))

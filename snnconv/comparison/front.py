"""Which cells are worth their cost: those that no other cell beats in accuracy and in cost.

The front uses the figures as they were measured. A cell is worth its cost only beyond chance: a
difference counts if chance causes it less than once in twenty times.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from snnconv.core.uncertainty import (
    CHANCE,
    FEW,
    apart,
    discordant,
    mcnemar,
    paired,
    unpacked,
    wilson,
)
from snnconv.render.significance import total_energy
from snnconv.reports import CellRow, EvaluateReport, MethodRow

Key = TypeVar("Key", bound=Hashable)


def front(cells: Mapping[Key, tuple[float, float]]) -> frozenset[Key]:
    """Return the Pareto front of (quality, cost) pairs: high quality, low cost.

    A cell is on it if every other cell is less accurate, or costs more, or is equal in both.
    """

    def beaten(accuracy: float, cost: float) -> bool:
        return any(
            a >= accuracy and c <= cost and (a > accuracy or c < cost) for a, c in cells.values()
        )

    return frozenset(key for key, (a, c) in cells.items() if not beaten(a, c))


@dataclass(frozen=True)
class Judged:
    """A cell, with what a test needs. All cells have the same samples.

    Attributes:
        quality: the accuracy, as a share of the samples; or another score, negated if less is
            better.
        samples: the number of samples.
        cost: the mean cost of a sample.
        right: a bit for each sample; None if the file lacks them.
        parts: the parts of a jackknife, for a score that is no accuracy; None if the file lacks
            them.
        costs: the cost of each sample; None if all cost the same, or if the file lacks them.
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
    """Return the cells that are worth their cost beyond chance; none with fewer than 100 samples.

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


def with_fronts(
    rows: list[MethodRow], evaluations: Mapping[tuple[str, int], EvaluateReport]
) -> list[MethodRow]:
    """Mark the cells that are worth their energy, and those worth their latency.

    Args:
        rows: the rows of all methods.
        evaluations: the evaluation of each cell, by method and T; all of the same samples.

    Returns:
        The rows with the marks of their cells.
    """
    cells = {(row.method, cell.timesteps): cell for row in rows for cell in row.cells}
    energy = {key: _judged(cell, evaluations[key]) for key, cell in cells.items()}
    latency = {
        key: replace(one, cost=cells[key].latency_steps, costs=None) for key, one in energy.items()
    }
    marks = {
        "on_energy_front": front({key: (c.quality, c.cost) for key, c in energy.items()}),
        "on_latency_front": front({key: (c.quality, c.cost) for key, c in latency.items()}),
        "energy_worth_it": worth_it(energy),
        "latency_worth_it": worth_it(latency),
    }

    def with_marks(row: MethodRow, cell: CellRow) -> CellRow:
        key = (row.method, cell.timesteps)
        return cell.model_copy(update={name: key in kept for name, kept in marks.items()})

    return [
        row.model_copy(update={"cells": [with_marks(row, cell) for cell in row.cells]})
        for row in rows
    ]


def _judged(cell: CellRow, report: EvaluateReport) -> Judged:
    """Return a cell with what tests need; energies by sample are known for the simulated T only."""
    T, kind = cell.timesteps, report.decisive
    bits = report.outcomes.steps.get(T) if report.outcomes else None
    parts = report.headline_parts.steps.get(T, ()) if report.headline_parts else None
    return Judged(
        quality=cell.measured if kind.higher else -cell.measured,
        samples=report.samples,
        cost=cell.energy_total_mj,
        right=None if bits is None else unpacked(bits, report.samples),
        parts=None if parts is None else [part if kind.higher else -part for part in parts],
        costs=total_energy(report) if report.timesteps == T else None,
    )

"""Mark the cells of a comparison that are worth their energy, and those worth their latency."""

from collections.abc import Mapping
from dataclasses import replace

from snnconv.comparison.front import Judged, front, worth_it
from snnconv.core.uncertainty import unpacked
from snnconv.render.significance import total_energy
from snnconv.reports import CellRow, EvaluateReport, MethodRow


def marked(
    rows: list[MethodRow], evaluations: Mapping[tuple[str, int], EvaluateReport]
) -> list[MethodRow]:
    """Return the rows with the marks of their cells.

    Args:
        rows: the rows of all methods.
        evaluations: what each cell is from, by method and T; all of the same samples.
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
    """A cell with what tests need: energies by sample are known at the T of its simulation only."""
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

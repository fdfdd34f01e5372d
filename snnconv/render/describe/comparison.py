"""A comparison of conversion methods, as tables: accuracy and energy by method and T."""

from collections.abc import Callable

from snnconv.render import units
from snnconv.render.tables import Block, Cell, Column, Fact, Facts, Table
from snnconv.reports import CellRow, CompareReport

ENERGY_FRONT = "no other cell is as accurate for less energy"
LATENCY_FRONT = "no other cell is as accurate after fewer steps"


def compare(found: CompareReport) -> list[Block]:
    """Of a :class:`CompareReport`: a row a method, a column a T."""
    share = units.percent(found.ann_accuracy)
    bounds = f"{units.interval(found.ann_accuracy_interval)}, n = {units.count(found.samples)}"
    facts = [
        Fact("network", found.model, f"on {found.data}"),
        Fact("ANN accuracy", share, bounds),
        Fact("energy of the ANN", units.energy(found.energy_ann_mj), "per sample"),
        Fact("evaluations", str(found.cells_run), f"{found.cells_kept} cells needed none"),
    ]
    return [
        Facts("Comparison", tuple(facts)),
        _grid(
            "Accuracy by T",
            found,
            lambda cell: units.percent(cell.accuracy),
            lambda cell: cell.on_latency_front,
            LATENCY_FRONT,
        ),
        _grid(
            "Energy / the ANN's, by T",
            found,
            lambda cell: f"{cell.energy_total_ratio:.2f}",
            lambda cell: cell.on_energy_front,
            ENERGY_FRONT,
        ),
        *_latency(found),
        methods(found),
    ]


def _latency(found: CompareReport) -> list[Table]:
    """The steps until the answer; nothing if they are T for all methods."""
    cells = [cell for row in found.methods for cell in row.cells]
    if all(cell.latency_steps == cell.timesteps for cell in cells):
        return []
    return [
        _grid(
            "Steps until the answer, by T",
            found,
            lambda cell: str(cell.latency_steps),
            lambda cell: cell.on_latency_front,
            LATENCY_FRONT,
        )
    ]


def _grid(
    title: str,
    found: CompareReport,
    show: Callable[[CellRow], str],
    best: Callable[[CellRow], bool],
    mark: str,
) -> Table:
    cells = [{cell.timesteps: cell for cell in row.cells} for row in found.methods]
    return Table(
        title,
        (Column("method", numeric=False), *(Column(f"T={T}") for T in found.timesteps)),
        tuple(
            (row.method, *(show(by_steps[T]) for T in found.timesteps))
            for row, by_steps in zip(found.methods, cells, strict=True)
        ),
        frozenset(
            (r, c)
            for r, by_steps in enumerate(cells)
            for c, T in enumerate(found.timesteps, start=1)
            if best(by_steps[T])
        ),
        mark=mark,
    )


def methods(found: CompareReport) -> Table:
    """What each method asks of a chip, and where it comes near the ANN."""
    heads = ("within 1 point", "energy there", "spikes/neuron", "latency", "levels", "seconds")
    rows: list[tuple[Cell, ...]] = []
    for row in found.methods:
        at = row.within_1_point
        cell = next((each for each in row.cells if each.timesteps == at), row.cells[-1])
        near = at is not None
        rows.append(
            (
                row.method,
                f"T={at}" if near else None,
                f"{cell.energy_total_ratio:.2f}" if near else None,
                units.shown(units.number, cell.firing_rate),
                str(cell.latency_steps),
                f"-{row.levels}..{row.levels}" if row.signed else f"0..{row.levels}",
                units.number(row.calibration_seconds),
            )
        )
    note = "spikes/neuron, at each step, and latency are those at that T, else at the last T"
    return Table(
        "Methods",
        (Column("method", numeric=False), *(Column(head) for head in heads)),
        tuple(rows),
        note=note,
    )

"""A comparison of conversion methods, as tables: accuracy and energy by method and T."""

from collections.abc import Callable

from snnconv.render import units
from snnconv.render.tables import Block, Cell, Column, Fact, Facts, Table
from snnconv.reports import CellRow, CompareReport

ENERGY_FRONT = "no other cell is as accurate for less energy"
LATENCY_FRONT = "no other cell is as accurate after fewer steps"
CHANCE = "by more than chance"


def compare(found: CompareReport) -> list[Block]:
    """Describe a :class:`CompareReport`: a row for each method, a column for each T."""
    kind, interval = found.kind, found.ann_accuracy_interval
    n = f"n = {units.count(found.samples)}"
    bounds = f"{units.interval(interval)}, {n}" if interval else n
    facts = [
        Fact("network", found.model, f"on {found.data}"),
        Fact(f"ANN {kind.words}", kind.shown(found.of_ann), bounds),
        Fact("energy of the ANN", units.energy(found.energy_ann_mj), "per sample"),
        Fact("cells evaluated", str(found.cells_run), f"{found.cells_kept} were there already"),
    ]
    return [
        Facts("Comparison", tuple(facts)),
        _grid(
            f"{kind.title} by T",
            found,
            lambda cell: units.score(kind, cell.measured),
            lambda cell: cell.latency_worth_it,
            f"{LATENCY_FRONT}, {CHANCE}",
            failed="failed",
        ),
        _grid(
            "Energy / the ANN's, by T",
            found,
            lambda cell: units.ratio(cell.energy_total_ratio),
            lambda cell: cell.energy_worth_it,
            f"{ENERGY_FRONT}, {CHANCE}",
        ),
        *_latency(found),
        *_conventions(found),
        methods(found),
    ]


def _latency(found: CompareReport) -> list[Table]:
    """Describe the steps until the answer; say nothing if they are T for all methods."""
    cells = [cell for row in found.methods for cell in row.cells]
    if all(cell.latency_steps == cell.timesteps for cell in cells):
        return []
    return [
        _grid(
            "Steps until the answer, by T",
            found,
            lambda cell: str(cell.latency_steps),
            lambda cell: cell.latency_worth_it,
            f"{LATENCY_FRONT}, {CHANCE}",
        )
    ]


def _conventions(found: CompareReport) -> list[Table]:
    """Describe the energy by other conventions, if it was measured."""
    tables = [
        _grid(
            "Energy / the quantized twin's, by T",
            found,
            lambda cell: units.shown(units.ratio, cell.energy_twin_ratio),
            note="above 1, the same network with quantized activations is cheaper, see the methods",
        ),
        _grid(
            "Energy with memory / the ANN's, by T",
            found,
            lambda cell: units.shown(units.ratio, cell.energy_memory_ratio),
        ),
    ]
    return [table for table in tables if any(any(row[1:]) for row in table.rows)]


def _grid(
    title: str,
    found: CompareReport,
    show: Callable[[CellRow], Cell],
    best: Callable[[CellRow], bool] = lambda cell: False,
    mark: str = "",
    note: str = "",
    failed: Cell = None,
) -> Table:
    """Return a row a method, those first that were measured, and a column a T."""
    cells = {row.method: {cell.timesteps: cell for cell in row.cells} for row in found.methods}
    cells |= {cell.method: {} for cell in found.failed if cell.method not in cells}
    rows = list(cells.values())

    def shown(by_steps: dict[int, CellRow], T: int) -> Cell:
        return show(by_steps[T]) if T in by_steps else failed

    return Table(
        title,
        (Column("method", numeric=False), *(Column(f"T={T}") for T in found.timesteps)),
        tuple(
            (name, *(shown(by_steps, T) for T in found.timesteps))
            for name, by_steps in cells.items()
        ),
        frozenset(
            (r, c)
            for r, by_steps in enumerate(rows)
            for c, T in enumerate(found.timesteps, start=1)
            if T in by_steps and best(by_steps[T])
        ),
        mark=mark,
        note=note,
    )


def methods(found: CompareReport) -> Table:
    """Describe what each method asks of a chip, and where it comes near the ANN."""
    energies = ("energy there", "/ twin's", "twin")
    costs = ("passes", "spikes/neuron", "latency", "levels", "seconds")
    heads = ("within 1 %" if found.kind.relative else "within 1 point", *energies, *costs)
    rows: list[tuple[Cell, ...]] = []
    for row in found.methods:
        at = row.within_1_point
        cell = next((each for each in row.cells if each.timesteps == at), row.cells[-1])
        near = at is not None
        rows.append(
            (
                row.method,
                None if at is None else units.Measured(f"T={at}", units.Number(at)),
                units.ratio(cell.energy_total_ratio) if near else None,
                units.shown(units.ratio, cell.energy_twin_ratio) if near else None,
                units.shown(units.percent, cell.twin_accuracy) if near else None,
                units.shown(units.number, row.forward_passes_to_1_point),
                units.shown(units.number, cell.firing_rate),
                str(cell.latency_steps),
                f"-{row.levels}..{row.levels}" if row.signed else f"0..{row.levels}",
                units.number(row.calibration_seconds),
            )
        )
    note = (
        "energy there: of the float32 ANN's, by operations alone; / twin's: of the energy of the "
        "same network with quantized activations, whose accuracy is next to it; passes: the "
        "time until the answer there, in forward passes of the ANN; spikes/neuron, at each step, "
        "and latency are those at that T, else at the last T; seconds: of calibration"
    )
    return Table(
        "Methods",
        (Column("method", numeric=False), *(Column(head) for head in heads)),
        tuple(rows),
        note=note,
    ).without_empty()

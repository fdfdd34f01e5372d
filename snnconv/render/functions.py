"""What functions cost: what a chip would have to compute in addition to the spikes."""

from collections.abc import Sequence

from snnconv.render import units
from snnconv.render.tables import Column, Fact, Table
from snnconv.reports import EvaluateReport
from snnconv.reports.functions import FunctionRow, WorkUse

_COLUMNS = (
    Column("function", numeric=False, hint="outside the spiking domain"),
    Column("times", hint="how often it is computed in T steps"),
    Column("look-ups", hint="each time, of a function of one number in a table"),
    Column("MACs", hint="each time: products without weights"),
    Column("additions", hint="each time, and comparisons"),
    Column("changed", hint="what of it an input that has changed reaches"),
)


def counted(work: WorkUse) -> str:
    """Return numbers of operations: ``1.2 M look-ups, 730 M MACs and 33 M additions``."""
    return (
        f"{units.si(work.lookups)} look-ups, {units.si(work.macs)} MACs and "
        f"{units.si(work.additions)} additions"
    )


def sentence(report: EvaluateReport) -> str:
    """Return what a chip would have to compute; empty if there are no functions."""
    work = report.function_work
    if work is None:
        return ""
    names = ", ".join(dict.fromkeys(row.operation for row in report.functions))
    return (
        f"In addition to the spikes, a chip would have to compute {names}: "
        f"{counted(work.every_step)} for each sample in {report.timesteps} steps; "
        f"{counted(work.where_changed)} if it recomputes "
        f"only where an input has changed. The ANN takes {counted(work.ann)}, once."
    )


def facts(report: EvaluateReport) -> list[Fact]:
    """Return the energy of functions by both conventions, and in the ANN."""
    found = []
    for name, mj, whole in (
        ("functions, at every step", report.energy_functions_mj, report.energy_total_mj),
        ("functions, where an input changed", report.energy_functions_changed_mj, None),
        ("functions, ANN", report.energy_ann_functions_mj, report.energy_ann_mj),
    ):
        if mj is not None:
            remark = f"{units.percent(mj / whole)} of the energy" if whole else ""
            found.append(Fact(name, units.energy(mj), remark))
    return found


def _row(name: str, rows: Sequence[FunctionRow]) -> tuple[str | None, ...]:
    """Return one row for functions that are computed equally often."""
    work = [row.lookups + row.macs + row.additions for row in rows]
    changed = sum(w * row.changed_share for w, row in zip(work, rows, strict=True))
    return (
        name,
        units.count(rows[0].times),
        *(units.si(sum(getattr(row, key) for row in rows)) for key in WorkUse.model_fields),
        units.percent(changed / sum(work)),
    )


def function_table(report: EvaluateReport, each: bool = False) -> Table:
    """Return what functions take.

    Args:
        report: of an evaluation with functions.
        each: whether each has a row; otherwise those of one operation share one.
    """
    if each:
        rows = [_row(row.name, [row]) for row in report.functions]
    else:
        groups: dict[tuple[str, int], list[FunctionRow]] = {}
        for row in report.functions:
            groups.setdefault((row.operation, row.times), []).append(row)
        rows = [
            _row(f"{name} ({len(found)})" if len(found) > 1 else name, found)
            for (name, _), found in groups.items()
        ]
    return Table("Functions", _COLUMNS, tuple(rows), note=sentence(report))

"""What is in a run folder, as tables."""

from snnconv.render import units
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import RunsReport


def runs(found: RunsReport) -> list[Block]:
    """Of a :class:`RunsReport`: a row a checkpoint and a row an evaluation, the oldest first."""
    if not found.checkpoints and not found.evaluations:
        return [Facts(found.run, (Fact("runs", "none yet", "snnconv calibrate"),))]
    checkpoints = Table(
        f"Checkpoints in {found.run}",
        tuple(
            Column(
                title,
                numeric=title == "T",
                optional="" if title in ("file", "default of") else title,
            )
            for title in ("file", "neuron", "thresholds", "T", "from", "written", "default of")
        ),
        tuple(
            (
                row.file,
                row.neuron,
                row.thresholds,
                units.shown(str, row.timesteps),
                row.parent,
                row.written,
                f"can't be read: {row.problem}"
                if row.problem
                else ", ".join(row.default_of) or None,
            )
            for row in found.checkpoints
        ),
        note="default of: the stages that read it if no checkpoint is named",
    )
    evaluations = Table(
        f"Evaluations in {found.run}",
        (
            Column("file", numeric=False),
            Column("network", numeric=False, optional="network"),
            Column("T", optional="T"),
            Column("n"),
            Column("accuracy"),
            Column("ANN", optional="ANN"),
            Column("written", numeric=False, optional="written"),
            Column("report takes it", numeric=False),
        ),
        tuple(
            (
                row.file,
                row.label,
                units.shown(str, row.timesteps),
                units.shown(str, row.samples),
                units.shown(units.percent, row.accuracy),
                units.shown(units.percent, row.ann_accuracy),
                row.written,
                f"can't be read: {row.problem}" if row.problem else units.value(row.reported),
            )
            for row in found.evaluations
        ),
    )
    return [table for table in (checkpoints, evaluations) if table.rows]

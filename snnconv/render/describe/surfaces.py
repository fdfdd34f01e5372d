"""Networks, installations, run folders and recipes, as facts and tables."""

from snnconv.core.scores import ACCURACY
from snnconv.render import units
from snnconv.render.describe.common import (
    corrections,
    imported,
    latency,
    neuron,
    non_spiking,
    score_name,
)
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import (
    DoctorReport,
    InspectReport,
    ListReport,
    RunReport,
    RunsReport,
)


def inspect(found: InspectReport) -> list[Block]:
    """Describe an :class:`InspectReport`: a row for each node, and for each kind of obstacle."""
    how_many = len(found.obstacles)
    facts = [Fact("kind", found.kind)]
    if found.data:
        made_for = str(found.data["spec"])
        facts.append(Fact("made for", made_for, f"{len(found.data['classes'])} classes"))
    facts.append(
        Fact("converts", "no" if how_many else "yes", f"obstacles: {how_many}" if how_many else "")
    )
    if found.parameters is not None:
        facts.append(Fact("parameters", units.count(found.parameters)))
    if found.macs is not None:
        facts.append(Fact("MACs", units.si(found.macs), "per sample"))
    facts += non_spiking(found)
    if found.imported:
        facts.append(imported(found.imported))
    if found.spiking:
        spiking = found.spiking
        coding = spiking.get("coding", "rate")  # of an older file
        facts += neuron(spiking["neuron"], spiking["params"], coding)
        if norm := spiking.get("norm"):
            facts.append(Fact("norm", norm["name"], units.pairs(norm["params"])))
        facts.append(Fact("time steps T", str(found.spiking["timesteps"])))
        facts += latency(found.latency_steps)
    if found.corrections:
        facts.append(Fact("corrections", corrections(found.corrections)))
    nodes = Table(
        "Nodes",
        (
            Column("node", numeric=False),
            Column("operation", numeric=False),
            Column("role", numeric=False, optional="role"),
            Column("shape", numeric=False),
            Column("carries", numeric=False, optional="carries"),
            Column("parameters", optional="parameters"),
            Column("MACs"),
            Column("theta"),
            Column("neuron", numeric=False),
        ),
        tuple(
            (
                node.name,
                node.op,
                node.role,
                "x".join(str(n) for n in node.shape),
                node.carries,
                units.count(node.parameters) if node.parameters else None,
                None if node.macs is None else units.si(node.macs),
                None if node.threshold is None else units.number(node.threshold),
                node.neuron,
            )
            for node in found.nodes
        ),
    ).without_empty()
    past = Table(
        "Lineage",
        (Column("stage", numeric=False), Column("read", numeric=False)),
        tuple((step.stage, step.parent[:12] if step.parent else None) for step in found.past),
    )
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in found.obstacles:
        reasons.setdefault((each.found, each.remedy), []).append(each.place)
    obstacles = Table(
        "Obstacles",
        (
            Column("found", numeric=False),
            Column("what to do", numeric=False),
            Column("times"),
            Column("places", numeric=False),
        ),
        tuple((*reason, str(len(where)), ", ".join(where)) for reason, where in reasons.items()),
    )
    parts = ((nodes, found.nodes), (past, found.past), (obstacles, found.obstacles))
    return [Facts("Network", tuple(facts)), *(block for block, rows in parts if rows)]


def doctor(found: DoctorReport) -> list[Block]:
    """Describe a :class:`DoctorReport`: a row for each check."""
    rows = tuple(
        (check.name, "ok" if check.ok else "FAILS", check.found, None if check.ok else check.remedy)
        for check in found.checks
    )
    heads = ("check", "", "found", "what to do")
    columns = tuple(Column(head, numeric=False) for head in heads)
    return [Table("Installation", columns, rows).without_empty()]


def listing(found: ListReport) -> list[Block]:
    """Describe a :class:`ListReport`."""
    columns = (Column("name", numeric=False), Column("what it is", numeric=False))
    rows = tuple((item.name, item.summary) for item in found.items)
    return [Table(found.room.capitalize(), columns, rows)]


def recipe(done: RunReport) -> list[Block]:
    """Describe a :class:`RunReport`: a row for each stage, with the options that differ."""
    columns = (
        Column("stage", numeric=False),
        Column("outcome", numeric=False),
        Column("report", numeric=False),
        Column("options", numeric=False),
    )
    rows = tuple(
        (step.stage, step.outcome, step.report, units.pairs(step.changed)) for step in done.steps
    )
    return [Table("Recipe", columns, rows).without_empty()]


def runs(found: RunsReport) -> list[Block]:
    """Describe a :class:`RunsReport`: rows of checkpoints and evaluations, the oldest first."""
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
            for title in (
                *("file", "neuron", "thresholds", "corrections"),
                *("T", "from", "written", "default of"),
            )
        ),
        tuple(
            (
                row.file,
                row.neuron,
                row.thresholds,
                ", ".join(row.corrections) or None,
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
            Column("latency", optional="latency"),
            Column("n"),
            Column(score_name(row.headline for row in found.evaluations if not row.problem)),
            Column("ANN", optional="ANN"),
            Column("written", numeric=False, optional="written"),
            Column("report takes it", numeric=False),
        ),
        tuple(
            (
                row.file,
                row.label,
                units.shown(str, row.timesteps),
                units.shown(str, row.latency_steps),
                units.shown(str, row.samples),
                units.shown((row.headline or ACCURACY).shown, row.score),
                units.shown((row.headline or ACCURACY).shown, row.ann_score),
                row.written,
                f"can't be read: {row.problem}" if row.problem else units.value(row.reported),
            )
            for row in found.evaluations
        ),
    )
    return [table for table in (checkpoints.without_empty(), evaluations) if table.rows]

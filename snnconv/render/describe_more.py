"""Reports beside the pipeline's own, as facts and tables: what a terminal shows of them."""

from snnconv.core.uncertainty import interval
from snnconv.render import units
from snnconv.render.compare import CONFIDENCE, NON_SPIKING, NON_SPIKING_OF
from snnconv.render.labels import drawn
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import (
    DoctorReport,
    ImportRow,
    InspectReport,
    ListReport,
    NetworkReport,
    ReparameterizeReport,
    ReportReport,
    RunReport,
)


def report(done: ReportReport) -> list[Block]:
    """Of a :class:`ReportReport`: one row an evaluation, and where the pages are."""
    heads = (
        "T",
        "n",
        "SNN accuracy",
        CONFIDENCE,
        "ANN accuracy",
        "spikes/neuron/step",
        "SOPs",
        "energy",
        "of ANN's",
        "no spikes",
    )
    rows = tuple(
        (
            run.label,
            str(run.timesteps),
            units.count(run.samples),
            units.shown(units.percent, run.accuracy),
            units.shown(units.interval, run.accuracy_interval),
            None if run.ann_accuracy is None else units.percent(run.ann_accuracy),
            None if run.firing_rate_mean is None else units.number(run.firing_rate_mean),
            None if run.sops_per_sample is None else units.si(run.sops_per_sample),
            None if run.energy_total_mj is None else units.energy(run.energy_total_mj),
            None
            if run.energy_total_mj is None or not run.energy_ann_mj
            else units.percent(run.energy_total_mj / run.energy_ann_mj),
            units.shown(units.percent, run.non_spiking_share),
        )
        for run in done.runs
    )
    optional = ("spikes/neuron/step", CONFIDENCE)
    columns = (
        Column("run", numeric=False),
        *(Column(head, optional=head if head in optional else "") for head in heads),
    )
    pages = (Fact("Markdown", done.markdown), Fact("HTML report", done.html))
    tests = Table(
        "Differences in accuracy at T",
        (
            *(Column(head, numeric=False) for head in ("run", "other")),
            *(Column(head) for head in ("right alone", "other alone", "McNemar")),
        ),
        tuple(
            (
                test.run,
                test.other,
                units.count(test.only_this_right),
                units.count(test.only_other_right),
                units.p_value(test.p),
            )
            for test in done.differences
        ),
    )
    return [
        Table("Evaluations", columns, rows).without_empty(),
        *([tests] if done.differences else []),
        Facts("Written", pages),
    ]


def reparameterize(done: ReparameterizeReport) -> list[Block]:
    """Of a :class:`ReparameterizeReport`: the two networks side by side."""
    test = done.before_and_after
    both = Table(
        f"Reparameterized: {done.levels} levels to one",
        (Column("", numeric=False), Column("before"), Column("after"), Column("change")),
        (
            ("time steps T", str(done.timesteps_before), str(done.timesteps_after), None),
            (
                f"accuracy, {units.count(done.samples)} samples",
                units.percent(done.accuracy_before),
                units.percent(done.accuracy_after),
                f"{units.points(done.accuracy_after - done.accuracy_before)} points",
            ),
            (
                f"{CONFIDENCE} interval",
                units.shown(units.interval, interval(done.accuracy_before, done.samples)),
                units.shown(units.interval, interval(done.accuracy_after, done.samples)),
                units.shown(units.p_value, test.p if test else None),
            ),
            (
                "synaptic operations",
                units.si(done.sops_before),
                units.si(done.sops_after),
                units.percent(done.sops_after / done.sops_before - 1) if done.sops_before else None,
            ),
        ),
    )
    facts = [
        Fact("samples", drawn(done.subset, done.samples, "test")),
        Fact("neuron", done.neuron, "without what mixes time" if done.vanilla else ""),
        Fact(
            "counts that differ",
            units.percent(done.window_mismatch_share),
            f"of all neurons and windows of {done.levels} steps",
        ),
        *non_spiking(done),
        *(Fact("written", each.path, each.sha256[:12]) for each in done.lineage.outputs),
        Fact("time", units.seconds(done.seconds)),
    ]
    sites = Table(
        "Counts that differ, by site",
        (Column("site", numeric=False), Column("share")),
        tuple((row.name, units.percent(row.window_mismatch_share)) for row in done.sites),
    )
    return [both, Facts("Compared", tuple(facts)), sites]


def non_spiking(done: NetworkReport) -> list[Fact]:
    """How much of the network does not spike; nothing of an older file, which does not say."""
    if done.non_spiking_share is None:
        return []
    return [Fact(NON_SPIKING, units.percent(done.non_spiking_share), NON_SPIKING_OF)]


def imported(row: ImportRow) -> Fact:
    """How far a graph is from what it was imported from."""
    how = f"of the largest output, beside {row.referee}; {units.number(row.tolerance)} is allowed"
    return Fact("import error", units.number(row.difference), how)


def inspect(found: InspectReport) -> list[Block]:
    """Of an :class:`InspectReport`: a row a node."""
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
        facts.append(Fact("neuron", found.spiking["neuron"], units.pairs(found.spiking["params"])))
        facts.append(Fact("time steps T", str(found.spiking["timesteps"])))
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
    obstacles = Table(
        "Obstacles",
        tuple(Column(head, numeric=False) for head in ("place", "found", "what to do")),
        tuple((each.place, each.found, each.remedy) for each in found.obstacles),
    )
    parts = ((nodes, found.nodes), (past, found.past), (obstacles, found.obstacles))
    return [Facts("Network", tuple(facts)), *(block for block, rows in parts if rows)]


def doctor(found: DoctorReport) -> list[Block]:
    """Of a :class:`DoctorReport`: a row a check."""
    rows = tuple(
        (check.name, "ok" if check.ok else "FAILS", check.found, None if check.ok else check.remedy)
        for check in found.checks
    )
    heads = ("check", "", "found", "what to do")
    columns = tuple(Column(head, numeric=False) for head in heads)
    return [Table("Installation", columns, rows).without_empty()]


def listing(found: ListReport) -> list[Block]:
    """Of a :class:`ListReport`."""
    columns = (Column("name", numeric=False), Column("what it is", numeric=False))
    rows = tuple((item.name, item.summary) for item in found.items)
    return [Table(found.room.capitalize(), columns, rows)]


def recipe(done: RunReport) -> list[Block]:
    """Of a :class:`RunReport`: a row a stage, with the options that are not the default."""
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

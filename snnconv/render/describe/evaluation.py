"""Evaluations, one and several, as facts and tables."""

from collections.abc import Sequence

from snnconv.core.scores import ACCURACY, Score
from snnconv.core.uncertainty import interval
from snnconv.render import energy, functions, units
from snnconv.render.compare import (
    CONFIDENCE,
    NON_SPIKING,
    NON_SPIKING_OF,
    last,
    pooling,
    powers,
    reached,
)
from snnconv.render.describe.common import (
    around,
    closing,
    corrections,
    engine,
    latency,
    neuron,
    non_spiking,
    score_name,
)
from snnconv.render.functions import function_table
from snnconv.render.labels import calibration, confidence, drawn
from snnconv.render.layers import layer_table
from snnconv.render.significance import against_ann, unjudged
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import (
    EarlyExitUse,
    EvaluateReport,
    IntegerUse,
    PredictReport,
    ReportReport,
    RunSummary,
)

PAIR = (
    "of ANN's: of the float32 ANN's energy, by operations alone; of twin's: of the energy of the "
    "same network with quantized activations, which needs no steps"
)
NOT_SPIKING = "not spiking"
WITHOUT_SPIKES = f"; {NOT_SPIKING}: {NON_SPIKING}, {NON_SPIKING_OF}"


def _headline(report: EvaluateReport) -> list[Fact]:
    at_end = last(report.accuracy)
    facts = [
        Fact("data", report.data.spec),
        Fact("samples", drawn(report.subset, report.samples, "test")),
        *neuron(report.neuron, report.params, report.coding),
        Fact("thresholds", calibration(report) or "unknown"),
    ]
    if report.confidence:
        facts.append(Fact("spike confidence", confidence(report)))
    if report.corrections:
        facts.append(Fact("corrections", corrections(report.corrections)))
    if report.accuracy is None:
        facts += _scores(report)
    if report.ann_accuracy is not None:
        facts.append(_accuracy("ANN accuracy", report.ann_accuracy, report.samples))
    if at_end is not None:
        facts.append(_accuracy(f"SNN accuracy at T={report.timesteps}", at_end, report.samples))
    if found := against_ann(report):
        facts.append(Fact("against the ANN", *found.words()))
    facts += latency(report.latency_steps)
    if report.readout_from > 1:
        read = f"the mean of the currents from step {report.readout_from} on"
        facts.append(Fact("class read from", read))
    elif (report.first_answer_step or 1) > 1:
        late = "neurons need later steps before it"
        facts.append(Fact("first answer", f"after step {report.first_answer_step}", late))
    facts += energy.pair(report)
    steps = report.steps_to_ann or {} if not unjudged([report]) else {}
    for margin in sorted(steps, key=float, reverse=True):
        step = reached(report, margin) or ""
        goal = f"within {margin} {report.decisive.short_unit} of ANN"
        facts.append(Fact(goal, step.replace("step", "first at step")))
    for name, value, how, remark in (
        ("same class as the ANN", last(report.agreement), units.percent, "at T"),
        ("logits' relative error", report.logits_relative_error, units.percent, "L2, at T"),
        ("firing rate", report.firing_rate_mean, units.number, "spikes per neuron and step"),
        ("LM-H's error of dendrites", report.delta_d, units.number, "delta_D, units of theta"),
        ("LM-H's error of somata", report.delta_s, units.number, "delta_S, units of theta"),
        ("spikes", report.spikes_per_sample, units.si, "per sample"),
        ("synaptic operations", report.sops_per_sample, units.si, "per sample"),
        ("operations, pooled", _pooled(report), units.si, "by outputs of average poolings"),
        ("MACs of the ANN", report.ann_macs_per_sample, units.si, "per sample"),
    ):
        if value is not None:
            facts.append(Fact(name, how(value), remark))
    facts += non_spiking(report)
    facts += energy.facts(report)
    facts += functions.facts(report)
    if report.early_exit:
        facts += _exit(report.early_exit, report.decisive, report.samples)
    if report.integer:
        facts += _integer(report.integer, report.samples)
    facts.append(Fact("simulation", units.seconds(report.seconds_per_sample), "per sample"))
    facts += engine(report)
    facts.append(Fact("peak memory", units.memory(report.peak_memory_mib)))
    return facts


def _pooled(report: EvaluateReport) -> float | None:
    """Return the operations by the other convention, where the conventions differ."""
    return report.sops_pooled_per_sample if pooling(report) else None


def _exit(found: EarlyExitUse, kind: Score, n: int) -> list[Fact]:
    """Return what early exit gives."""
    ratio, name = found.energy_total_ratio, f"early exit at margin {found.margin:g}"
    remark = "" if ratio is None else f"{units.percent(ratio)} of the ANN"
    score = Fact(name, units.shown(kind.shown, found.scores.get(kind.name)) or "", kind.words)
    return [
        score if found.accuracy is None else _accuracy(name, found.accuracy, n),
        Fact("steps until then", units.number(found.steps_mean), "mean over samples"),
        Fact("energy until then", units.energy(found.energy_total_mj), remark),
    ]


def _integer(found: IntegerUse, n: int) -> list[Fact]:
    """Return what whole numbers cost."""
    name, facts = f"in whole numbers, {found.params['bits']} bits", []
    if found.accuracy and found.against_itself:
        facts.append(_accuracy(name, found.accuracy[-1], n))
        paired = f"{units.p_value(found.against_itself.p)} (McNemar) for the two accuracies"
        facts.append(Fact("the same class", f"{found.same_class} of {n}", paired))
    clipped = f"{units.count(found.potentials_clipped)} of {units.count(found.potentials)}"
    return [*facts, Fact("potentials clipped", clipped, f"to {found.params['state_bits']} bits")]


def exits(report: EvaluateReport, found: EarlyExitUse) -> Table:
    """Return after which steps samples stop."""
    n = report.samples
    rows = tuple(
        (str(t), units.count(number), units.percent(number / n))
        for t, number in enumerate(found.samples_by_step, start=1)
        if number
    )
    columns = (Column("t", numeric=False), Column("samples"), Column("share"))
    return Table(f"Samples that stop after step t, margin {found.margin:g}", columns, rows)


def _accuracy(name: str, share: float, n: int) -> Fact:
    """Return an accuracy with its interval and the number of samples."""
    return Fact(name, units.percent(share), around(share, n))


def _scores(report: EvaluateReport) -> list[Fact]:
    """Return the score that decides, of the ANN and at T, each with two standard errors."""
    kind, T, n = report.decisive, report.timesteps, units.count(report.samples)
    at_end, ann = last(report.by_step), report.of_ann
    if at_end is None:
        return []

    def fact(name: str, value: float, error: float | None) -> Fact:
        bounds = "" if error is None else f"within {kind.shown(2 * error)} at 95 %, "
        return Fact(name, kind.shown(value), f"{bounds}n = {n}")

    facts = [Fact("task", report.task)]
    if ann is not None and report.task != "none":
        facts.append(fact(f"ANN {kind.words}", ann, report.ann_headline_error))
    facts.append(fact(f"SNN {kind.words} at T={T}", at_end, report.headline_errors.get(T)))
    return facts


def _every_score(report: EvaluateReport) -> Table:
    """Return all scores of the task, at powers of two and T, and the ANN's."""
    kinds = report.score_kinds
    steps = sorted({*powers(report.timesteps), report.timesteps})

    def row(head: str, values: Sequence[float | None]) -> tuple[str | None, ...]:
        pairs = zip(kinds, values, strict=True)
        return (head, *(units.shown(kind.shown, value) for kind, value in pairs))

    rows = [row(str(t), [report.scores[kind.name][t - 1] for kind in kinds]) for t in steps]
    if report.ann_scores and report.task != "none":
        rows.append(row("ANN", [report.ann_scores.get(kind.name) for kind in kinds]))
    columns = (Column("t", numeric=False), *(Column(kind.words) for kind in kinds))
    title = f"Scores of the task '{report.task}' by step, n = {units.count(report.samples)}"
    return Table(title, columns, tuple(rows))


def _by_step(accuracy: Sequence[float | None], n: int) -> Table:
    """Return powers of two and T, as far as there is an answer."""
    steps = sorted({*powers(len(accuracy)), len(accuracy)})
    rows = tuple(
        (str(t), units.percent(share), units.shown(units.interval, interval(share, n)))
        for t in steps
        if (share := accuracy[t - 1]) is not None
    )
    columns = (Column("t", numeric=False), Column("SNN"), Column(f"{CONFIDENCE} interval"))
    return Table(f"Accuracy by step, n = {units.count(n)}", columns, rows)


def evaluate(report: EvaluateReport) -> list[Block]:
    """Describe an :class:`EvaluateReport`."""
    blocks: list[Block] = [
        Facts(f"Evaluated {report.label} at T={report.timesteps}", tuple(_headline(report)))
    ]
    if report.accuracy:
        blocks.append(_by_step(report.accuracy, report.samples))
    elif report.scores:
        blocks.append(_every_score(report))
    if report.early_exit:
        blocks.append(exits(report, report.early_exit))
    if report.layers:
        blocks.append(layer_table(report, details=False))
    if report.functions:
        blocks.append(function_table(report))
    return blocks


def _score(run: RunSummary, score: float | None, accuracy: float | None) -> str | None:
    """Return a run's score; its accuracy, in an older file."""
    return units.shown((run.headline or ACCURACY).shown, accuracy if score is None else score)


def report(done: ReportReport) -> list[Block]:
    """Describe a :class:`ReportReport`: one row for each evaluation, and where the pages are."""
    partial = any(run.non_spiking_share for run in done.runs)
    name = score_name(run.headline for run in done.runs)
    heads = (
        "T",
        "latency",
        "n",
        f"SNN {name}",
        CONFIDENCE,
        f"ANN {name}",
        "spikes/neuron/step",
        "SOPs",
        "energy",
        "of ANN's",
        "of twin's",
        NOT_SPIKING,
    )
    rows = tuple(
        (
            run.label,
            str(run.timesteps),
            units.shown(str, run.latency_steps),
            units.count(run.samples),
            _score(run, run.score, run.accuracy),
            units.shown(units.interval, run.accuracy_interval),
            _score(run, run.ann_score, run.ann_accuracy),
            None if run.firing_rate_mean is None else units.number(run.firing_rate_mean),
            None if run.sops_per_sample is None else units.si(run.sops_per_sample),
            None if run.energy_total_mj is None else units.energy(run.energy_total_mj),
            None
            if run.energy_total_mj is None or not run.energy_ann_mj
            else units.percent(run.energy_total_mj / run.energy_ann_mj),
            units.shown(units.percent, run.energy_twin_ratio),
            units.shown(units.percent, run.non_spiking_share if partial else None),
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
        Table(
            "Evaluations", columns, rows, note=f"{PAIR}{WITHOUT_SPIKES * partial}"
        ).without_empty(),
        *([tests] if done.differences else []),
        Facts("Written", pages),
    ]


def _predicted(done: PredictReport) -> list[Fact]:
    """Return how good the predictions are."""
    if done.accuracy is not None:
        return [Fact("accuracy", units.percent(done.accuracy), around(done.accuracy, done.samples))]
    if not done.scores:
        return [Fact(done.task, "no score: these samples have no labels")]
    named = [
        f"{name} {units.shown(units.number, v) or 'undefined'}" for name, v in done.scores.items()
    ]
    return [Fact(done.task, ", ".join(named))]


def predict(done: PredictReport) -> list[Block]:
    """Describe a :class:`PredictReport`: where the table is, and how often it is right."""
    facts = (
        Fact("data", done.data.spec),
        Fact("samples", drawn(done.subset, done.samples, done.split)),
        Fact("neuron", done.neuron, f"T = {done.timesteps}"),
        *latency(done.latency_steps),
        *_predicted(done),
        *closing(done),
    )
    return [Facts("Predicted", facts)]

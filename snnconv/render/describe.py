"""Each stage's report as facts and tables: what a terminal shows when the stage is done."""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from snnconv.core.uncertainty import FEW, interval
from snnconv.render import describe_more, describe_runs, units
from snnconv.render.compare import CONFIDENCE, last, powers, reached
from snnconv.render.labels import by_events, calibration, confidence, drawn
from snnconv.render.layers import layer_table
from snnconv.render.significance import against_ann, unjudged
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import (
    CalibrateReport,
    ConvertReport,
    DataUse,
    DoctorReport,
    EpochRow,
    EvaluateReport,
    FinetuneReport,
    InspectReport,
    ListReport,
    ReparameterizeReport,
    Report,
    ReportReport,
    RunReport,
    RunsReport,
    TrainReport,
)

EPOCHS_SHOWN = 8
_ORIGINS = {
    "fixed": "fixed for this data set",
    "measured": "measured on the training samples",
    "given": "as given",
    "weights": "of torchvision's weights",
    "checkpoint": "of the checkpoint",
}


def _data(data: DataUse) -> str:
    return (
        f"{data.spec}, {units.count(data.train_samples)} training and "
        f"{units.count(data.test_samples)} test samples"
    )


def _trained_on(report: TrainReport | FinetuneReport) -> list[Fact]:
    """The samples that were trained on, and those that validation accuracies are of."""
    return [
        Fact(name, drawn(subset, subset.samples))
        for name, subset in (("trained on", report.subset), ("validated on", report.held_out))
        if subset
    ]


def _closing(report: Report) -> list[Fact]:
    """Where the work went and how long it took."""
    facts = [Fact("written", each.path, each.sha256[:12]) for each in report.lineage.outputs]
    return [*facts, Fact("time", units.seconds(report.seconds))]


def _epochs(rows: Sequence[EpochRow], marked: int | None = None) -> Table:
    """The first and last epochs, and the one that was kept; a long list helps nobody."""
    shown = list(rows)
    if len(rows) > EPOCHS_SHOWN:
        half = EPOCHS_SHOWN // 2
        ends = {row.epoch for row in (*rows[:half], *rows[-half:])} | {marked}
        shown = [row for row in rows if row.epoch in ends]
    columns = ("epoch", "loss", "training", "validation", CONFIDENCE, "learning rate", "time")
    hidden = len(rows) - len(shown)
    return Table(
        "Epochs",
        tuple(Column(name, optional=name if name == CONFIDENCE else "") for name in columns),
        tuple(
            (
                str(row.epoch),
                units.number(row.loss),
                units.percent(row.train_accuracy),
                units.percent(row.accuracy),
                units.shown(units.interval, row.accuracy_interval),
                units.number(row.learning_rate),
                units.seconds(row.seconds),
            )
            for row in shown
        ),
        frozenset((i, 3) for i, row in enumerate(shown) if row.epoch == marked),
        f"{hidden} epochs in between are in the report's file" if hidden else "",
        "kept",
    ).without_empty()


def train(report: TrainReport) -> list[Block]:
    """Of a :class:`TrainReport`."""
    facts = [
        Fact("data", _data(report.data)),
        *_trained_on(report),
        Fact("parameters", units.count(report.parameters)),
        *describe_more.non_spiking(report),
        Fact(
            "test accuracy",
            units.percent(report.accuracy),
            f"after the last epoch, {_around(report.accuracy, report.data.test_samples)}",
        ),
    ]
    if report.levels:
        thetas = [units.number(theta) for theta in report.thresholds.values()]
        facts.append(Fact("activation", report.activation, f"{report.levels} levels"))
        facts.append(Fact("theta", ", ".join(thetas), "by site"))
    if report.neuron:
        facts.append(Fact("neuron", report.neuron, units.pairs(report.params)))
        facts.append(Fact("time steps T", str(report.timesteps)))
    if report.pools_averaged:
        facts.append(Fact("max made average pooling", ", ".join(report.pools_averaged)))
    facts += _closing(report)
    blocks: list[Block] = [Facts(f"Trained {report.model}", tuple(facts))]
    return [*blocks, _epochs(report.epochs)] if report.epochs else blocks


def _ann(report: CalibrateReport) -> list[Fact]:
    """How well the ANN does on the samples, and how they were normalised."""
    facts = []
    if report.ann_accuracy is not None:
        samples = f"on these {units.count(report.ann_samples or 0)} samples"
        facts.append(Fact("ANN accuracy", units.percent(report.ann_accuracy), samples))
    if use := report.normalisation:
        mean, std = (", ".join(units.compact(v) for v in each[:3]) for each in (use.mean, use.std))
        more = ", ..." if len(use.mean) > 3 else ""
        text = f"scale {units.compact(use.scale)}, mean {mean}{more}, std {std}{more}"
        facts.append(Fact("normalisation", text, _ORIGINS[use.origin]))
    return facts


def calibrate(report: CalibrateReport) -> list[Block]:
    """Of a :class:`CalibrateReport`."""
    method = f"{report.method} ({units.pairs(report.params)})" if report.params else report.method
    facts = [
        Fact("data", _data(report.data)),
        Fact("method", method, f"one threshold a {report.granularity}"),
        Fact("samples", drawn(report.subset, report.samples, "training")),
        *_ann(report),
        Fact("threshold error", units.percent(report.relative_error_bound), "at most; from bins"),
        *describe_more.non_spiking(report),
        *([describe_more.imported(report.imported)] if report.imported else []),
        *_closing(report),
    ]
    heads = ["theta", "largest", "mean", "zero", "clipped", "thresholds"]
    if report.sin_steps is not None:
        samples = f"IF neurons, {units.count(report.sin_samples or 0)} samples"
        facts.insert(-1, Fact("SIN after steps", str(report.sin_steps), samples))
        heads.append("SIN")
    sites = Table(
        "Sites",
        (Column("site", numeric=False), *(Column(name) for name in heads)),
        tuple(
            (
                site.name,
                units.number(site.threshold),
                units.number(site.max),
                units.number(site.mean),
                units.percent(site.zero_share),
                units.percent(site.clipped_share),
                str(site.channels),
                *([] if site.sin_ratio is None else [units.percent(site.sin_ratio)]),
            )
            for site in report.sites
        ),
    )
    return [Facts(f"Calibrated {len(report.sites)} sites", tuple(facts)), sites]


def convert(report: ConvertReport) -> list[Block]:
    """Of a :class:`ConvertReport`."""
    facts = [Fact("neuron", report.neuron, units.pairs(report.params))]
    facts.append(Fact("time steps T", str(report.timesteps)))
    facts += describe_more.non_spiking(report)
    for what, names, how in (
        ("max poolings", report.cumulative_pools, "on cumulated spikes"),
        ("analog functions", report.analog, "of the mean input so far, beside the spikes"),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            shown = f"{how}: {', '.join(names[:3])}{more}"
            facts.append(Fact(what, str(len(names)), shown))
    if report.dropped:
        facts.append(Fact("dropped", ", ".join(report.dropped), "argmax keeps its meaning"))
    keep = Table(
        "Spike confidence",
        (Column("site", numeric=False), Column("spikes kept")),
        tuple((name, units.percent(p)) for name, p in report.confidence.items()),
        note=f"in steps 1 to {report.early}",
    )
    blocks: list[Block] = [
        Facts(f"Converted {report.sites_converted} sites", (*facts, *_closing(report)))
    ]
    return [*blocks, keep] if report.confidence else blocks


def finetune(report: FinetuneReport) -> list[Block]:
    """Of a :class:`FinetuneReport`."""
    n = report.held_out.samples if report.held_out else 0
    kept = f"of epoch {report.epoch_best}" if report.epoch_best else "no epoch was better"
    if n >= FEW:
        kept += f"; {units.points(report.accuracy_best - report.accuracy_epoch0)} points"

    def measured(name: str, share: float, more: str = "") -> Fact:
        around = _around(share, n) if n else ""
        return Fact(name, units.percent(share), "; ".join(t for t in (more, around) if t))

    facts = [
        Fact("data", _data(report.data)),
        *_trained_on(report),
        measured("validation before", report.accuracy_epoch0),
        measured("validation kept", report.accuracy_best, kept),
        measured("validation at the end", report.accuracy_last),
        *describe_more.non_spiking(report),
        *_ways(report),
        *_closing(report),
    ]
    title = f"Fine-tuned {report.neuron} at T={report.timesteps}"
    blocks: list[Block] = [Facts(title, tuple(facts))]
    return [*blocks, _epochs(report.epochs, report.epoch_best)] if report.epochs else blocks


def _ways(report: EvaluateReport | FinetuneReport) -> list[Fact]:
    ways = by_events(report)
    return [Fact("by events", ways, f"--engine {report.config.get('engine')}")] if ways else []


def _energies(report: EvaluateReport) -> list[Fact]:
    facts = []
    passes = report.first_layer_passes or 1
    often = "once" if passes == 1 else f"{passes} times"
    for name, mj, ratio in (
        ("energy, synaptic", report.energy_synaptic_mj, report.energy_synaptic_ratio),
        (f"energy, first layer {often}", report.energy_total_mj, report.energy_total_ratio),
        (
            "energy, first layer each step",
            report.energy_total_every_step_mj,
            report.energy_total_every_step_ratio,
        ),
        ("energy, ANN", report.energy_ann_mj, None),
    ):
        if mj is not None:
            remark = "" if ratio is None else f"{units.percent(ratio)} of the ANN"
            facts.append(Fact(name, units.energy(mj), remark))
    return facts


def _headline(report: EvaluateReport) -> list[Fact]:
    at_end = last(report.accuracy)
    facts = [
        Fact("data", report.data.spec),
        Fact("samples", drawn(report.subset, report.samples, "test")),
        Fact("neuron", report.neuron, units.pairs(report.params)),
        Fact("thresholds", calibration(report) or "unknown"),
    ]
    if report.confidence:
        facts.append(Fact("spike confidence", confidence(report)))
    if report.ann_accuracy is not None:
        facts.append(_accuracy("ANN accuracy", report.ann_accuracy, report.samples))
    if at_end is not None:
        facts.append(_accuracy(f"SNN accuracy at T={report.timesteps}", at_end, report.samples))
    if found := against_ann(report):
        facts.append(Fact("against the ANN", *found.words()))
    if (report.latency_steps or 1) > 1:
        late = "steps until the first answer: neurons need later steps"
        facts.append(Fact("latency", str(report.latency_steps), late))
    steps = report.steps_to_ann or {} if not unjudged([report]) else {}
    for margin in sorted(steps, key=float, reverse=True):
        step = reached(report, margin) or ""
        facts.append(Fact(f"within {margin} points", step.replace("step", "first at step")))
    for name, value, how, remark in (
        ("same class as the ANN", last(report.agreement), units.percent, "at T"),
        ("logits' relative error", report.logits_relative_error, units.percent, "L2, at T"),
        ("firing rate", report.firing_rate_mean, units.number, "spikes per neuron and step"),
        ("spikes", report.spikes_per_sample, units.si, "per sample"),
        ("synaptic operations", report.sops_per_sample, units.si, "per sample"),
        ("MACs of the ANN", report.ann_macs_per_sample, units.si, "per sample"),
    ):
        if value is not None:
            facts.append(Fact(name, how(value), remark))
    facts += describe_more.non_spiking(report)
    facts += _energies(report)
    facts.append(Fact("simulation", units.seconds(report.seconds_per_sample), "per sample"))
    facts += _ways(report)
    facts.append(Fact("peak memory", units.memory(report.peak_memory_mib)))
    return facts


def _accuracy(name: str, share: float, n: int) -> Fact:
    """An accuracy with its interval and the number of samples."""
    return Fact(name, units.percent(share), _around(share, n))


def _around(share: float, n: int) -> str:
    """The interval and the number of samples."""
    bounds = units.shown(units.interval, interval(share, n))
    return (f"{bounds} % at 95 %, " if bounds else "") + f"n = {units.count(n)}"


def _by_step(accuracy: Sequence[float | None], n: int) -> Table:
    """Powers of two and T, where there is an answer."""
    steps = sorted({*powers(len(accuracy)), len(accuracy)})
    rows = tuple(
        (str(t), units.percent(share), units.shown(units.interval, interval(share, n)))
        for t in steps
        if (share := accuracy[t - 1]) is not None
    )
    columns = (Column("t", numeric=False), Column("SNN"), Column(f"{CONFIDENCE} interval"))
    return Table(f"Accuracy by step, n = {units.count(n)}", columns, rows)


def evaluate(report: EvaluateReport) -> list[Block]:
    """Of an :class:`EvaluateReport`."""
    blocks: list[Block] = [
        Facts(f"Evaluated {report.label} at T={report.timesteps}", tuple(_headline(report)))
    ]
    if report.accuracy:
        blocks.append(_by_step(report.accuracy, report.samples))
    if report.layers:
        blocks.append(layer_table(report, details=False))
    return blocks


_STAGES: dict[type[BaseModel], Callable[[Any], list[Block]]] = {
    TrainReport: train,
    CalibrateReport: calibrate,
    ConvertReport: convert,
    FinetuneReport: finetune,
    ReparameterizeReport: describe_more.reparameterize,
    EvaluateReport: evaluate,
    ReportReport: describe_more.report,
    InspectReport: describe_more.inspect,
    DoctorReport: describe_more.doctor,
    ListReport: describe_more.listing,
    RunsReport: describe_runs.runs,
    RunReport: describe_more.recipe,
}


def describe(report: BaseModel) -> list[Block] | None:
    """A report in blocks; none for a kind that has no description yet."""
    how = _STAGES.get(type(report))
    return how(report) if how else None

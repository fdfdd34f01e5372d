"""Stages that make a network, as facts and tables."""

from collections.abc import Sequence

from snnconv.core.scores import ACCURACY, Score
from snnconv.core.uncertainty import FEW, interval
from snnconv.render import units
from snnconv.render.compare import CONFIDENCE
from snnconv.render.describe.common import (
    around,
    closing,
    corrections,
    data,
    engine,
    latency,
    neuron,
    non_spiking,
    settings,
)
from snnconv.render.describe.search import searched
from snnconv.render.labels import drawn
from snnconv.render.tables import Block, Column, Fact, Facts, Table
from snnconv.reports import (
    ConvertReport,
    CorrectReport,
    EpochRow,
    ExportReport,
    FinetuneReport,
    PeerRow,
    ReparameterizeReport,
    TrainReport,
)

EPOCHS_SHOWN = 8


_HOW = {
    "derived": "found for this T and neuron",
    "as-calibrated": "as calibrated",
    "trained": "trained with the network",
}
_UNITS = {False: "points", True: "% better"}
"""What a gain is told in, of scores between 0 and 1 and of errors."""


def _trained_on(report: TrainReport | FinetuneReport) -> list[Fact]:
    """Return the samples that were trained on, and those of validation accuracies."""
    return [
        Fact(name, drawn(subset, subset.samples))
        for name, subset in (("trained on", report.subset), ("validated on", report.held_out))
        if subset
    ]


def _epochs(rows: Sequence[EpochRow], score: Score, marked: int | None = None) -> Table:
    """Return the first and last epochs, and the one that was kept."""
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
                units.shown(units.percent, row.train_accuracy),
                score.shown(row.measured),
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
    """Describe a :class:`TrainReport`."""
    facts = [
        Fact("data", data(report.data)),
        *_trained_on(report),
        Fact("parameters", units.count(report.parameters)),
        *non_spiking(report),
        _tested(report),
    ]
    if report.levels:
        thetas = [units.number(theta) for theta in report.thresholds.values()]
        facts.append(Fact("activation", report.activation, f"{report.levels} levels"))
        facts.append(Fact("theta", ", ".join(thetas), "by site"))
    if report.neuron:
        facts.append(Fact("neuron", report.neuron, units.pairs(report.params)))
        if report.norm:
            facts.append(Fact("norm", report.norm, "in place of BatchNorm"))
        facts.append(Fact("time steps T", str(report.timesteps)))
        facts += latency(report.latency_steps)
    if report.pools_averaged:
        facts.append(Fact("max made average pooling", ", ".join(report.pools_averaged)))
    facts += [*_training_step(report.epochs), *closing(report)]
    blocks: list[Block] = [Facts(f"Trained {report.model}", tuple(facts))]
    return (
        [*blocks, _epochs(report.epochs, report.headline or ACCURACY)] if report.epochs else blocks
    )


def _training_step(rows: Sequence[EpochRow]) -> list[Fact]:
    """Return what a training step takes, if its memory was asked for."""
    memory = [row.step_memory_mib for row in rows if row.step_memory_mib is not None]
    seconds = [row.step_seconds for row in rows if row.step_seconds is not None]
    if not memory or not seconds:
        return []
    text = f"of memory for its tensors; the fastest takes {units.seconds(min(seconds))}"
    return [Fact("training step", units.memory(min(memory)), text)]


def _tested(report: TrainReport) -> Fact:
    """Return the score on the test split."""
    n = report.data.test_samples
    if report.accuracy is None:
        score, value = report.headline or ACCURACY, report.score or 0.0
        text = f"after the last epoch, n = {units.count(n)}"
        return Fact(f"test {score.words}", score.shown(value), text)
    text = f"after the last epoch, {around(report.accuracy, n)}"
    return Fact("test accuracy", units.percent(report.accuracy), text)


def convert(report: ConvertReport) -> list[Block]:
    """Describe a :class:`ConvertReport`."""
    facts = neuron(report.neuron, report.params, report.coding)
    facts.append(Fact("time steps T", str(report.timesteps)))
    facts += latency(report.latency_steps)
    if report.thresholds:
        how, given = _HOW[report.thresholds], settings(report.threshold_params)
        text = f"{how}: {given}" if given else how
        facts.append(Fact("thresholds", report.threshold_method or "", text))
    facts += non_spiking(report)
    for what, names, how in (
        ("max poolings", report.cumulative_pools, "on cumulated spikes"),
        ("analog functions", report.analog, "of the mean input so far, without spikes"),
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
    if report.corrections:
        facts.append(Fact("corrections", corrections(report.corrections)))
    title = f"Converted {report.sites_converted} sites"
    blocks: list[Block] = [Facts(title, (*facts, *closing(report)))]
    if report.confidence:
        blocks.append(keep)
    return [*searched(report.search), *blocks] if report.search else blocks


def correct(report: CorrectReport) -> list[Block]:
    """Describe a :class:`CorrectReport`: what was added, and each site's means before and after."""
    facts = [Fact("method", report.method, units.pairs(report.params))]
    if report.samples is not None:
        facts.append(Fact("samples", drawn(report.subset, report.samples, "training")))
    facts += [
        Fact("neuron", report.neuron),
        Fact("time steps T", str(report.timesteps)),
        *latency(report.latency_steps),
        Fact(
            "numbers taken off" if report.removed else "numbers added",
            units.count(sum(report.parts.values())),
            ", ".join(f"{part} {units.count(number)}" for part, number in report.parts.items()),
        ),
        Fact("corrections now", corrections(report.corrections) or "none"),
        *non_spiking(report),
        *closing(report),
    ]
    sites = Table(
        "Mean output against the ANN's, the channel that is farthest off",
        (Column("site", numeric=False), Column("before"), Column("after")),
        tuple(
            (row.name, units.number(row.mean_error_before), units.number(row.mean_error_after))
            for row in report.sites
        ),
        note="in units of the activation, on these samples",
    )
    title = f"Took {report.method} off" if report.removed else f"Corrected by {report.method}"
    blocks: list[Block] = [Facts(title, tuple(facts))]
    return [*blocks, sites] if report.sites else blocks


def finetune(report: FinetuneReport) -> list[Block]:
    """Describe a :class:`FinetuneReport`."""
    n = report.held_out.samples if report.held_out else 0
    score = report.headline or ACCURACY
    before, best, last = (
        value if old is None else old
        for value, old in (
            (report.score_epoch0 or 0.0, report.accuracy_epoch0),
            (report.score_best or 0.0, report.accuracy_best),
            (report.score_last or 0.0, report.accuracy_last),
        )
    )
    kept = f"of epoch {report.epoch_best}" if report.epoch_best else "no epoch was better"
    if n >= FEW:
        ahead = score.ahead(best, before)
        kept += "" if ahead is None else f"; {units.points(ahead / 100)} {_UNITS[score.relative]}"
        if report.before_and_after:
            kept += f", {units.p_value(report.before_and_after.p)} (McNemar)"

    def measured(name: str, share: float, more: str = "") -> Fact:
        bounds = around(share, n) if n and score.outcome else f"n = {units.count(n)}" if n else ""
        return Fact(name, score.shown(share), "; ".join(t for t in (more, bounds) if t))

    of = "" if score == ACCURACY else f" {score.words}"
    facts = [
        Fact("data", data(report.data)),
        *_trained_on(report),
        measured(f"validation{of} before", before),
        measured(f"validation{of} kept", best, kept),
        measured(f"validation{of} at the end", last),
        *_further(report),
        *latency(report.latency_steps),
        *non_spiking(report),
        *engine(report),
        *_training_step(report.epochs),
        *closing(report),
    ]
    title = f"Fine-tuned {report.neuron} at T={report.timesteps}"
    blocks: list[Block] = [Facts(title, tuple(facts))]
    return [*blocks, _epochs(report.epochs, score, report.epoch_best)] if report.epochs else blocks


def _further(report: FinetuneReport) -> list[Fact]:
    """Return what was kept by scores that do not decide; a classifier needs its accuracy only."""
    found = []
    for kind in report.score_kinds[1:] if report.headline != ACCURACY else ():
        before, kept = (s.get(kind.name) for s in (report.scores_epoch0, report.scores_best))
        if before is not None and kept is not None:
            name = f"validation {kind.words} kept"
            found.append(Fact(name, kind.shown(kept), f"{kind.shown(before)} before"))
    return found


def export(done: ExportReport) -> list[Block]:
    """Describe an :class:`ExportReport`: what was written, and what its referee found."""
    apart = "bit for bit the same" if done.difference == 0 else units.number(done.difference)
    facts = [
        Fact("neuron", done.neuron, f"T = {done.timesteps}"),
        *latency(done.latency_steps),
        Fact("run by", done.referee, f"{done.steps} steps"),
        Fact("samples", drawn(done.subset, done.samples, "test")),
        Fact("logits apart", apart, "at most, after any step, of the largest logit"),
        Fact("same class", f"{done.classes_equal} of {done.samples}"),
    ]
    if done.spikes_compared:
        spikes = f"{units.count(done.spikes_differing or 0)} of {units.count(done.spikes_compared)}"
        facts.append(Fact("spikes that differ", spikes, "neurons and steps"))
    facts += [Fact("written", each.path, each.sha256[:12]) for each in done.lineage.outputs]
    facts.append(Fact("time", units.seconds(done.seconds)))
    blocks: list[Block] = [Facts(f"Exported to {done.format}", tuple(facts))]
    return [*blocks, _peers(done.peers)] if done.peers else blocks


def _peers(peers: Sequence[PeerRow]) -> Block:
    """Describe other programs that have run an exported file."""
    columns = (
        Column("program", numeric=False),
        Column("samples"),
        Column("same class"),
        Column("neurons with another count"),
        Column("why", numeric=False),
    )
    rows = tuple(
        (
            each.name,
            str(each.samples),
            units.shown(str, each.classes_equal),
            f"{units.count(each.counts_differing or 0)} of {units.count(each.counts_compared)}"
            if each.counts_compared
            else None,
            each.cause,
        )
        for each in peers
    )
    return Table("The file in other programs", columns, rows)


def reparameterize(done: ReparameterizeReport) -> list[Block]:
    """Describe a :class:`ReparameterizeReport`: the two networks side by side."""
    kind, test, (was, now) = done.headline or ACCURACY, done.before_and_after, done.measured
    ahead, p = kind.ahead(now, was), test.p if test else done.before_against_after
    shares = (was, now) if kind == ACCURACY else (None, None)
    bounds = [units.shown(units.interval, interval(share, done.samples)) for share in shares]
    both = Table(
        f"Reparameterized: {done.levels} levels to one",
        (Column("", numeric=False), Column("before"), Column("after"), Column("change")),
        (
            ("time steps T", str(done.timesteps_before), str(done.timesteps_after), None),
            (
                "latency, steps",
                units.shown(str, done.latency_steps_before),
                units.shown(str, done.latency_steps_after),
                None,
            ),
            (
                f"{kind.words}, {units.count(done.samples)} samples",
                kind.shown(was),
                kind.shown(now),
                None if ahead is None else f"{units.points(ahead / 100)} {kind.short_unit}",
            ),
            (f"{CONFIDENCE} interval", *bounds, units.shown(units.p_value, p)),
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

"""Several evaluations side by side: one row per quantity, and which run is best in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from snnconv.core.names import RATE
from snnconv.core.scores import ACCURACY
from snnconv.core.uncertainty import interval
from snnconv.render import units
from snnconv.render.labels import by_events, calibration, confidence, drawn, labels, parameters
from snnconv.render.significance import (
    Costs,
    cheapest,
    operations,
    same_samples,
    score_at,
    tested,
    total_energy,
    unjudged,
    winner,
)
from snnconv.render.tables import Cell, Column, Table
from snnconv.render.units import Measured, Number
from snnconv.reports import EvaluateReport

SAMPLES, CONFIDENCE = "Samples n", "95 %"
ENERGY = "Energy per sample (of the ANN's)"
ONCE = "MACs of analog functions, once"
OF_FUNCTIONS = {"analog_macs_once_per_sample", "analog_macs_per_sample", "function_share"}
TWIN = "Against the quantized twin"
NON_SPIKING, NON_SPIKING_OF = "MACs that do not spike", "of weights, behind the first layer"
FUNCTIONS = "operations of functions"
FUNCTIONS_OF = "of all the ANN's; they do not spike: products of activations, look-ups, additions"
POOLED, POOLED_IS = "SOPs, pooled", "what an average pooling gives is counted, not what it takes"
AHEAD = "SNN better than ANN, %"
CLOSE = 0.01
"""Energies are compared among runs whose score is this close to the best, or not at all."""
BOLD = (
    "Bold: better than every other run here by more than chance (p below 0.05). Accuracies are "
    "compared by McNemar's exact test; where a file lacks the outcomes by sample, their intervals "
    "must be apart. Operations and energies are compared by the paired t-test, only among runs "
    "within one point of the most accurate: a network that fails is cheap. Where a file lacks the "
    "operations by sample, none is bold."
)


@dataclass(frozen=True)
class Quantity:
    """One measured quantity of every run."""

    group: str
    name: str
    cells: tuple[Cell, ...]
    best: frozenset[int] = frozenset()
    hint: str = ""
    intervals: tuple[Cell, ...] = ()


def last(steps: Sequence[float | None] | None) -> float | None:
    """Return the value at T."""
    return steps[-1] if steps else None


def loss(report: EvaluateReport) -> float | None:
    """Return the score at T against the ANN's, in hundredths of the score's unit.

    It is negative if the conversion lost some.
    """
    at_end = last(report.by_step)
    if at_end is None or report.of_ann is None:
        return None
    ahead = report.decisive.ahead(at_end, report.of_ann)
    return None if ahead is None else ahead / 100


def pooling(report: EvaluateReport) -> bool:
    """Return whether averages stand behind spikes, so that operations are counted in two ways."""
    ours, pooled = report.sops_per_sample, report.sops_pooled_per_sample
    return ours is not None and pooled is not None and abs(ours - pooled) > 1e-9 * ours


def powers(timesteps: int) -> list[int]:
    """Return 1, 2, 4, ... up to T."""
    return [2**k for k in range(timesteps.bit_length()) if 2**k <= timesteps]


def comparable(evaluations: Sequence[EvaluateReport]) -> bool:
    """Return whether the runs were measured on the same samples."""
    pairs = combinations(evaluations, 2)
    return all(same_samples(one, other) for one, other in pairs)


def verdict(evaluations: Sequence[EvaluateReport]) -> str:
    """Return which run is the most accurate one at T, or why none is called so."""
    if len(evaluations) < 2 or all(score_at(run) is None for run in evaluations):
        return ""
    kinds = {run.decisive.name for run in evaluations}
    if len(kinds) > 1:
        return "The runs were measured by different scores, so none is called better."
    if not comparable(evaluations):
        return "The runs were measured on different samples, so none is called better."
    if why := unjudged(evaluations):
        return f"No run is called better than another: {why}."
    best, kind = winner(evaluations), evaluations[0].decisive
    better = "more accurate" if kind.name == ACCURACY.name else f"better by {kind.words}"
    if best is None:
        return f"No run is {better} at T than every other one by more than chance."
    name = labels(evaluations)[best]
    return f"\u201c{name}\u201d is {better} at T than every other run, by more than chance."


def differences(evaluations: Sequence[EvaluateReport]) -> Table | None:
    """Return every two runs on the same samples, tested against each other at T of each."""
    names, rows = labels(evaluations), []
    for i, j, test in tested(evaluations):
        alone, other = test.only_this_right, test.only_other_right
        points = units.points((alone - other) / evaluations[i].samples)
        p = units.p_value(test.p).removeprefix("p = ").removeprefix("p ")
        chance = Measured(p, Number(test.p))
        rows.append((names[i], names[j], points, str(alone), str(other), chance))
    heads = ("points", "right alone", "other alone", "p")
    columns = (Column("run", numeric=False), Column("other", numeric=False), *map(Column, heads))
    note = "p: how often chance makes two equally good networks differ as much (McNemar, exact)"
    return Table("Differences in accuracy at T", columns, tuple(rows), note=note) if rows else None


def field(name: str) -> Callable[[EvaluateReport], float | None]:
    """Return a function that reads a number of a report by its key."""

    def get(report: EvaluateReport) -> float | None:
        found: float | None = getattr(report, name)
        return found

    return get


class _Comparison:
    """Collects quantities; knows which runs may be called best in what."""

    def __init__(self, evaluations: Sequence[EvaluateReport]) -> None:
        self.evaluations = evaluations
        self.same_data = comparable(evaluations)
        judged = self.same_data and not unjudged(evaluations)
        self.kind = evaluations[0].decisive if evaluations else ACCURACY
        reached = [score_at(run) if run.decisive == self.kind else None for run in evaluations]
        known = [value for value in reached if value is not None]
        top = (max if self.kind.higher else min)(known, default=0.0)
        self.accurate = [
            judged and v is not None and self.kind.within(v, top, 100 * CLOSE) for v in reached
        ]
        self.found: list[Quantity] = []

    def add(
        self,
        group: str,
        name: str,
        get: Callable[[EvaluateReport], float | None],
        show: Callable[[float], str],
        costs: Callable[[EvaluateReport], Costs] | None = None,
        hint: str = "",
    ) -> None:
        """Add a number of every run; with ``costs`` mark the least of an accurate run."""
        values = [get(report) for report in self.evaluations]
        marked = self.least(costs)
        self.text(group, name, [units.shown(show, v) for v in values], marked, hint)

    def least(self, costs: Callable[[EvaluateReport], Costs] | None) -> frozenset[int]:
        """Return the accurate run that costs least, by more than chance."""
        if costs is None or not any(self.accurate):
            return frozenset()
        return cheapest(self.evaluations, costs, self.accurate)

    def accuracy(
        self,
        name: str,
        get: Callable[[EvaluateReport], float | None],
        best: int | None = None,
        error: Callable[[EvaluateReport], float | None] = lambda run: None,
    ) -> None:
        """Add the score that decides of every run, with its interval or two standard errors."""
        runs, kind = self.evaluations, self.kind
        values = [get(run) if run.decisive == kind else None for run in runs]
        pairs = zip(values, runs, strict=True)
        bounds = [
            units.shown(units.interval, interval(v, run.samples))
            if kind.outcome
            else units.shown(partial(units.two_errors, kind), error(run))
            for v, run in pairs
        ]
        self.text(
            kind.title,
            name,
            [units.shown(partial(units.score, kind), v) for v in values],
            frozenset() if best is None or not self.same_data else frozenset((best,)),
            intervals=bounds,
        )

    def text(
        self,
        group: str,
        name: str,
        cells: Sequence[Cell],
        best: frozenset[int] = frozenset(),
        hint: str = "",
        intervals: Sequence[Cell] = (),
    ) -> None:
        """Add ready cells; leave out a row in which nothing was measured."""
        if any(cell is not None for cell in cells):
            self.found.append(Quantity(group, name, tuple(cells), best, hint, tuple(intervals)))


def _setup(rows: _Comparison) -> None:
    runs = rows.evaluations
    rows.text("Setup", "Neuron", [run.neuron for run in runs])
    rows.text("Setup", "Parameters", [parameters(run, runs) or None for run in runs])
    rows.text("Setup", "Thresholds", [calibration(run) or None for run in runs])
    if any(run.coding != RATE for run in runs):
        rows.text("Setup", "Coding", [run.coding for run in runs])
    if any(run.confidence for run in runs):
        rows.text("Setup", "Spike confidence", [confidence(run) for run in runs])
    rows.text("Setup", "Time steps T", [str(run.timesteps) for run in runs])
    latencies = [units.shown(str, run.latency_steps) for run in runs]
    rows.text("Setup", "Latency, steps", latencies, hint="until the answer at T")
    if not rows.same_data:
        rows.text("Setup", "Data", [_data(run) for run in runs])


def _data(run: EvaluateReport) -> str:
    return f"{run.data.spec}, {drawn(run.subset, run.samples)}"


def reached(run: EvaluateReport, margin: str) -> Cell:
    """Return the first step whose accuracy is this close to the ANN's."""
    steps = run.steps_to_ann or {}
    if margin not in steps:
        return None
    step = steps[margin]
    return "not reached" if step is None else Measured(f"step {step}", Number(step))


def _accuracy(rows: _Comparison) -> None:
    runs, group, unit = rows.evaluations, rows.kind.title, rows.kind.unit
    if any(run.by_step or run.of_ann is not None for run in runs):
        rows.text(group, SAMPLES, [units.count(run.samples) for run in runs])
    rows.accuracy(
        "ANN",
        lambda run: None if run.task == "none" else run.of_ann,
        error=lambda run: run.ann_headline_error,
    )
    rows.accuracy(
        "SNN at T", score_at, winner(runs), lambda run: run.headline_errors.get(run.timesteps)
    )
    rows.add(group, f"SNN minus ANN, {unit}" if unit == "points" else AHEAD, loss, units.points)
    tests = [run.against_ann.p if run.against_ann else run.headline_against_ann for run in runs]
    cells = [units.shown(units.p_value, p) for p in tests]
    how = "McNemar's exact test, at T" if rows.kind.outcome else "paired t-test, at T"
    rows.text(group, "Against the ANN", cells, hint=how)
    longest = max((len(run.by_step) for run in runs), default=0)
    for t in powers(longest):
        at_t = partial(score_at, t=t), winner(runs, t), partial(_error_at, t=t)
        rows.accuracy(f"SNN at t = {t}", *at_t)
    margins = {m for run in rows.evaluations for m in run.steps_to_ann or {}}
    for margin in sorted(margins, key=float, reverse=True):
        rows.text(
            group,
            f"First within {margin} {'points' if unit == 'points' else '%'} of the ANN",
            [reached(run, margin) for run in rows.evaluations],
        )
    rows.add(group, "Same class as the ANN at T", lambda run: last(run.agreement), units.percent)
    rows.add(
        group,
        "Relative error of the logits",
        lambda run: run.logits_relative_error,
        units.percent,
        hint="L2, logits averaged over T steps against the ANN's",
    )


def _error_at(run: EvaluateReport, t: int) -> float | None:
    return run.headline_errors.get(t)


def _cost(rows: _Comparison) -> None:
    sample = "per sample, in T steps"
    for name, key, show, costs, hint in (
        ("Firing rate", "firing_rate_mean", units.number, None, "spikes per neuron and step"),
        ("Spikes", "spikes_per_sample", units.si, None, sample),
        ("Synaptic operations (SOPs)", "sops_per_sample", units.si, operations, sample),
        (POOLED, "sops_pooled_per_sample", units.si, None, POOLED_IS),
        ("Events", "events_per_sample", units.si, None, "outputs that are not zero"),
        ("MACs of the first layer, once", "first_layer_macs_per_sample", units.si, None, ""),
        (ONCE, "analog_macs_once_per_sample", units.si, None, "in the row above"),
        ("MACs of analog layers, each step", "analog_macs_per_sample", units.si, None, ""),
        (NON_SPIKING, "non_spiking_share", units.percent, None, NON_SPIKING_OF),
        (FUNCTIONS.capitalize(), "function_share", units.percent, None, FUNCTIONS_OF),
        ("MACs of the ANN", "ann_macs_per_sample", units.si, None, "with padding counted"),
        ("MACs of the ANN, exact", "ann_macs_exact_per_sample", units.si, None, "without padding"),
    ):
        # most networks have no functions, and need no rows of zeros
        if key not in OF_FUNCTIONS or any(map(field(key), rows.evaluations)):
            rows.add("Spikes", name, field(key), show, costs, hint)
    for name, key, costs in (
        ("Synaptic", "energy_synaptic", None),
        ("With the first layer, once", "energy_total", total_energy),
        ("With the first layer, each step", "energy_total_every_step", None),
        ("With memory", "energy_memory", None),
    ):
        spent = [field(f"{key}_mj")(run) for run in rows.evaluations]
        ratios = [field(f"{key}_ratio")(run) for run in rows.evaluations]
        cells = [units.energy_of_ann(mj, ratio) for mj, ratio in zip(spent, ratios, strict=True)]
        rows.text(ENERGY, name, cells, rows.least(costs))
    for name, key, hint in (
        ("Functions, at every step", "energy_functions_mj", "in the rows with the first layer"),
        ("Functions, where an input changed", "energy_functions_changed_mj", ""),
        ("Functions of the ANN", "energy_ann_functions_mj", "in the row below"),
    ):
        rows.add(ENERGY, name, field(key), units.energy, hint=hint)
    rows.add(ENERGY, "ANN", field("energy_ann_mj"), units.energy)
    rows.add(ENERGY, "ANN with memory", field("energy_memory_ann_mj"), units.energy)
    for name, key, shown_as in (
        ("Accuracy of the twin", "twin_accuracy", units.percent),
        ("Bits of its activations", "twin_bits", units.value),
        ("Energy of the twin", "energy_twin_mj", units.energy),
        ("Energy of the SNN", "energy_twin_snn_mj", units.energy),
        ("SNN / twin", "energy_twin_ratio", units.percent),
    ):
        rows.add(TWIN, name, field(key), shown_as)
    rows.add("Simulation", "Time per sample", lambda run: run.seconds_per_sample, units.seconds)
    rows.add("Simulation", "Peak memory", lambda run: run.peak_memory_mib, units.memory)
    rows.text("Simulation", "By events", [by_events(run) for run in rows.evaluations])


def _extra(rows: _Comparison) -> None:
    """Add numbers that metrics outside this package add, under the names they gave."""
    names = dict.fromkeys(key for run in rows.evaluations for key in run.model_extra or {})
    for name in names:
        values = [(run.model_extra or {}).get(name) for run in rows.evaluations]
        if all(isinstance(v, int | float | str | None) for v in values):
            rows.text("Further", name, [units.shown(units.value, v) for v in values])


def quantities(evaluations: Sequence[EvaluateReport]) -> list[Quantity]:
    """Return everything there is to compare, in the order in which it is read."""
    rows = _Comparison(evaluations)
    for part in (_setup, _accuracy, _cost, _extra):
        part(rows)
    return rows.found


def comparison(evaluations: Sequence[EvaluateReport]) -> Table:
    """Return one row per run, with what decides between them."""
    longest = max((len(run.by_step) for run in evaluations), default=0)
    group = evaluations[0].decisive.title if evaluations else ACCURACY.title
    heads = {
        ("Setup", "Time steps T"): "T",
        (group, SAMPLES): "n",
        (group, "ANN"): "ANN",
        **{(group, f"SNN at t = {t}"): f"t={t}" for t in powers(longest)[-5:]},
        (group, "SNN at T"): "at T",
        ("Spikes", "Firing rate"): "rate",
        ("Spikes", "Synaptic operations (SOPs)"): "SOPs",
        (ENERGY, "With the first layer, once"): "energy",
        (TWIN, "SNN / twin"): "of twin's",
    }
    found = {(quantity.group, quantity.name): quantity for quantity in quantities(evaluations)}
    chosen = [(head, found[key]) for key, head in heads.items() if key in found]
    for head, bounds in (("ANN", f"ANN {CONFIDENCE}"), ("at T", CONFIDENCE)):
        place = next((c for c, (name, _) in enumerate(chosen) if name == head), None)
        if place is not None and any(chosen[place][1].intervals):
            quantity = chosen[place][1]
            intervals = Quantity(quantity.group, bounds, quantity.intervals)
            chosen.insert(place + 1, (bounds, intervals))
    rows = tuple(
        (label, *(quantity.cells[i] for _, quantity in chosen))
        for i, label in enumerate(labels(evaluations))
    )
    best = frozenset((r, c + 1) for c, (_, quantity) in enumerate(chosen) for r in quantity.best)
    needed = ("T", "n", "ANN", "at T", "energy")
    columns = (
        Column("run", numeric=False),
        *(Column(head, optional="" if head in needed else head) for head, _ in chosen),
    )
    by = "" if group == ACCURACY.title else f"at T, t=: {evaluations[0].decisive.words}; "
    note = by + "energy: with the first layer once, or once a frame; in brackets, of the ANN's"
    measured = any(head == "energy" for head, _ in chosen)
    if any(head == "of twin's" for head, _ in chosen):
        note += (
            "; of twin's: of the energy of the same network with quantized activations, by its own "
            "convention"
        )
    said = [verdict(evaluations), note if measured else ""]
    return Table("Comparison", columns, rows, best, "\n".join(text for text in said if text))

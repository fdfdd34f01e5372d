"""Several evaluations side by side: one row per quantity, and which run is best in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snnconv.render import units
from snnconv.render.naming import by_events, calibration, confidence, drawn, labels, parameters
from snnconv.render.tables import Cell, Column, Table
from snnconv.reports import EvaluateReport

ENERGY = "Energy per sample (of the ANN's)"
ONCE = "MACs of analog functions, once"
NON_SPIKING, NON_SPIKING_OF = "MACs that do not spike", "behind the first layer, and all functions"
CLOSE = 0.01
"""Energies are compared among runs whose accuracy is this close to the best, or not at all."""


BOLD = (
    "Bold: best of these runs. Operations and energies are compared only among runs within one "
    "point of the most accurate: a network that fails is cheap."
)


@dataclass(frozen=True)
class Quantity:
    """One measured quantity of every run."""

    group: str
    name: str
    cells: tuple[Cell, ...]
    best: frozenset[int] = frozenset()
    hint: str = ""


def with_ratio(mj: float | None, ratio: float | None) -> Cell:
    """An energy with its share of the ANN's."""
    if mj is None or ratio is None:
        return units.shown(units.energy, mj)
    return f"{units.energy(mj)} ({100 * ratio:.1f}%)"


def last(steps: Sequence[float] | None) -> float | None:
    """The value at T."""
    return steps[-1] if steps else None


def loss(report: EvaluateReport) -> float | None:
    """Accuracy at T minus the ANN's; negative where the conversion lost."""
    at_end = last(report.accuracy)
    if at_end is None or report.ann_accuracy is None:
        return None
    return at_end - report.ann_accuracy


def powers(timesteps: int) -> list[int]:
    """1, 2, 4, ... up to T."""
    return [2**k for k in range(timesteps.bit_length()) if 2**k <= timesteps]


def comparable(evaluations: Sequence[EvaluateReport]) -> bool:
    """Whether the runs were measured on the same samples."""
    return len({_samples(report) for report in evaluations}) <= 1


def _samples(report: EvaluateReport) -> tuple[str, int, str | None]:
    """Equal for runs on the same samples; reports of older versions do not say which."""
    return report.data.spec, report.samples, report.subset.sha256 if report.subset else None


def best_of(
    values: Sequence[float | None], largest: bool, eligible: Sequence[bool]
) -> frozenset[int]:
    """Where the best value stands; nowhere if fewer than two compete or all are equal."""
    competing = {
        i: v
        for i, (v, able) in enumerate(zip(values, eligible, strict=True))
        if able and v is not None
    }
    if len(set(competing.values())) < 2:
        return frozenset()
    top = (max if largest else min)(competing.values())
    return frozenset(i for i, v in competing.items() if v == top)


def field(name: str) -> Callable[[EvaluateReport], float | None]:
    """Reads a number of a report by its key."""

    def get(report: EvaluateReport) -> float | None:
        found: float | None = getattr(report, name)
        return found

    return get


class _Comparison:
    """Collects quantities; knows which runs may be called best in what."""

    def __init__(self, evaluations: Sequence[EvaluateReport]) -> None:
        self.evaluations = evaluations
        self.same_data = [comparable(evaluations)] * len(evaluations)
        reached = [last(report.accuracy) for report in evaluations]
        top = max((value for value in reached if value is not None), default=0.0)
        self.accurate = [
            same and value is not None and value >= top - CLOSE
            for same, value in zip(self.same_data, reached, strict=True)
        ]
        self.found: list[Quantity] = []

    def add(
        self,
        group: str,
        name: str,
        get: Callable[[EvaluateReport], float | None],
        show: Callable[[float], str],
        best: str = "",
        hint: str = "",
    ) -> None:
        """A number of every run; ``best`` is "most", "least", "least if accurate" or nothing."""
        values = [get(report) for report in self.evaluations]
        eligible = self.accurate if best.endswith("accurate") else self.same_data
        marked = best_of(values, best == "most", eligible) if best else frozenset()
        self.text(group, name, [units.shown(show, v) for v in values], marked, hint)

    def text(
        self,
        group: str,
        name: str,
        cells: Sequence[Cell],
        best: frozenset[int] = frozenset(),
        hint: str = "",
    ) -> None:
        """Ready cells; a row in which nothing was measured is left out."""
        if any(cell is not None for cell in cells):
            self.found.append(Quantity(group, name, tuple(cells), best, hint))


def _setup(rows: _Comparison) -> None:
    runs = rows.evaluations
    rows.text("Setup", "Neuron", [run.neuron for run in runs])
    rows.text("Setup", "Parameters", [parameters(run, runs) or None for run in runs])
    rows.text("Setup", "Thresholds", [calibration(run) or None for run in runs])
    if any(run.confidence for run in runs):
        rows.text("Setup", "Spike confidence", [confidence(run) for run in runs])
    rows.text("Setup", "Time steps T", [str(run.timesteps) for run in runs])
    if not all(rows.same_data):
        rows.text("Setup", "Data", [_data(run) for run in runs])


def _data(run: EvaluateReport) -> str:
    return f"{run.data.spec}, {drawn(run.subset, run.samples)}"


def reached(run: EvaluateReport, margin: str) -> Cell:
    """The first step whose accuracy is this close to the ANN's."""
    steps = run.steps_to_ann or {}
    if margin not in steps:
        return None
    step = steps[margin]
    return "not reached" if step is None else f"step {step}"


def _accuracy(rows: _Comparison) -> None:
    rows.add("Accuracy", "ANN", lambda run: run.ann_accuracy, units.percent)
    rows.add("Accuracy", "SNN at T", lambda run: last(run.accuracy), units.percent, "most")
    rows.add("Accuracy", "SNN minus ANN, points", loss, units.points, "most")
    longest = max((len(run.accuracy or []) for run in rows.evaluations), default=0)
    for t in powers(longest):

        def at(run: EvaluateReport, t: int = t) -> float | None:
            steps = run.accuracy or []
            return steps[t - 1] if t <= len(steps) else None

        rows.add("Accuracy", f"SNN at t = {t}", at, units.percent, "most")
    margins = {m for run in rows.evaluations for m in run.steps_to_ann or {}}
    for margin in sorted(margins, key=float, reverse=True):
        steps = [(run.steps_to_ann or {}).get(margin) for run in rows.evaluations]
        rows.text(
            "Accuracy",
            f"First within {margin} points of the ANN",
            [reached(run, margin) for run in rows.evaluations],
            best_of(steps, False, rows.same_data),
        )
    rows.add(
        "Accuracy", "Same class as the ANN at T", lambda run: last(run.agreement), units.percent
    )
    rows.add(
        "Accuracy",
        "Relative error of the logits",
        lambda run: run.logits_relative_error,
        units.percent,
        hint="L2, logits averaged over T steps against the ANN's",
    )


def _cost(rows: _Comparison) -> None:
    least, sample = "least if accurate", "per sample, in T steps"
    for name, key, show, best, hint in (
        ("Firing rate", "firing_rate_mean", units.number, "", "spikes per neuron and step"),
        ("Spikes", "spikes_per_sample", units.si, "", sample),
        ("Synaptic operations (SOPs)", "sops_per_sample", units.si, least, sample),
        ("MACs of the first layer, once", "first_layer_macs_per_sample", units.si, "", ""),
        (ONCE, "analog_macs_once_per_sample", units.si, "", "in the row above"),
        ("MACs of analog layers, each step", "analog_macs_per_sample", units.si, "", ""),
        (NON_SPIKING, "non_spiking_share", units.percent, "", NON_SPIKING_OF),
        ("MACs of the ANN", "ann_macs_per_sample", units.si, "", "with padding counted"),
        ("MACs of the ANN, exact", "ann_macs_exact_per_sample", units.si, "", "without padding"),
    ):
        rows.add("Spikes", name, field(key), show, best, hint)
    for name, key, best in (
        ("Synaptic", "energy_synaptic", ""),
        ("With the first layer, once", "energy_total", least),
        ("With the first layer, each step", "energy_total_every_step", ""),
    ):
        spent = [field(f"{key}_mj")(run) for run in rows.evaluations]
        ratios = [field(f"{key}_ratio")(run) for run in rows.evaluations]
        cells = [with_ratio(mj, ratio) for mj, ratio in zip(spent, ratios, strict=True)]
        marked = best_of(spent, False, rows.accurate) if best else frozenset()
        rows.text(ENERGY, name, cells, marked)
    rows.add(ENERGY, "ANN", field("energy_ann_mj"), units.energy)
    rows.add("Simulation", "Time per sample", lambda run: run.seconds_per_sample, units.seconds)
    rows.add("Simulation", "Peak memory", lambda run: run.peak_memory_mib, units.memory)
    rows.text("Simulation", "By events", [by_events(run) for run in rows.evaluations])


def _extra(rows: _Comparison) -> None:
    """Numbers that metrics outside this package add, under the names they gave."""
    names = dict.fromkeys(key for run in rows.evaluations for key in run.model_extra or {})
    for name in names:
        values = [(run.model_extra or {}).get(name) for run in rows.evaluations]
        if all(isinstance(v, int | float | str | None) for v in values):
            rows.text("Further", name, [units.shown(units.value, v) for v in values])


def quantities(evaluations: Sequence[EvaluateReport]) -> list[Quantity]:
    """Everything there is to compare, in the order in which it is read."""
    rows = _Comparison(evaluations)
    for part in (_setup, _accuracy, _cost, _extra):
        part(rows)
    return rows.found


def comparison(evaluations: Sequence[EvaluateReport]) -> Table:
    """One row per run, with what decides between them."""
    longest = max((len(run.accuracy or []) for run in evaluations), default=0)
    heads = {
        ("Setup", "Time steps T"): "T",
        ("Accuracy", "ANN"): "ANN",
        **{("Accuracy", f"SNN at t = {t}"): f"t={t}" for t in powers(longest)[-5:]},
        ("Accuracy", "SNN at T"): "at T",
        ("Spikes", "Firing rate"): "rate",
        ("Spikes", "Synaptic operations (SOPs)"): "SOPs",
        (ENERGY, "With the first layer, once"): "energy",
    }
    found = {(quantity.group, quantity.name): quantity for quantity in quantities(evaluations)}
    chosen = [(head, found[key]) for key, head in heads.items() if key in found]
    rows = tuple(
        (label, *(quantity.cells[i] for _, quantity in chosen))
        for i, label in enumerate(labels(evaluations))
    )
    best = frozenset((r, c + 1) for c, (_, quantity) in enumerate(chosen) for r in quantity.best)
    columns = (
        Column("run", numeric=False),
        *(Column(head, optional=head if head.startswith("t=") else "") for head, _ in chosen),
    )
    note = "energy: with the first layer once, or once a frame; in brackets, of the ANN's"
    measured = any(head == "energy" for head, _ in chosen)
    return Table("Comparison", columns, rows, best, note if measured else "")

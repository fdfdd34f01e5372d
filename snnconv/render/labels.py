"""What runs are called: short, and different where the runs are."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from snnconv.render import units
from snnconv.reports import EvaluateReport, FinetuneReport, SubsetUse

FEW = 3
"""Parameters named where there is little room; the provenance has them all."""


def calibration(run: EvaluateReport) -> str:
    """Return how thresholds were found: ``percentile 99.9, per layer, 1024 samples``."""
    rest = dict(run.calibration)
    method = str(rest.pop("method", ""))
    params = rest.pop("params", None)
    params = dict(params) if isinstance(params, dict) else {}
    if method in params:
        method = f"{method} {units.value(params.pop(method))}"
    said = [method, units.pairs(params)]
    if "granularity" in rest:
        said.append(f"per {units.value(rest.pop('granularity'))}")
    if samples := rest.pop("samples", None):  # none where thresholds were given
        said.append(f"{units.value(samples)} samples")
    return ", ".join(text for text in (*said, units.pairs(rest)) if text)


def drawn(subset: SubsetUse | None, count: int, kind: str = "") -> str:
    """Return which samples of a split: ``100 of 355 test samples, stratified, seed 0``."""
    what = f"{kind} samples" if kind else "samples"
    if subset is None:  # an older report, which does not say
        return f"{units.count(count)} {what}"
    if subset.how == "all":
        return f"all {units.count(count)} {what}"
    of = units.count(subset.of)
    return f"{units.count(count)} of {of} {what}, {subset.how}, seed {subset.seed}"


def confidence(run: EvaluateReport) -> str:
    """Return where spike confidence acts, and for how long."""
    if not run.confidence:
        return "off"
    sites = "1 site" if len(run.confidence) == 1 else f"{len(run.confidence)} sites"
    return f"{sites}, steps 1..{run.early}"


def parameters(run: EvaluateReport, others: Sequence[EvaluateReport] = ()) -> str:
    """Return the neuron's parameters: those that differ among its runs, else a few.

    A preset comes first, because it stands for the others.
    """
    same = [each.params for each in others if each.neuron == run.neuron]
    differing = {k: v for k, v in run.params.items() if any(p.get(k) != v for p in same)}
    if differing:
        return units.pairs(differing)
    ordered = sorted(run.params.items(), key=lambda item: item[0] != "preset")
    shown = dict(ordered[:FEW])
    more = len(run.params) - len(shown)
    return units.pairs(shown) + (f" and {more} more" if more else "")


def thresholds(run: EvaluateReport, others: Sequence[EvaluateReport]) -> str:
    """Return how the calibration differs from that of other runs: ``max``, ``samples=512``."""

    def flat(report: EvaluateReport) -> dict[str, object]:
        rest = dict(report.calibration)
        params = rest.pop("params", None)
        return (params if isinstance(params, dict) else {}) | rest

    own = flat(run)
    differing = {k: v for k, v in own.items() if any(flat(o).get(k) != v for o in others)}
    return str(own["method"]) if "method" in differing else units.pairs(differing)


def past(run: EvaluateReport, others: Sequence[EvaluateReport]) -> str:
    """Return the options of earlier stages that differ among runs: ``epochs=5, lr=0.1``."""
    options = [
        {name: value for step in each.history for name, value in step.config.items()}
        for each in (run, *others)
    ]
    differing = {
        name: value
        for name, value in options[0].items()
        if any(name in other and other[name] != value for other in options[1:])
    }
    return units.pairs(dict(list(differing.items())[:FEW]))


_DIFFERENCES: tuple[Callable[[EvaluateReport, Sequence[EvaluateReport]], str], ...] = (
    lambda run, others: run.model,
    lambda run, others: f"T = {run.timesteps}",
    parameters,
    thresholds,
    lambda run, others: f"confidence {confidence(run)}",
    lambda run, others: run.data.spec,
    lambda run, others: f"n = {run.samples}",
    past,
    lambda run, others: f"seed {run.seed}",
    lambda run, others: Path(str(run.config.get("checkpoint") or "")).name,
)
"""What may tell runs of one label apart, the most telling first."""


def labels(evaluations: Sequence[EvaluateReport]) -> list[str]:
    """Return a label for each run. Equal ones say in what the runs differ, or get a number."""
    found = [units.printable(run.label).strip() or run.neuron for run in evaluations]
    for difference in _DIFFERENCES:
        counted = Counter(found)
        for label in [label for label, n in counted.items() if n > 1]:
            same = [i for i, each in enumerate(found) if each == label]
            runs = [evaluations[i] for i in same]
            said = [units.printable(difference(run, runs)) for run in runs]
            if len(set(said)) > 1:
                for i, text in zip(same, said, strict=True):
                    found[i] = f"{label}, {text}" if text else label
    return _numbered(found)


def _numbered(found: Sequence[str]) -> list[str]:
    counted, used = Counter(found), Counter[str]()
    unique = []
    for label in found:
        used[label] += 1
        unique.append(f"{label} ({used[label]})" if counted[label] > 1 else label)
    return unique


def by_events(report: EvaluateReport | FinetuneReport) -> str | None:
    """Return how many layers went by events; None if nothing says so."""
    ways = [way for way in report.engine.values() if way != "once"]
    return f"{ways.count('event')} of {len(ways)} layers" if ways else None

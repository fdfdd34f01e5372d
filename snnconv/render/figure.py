"""A figure: a plot that waits for its width, and its caption; or a sentence in its place."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from snnconv.core.uncertainty import interval
from snnconv.render import compare, labels, units
from snnconv.render.svg.plot import Axis, Point
from snnconv.render.svg.scale import Scale, log
from snnconv.render.svg.styles import Style, run_style
from snnconv.reports import EvaluateReport

Draw = Callable[[str, float], str]
"""Name (unique in the page) and width in, SVG out."""

FEW = 3
"""Runs whose intervals stand in a caption."""
WIDTHS = (352, 592)
"""Every plot is drawn for a narrow and a wide window, so its text has one size everywhere."""
MANY = 48
"""Rows or panels of a plot, above which it is one click away: some networks have hundreds."""
WIDE = (*WIDTHS, 1232)
"""Plots that use the whole width of a wide page."""


@dataclass(frozen=True)
class Figure:
    """A plot with its title and the sentence on how it was counted.

    Without ``draw`` the caption says why there is no plot, and ``command`` how to get it.
    """

    name: str
    title: str
    caption: str
    draw: Draw | None = None
    whole_width: bool = False
    folded: bool = False
    command: str = ""

    def drawings(self) -> list[tuple[int, str]]:
        """Return the plot at each width."""
        if self.draw is None:
            return []
        widths = WIDE if self.whole_width else WIDTHS
        return [(width, self.draw(f"{self.name}-{width}", width)) for width in widths]


@dataclass(frozen=True)
class Run:
    """An evaluation with its place in the page."""

    label: str
    style: Style
    report: EvaluateReport


def runs(evaluations: Sequence[EvaluateReport]) -> list[Run]:
    """Return evaluations with labels that tell them apart, and a style for each."""
    names = labels.labels(evaluations)
    return [
        Run(name, run_style(i), report)
        for i, (name, report) in enumerate(zip(names, evaluations, strict=True))
    ]


def absent(name: str, title: str, what: str, metric: str, everybody: Sequence[Run] = ()) -> Figure:
    """Return a sentence instead of a plot, which says how to get the plot.

    With ``everybody`` it is one that compares with the ANN, which a network may not have.
    """
    if everybody and all(run.report.trained_directly for run in everybody):
        reason = "the network was trained with its neurons, so there is no ANN to compare with."
        return Figure(name, title, f"Not shown: {reason}")
    reason = f"Not shown: {what} was not measured:"
    return Figure(name, title, reason, command=f"snnconv evaluate --metric {metric}")


def quoted(labels: Sequence[str]) -> str:
    """Return labels in a row, in quotes because they have commas themselves."""
    return ", ".join(f"\u201c{label}\u201d" for label in labels)


def together(labels: Sequence[str]) -> str:
    """Return a short name for runs that share something, for a legend."""
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def without(everybody: Sequence[Run], shown: Sequence[Run], of_ann: bool = False) -> str:
    """Return a sentence on the runs a plot lacks; ``of_ann`` where it compares with the ANN."""
    missing = [run for run in everybody if run not in shown]
    alone = [run.label for run in missing if of_ann and run.report.trained_directly]
    rest = [run.label for run in missing if run.label not in alone]
    said = f" Not measured: {quoted(rest)}." if rest else ""
    return f"{said} Without an ANN: {quoted(alone)}." if alone else said


def coincident(lines: Iterable[tuple[str, Hashable]]) -> str:
    """Return a sentence on runs whose values are all equal: a plot shows them as one."""
    same: dict[Hashable, list[str]] = {}
    for label, values in lines:
        same.setdefault(values, []).append(label)
    return "".join(
        f" {quoted(names[1:])} {'lies' if len(names) == 2 else 'lie'} exactly on "
        f"{quoted(names[:1])}."
        for names in same.values()
        if len(names) > 1
    )


def steps_axis(timesteps: int) -> Axis:
    """Return an axis of time steps 1..T, logarithmic: what matters happens early."""
    scale = log("log2", [1.0, float(timesteps)])
    return Axis("Time step t (log)", scale, lambda t: f"{t:.0f}", lambda t: f"t = {t:.0f}")


def over_steps(values: Sequence[float | None], factor: float = 1.0) -> tuple[Point, ...]:
    """Return a list over steps as points, t from 1; none where the network has no answer."""
    return tuple((float(t), factor * v) for t, v in enumerate(values, 1) if v is not None)


def spread(shown: Sequence[Run]) -> str:
    """Return a sentence on the intervals at T; many runs have them in the summary."""
    said = []
    for run in shown if len(shown) <= FEW else ():
        if not run.report.decisive.outcome:
            continue
        bounds = interval(compare.last(run.report.by_step), run.report.samples)
        if bounds is not None:
            n = units.count(run.report.samples)
            said.append(f"{quoted([run.label])} {units.interval(bounds)} (n = {n})")
    return f" 95 % intervals at T, in %: {', '.join(said)}." if said else ""


def late(shown: Sequence[Run]) -> str:
    """Return a sentence on runs whose first answer comes later than the first step."""
    said = ""
    for run in shown:
        answers = [t for t, a in enumerate(run.report.by_step, 1) if a is not None]
        if answers and answers[0] > 1:
            when = f"at step {answers[0]} only" if len(answers) == 1 else f"from step {answers[0]}"
            chosen = run.report.readout_from > 1
            why = "" if chosen else ": its neurons need later steps"
            said += f" {quoted([run.label])} has an answer {when}{why}."
    return said


def milestones(timesteps: int) -> frozenset[float]:
    """Return powers of two and T: the steps that carry a marker."""
    return frozenset(map(float, (*compare.powers(timesteps), timesteps)))


def percent_axis(label: str, scale: Scale) -> Axis:
    """Return an axis whose values are percentages already."""
    return Axis(f"{label} (%)", scale, exact=lambda v: f"{v:.2f}%")


def energy_axis(scale: Scale, unit: str, label: str = "Energy per sample") -> Axis:
    """Return an axis in the unit that :func:`snnconv.render.units.energy_scale` chose."""
    shown = units.typographic(f" {unit}").strip()
    kind = "" if scale.kind == "linear" else ", log"
    return Axis(f"{label} ({shown}{kind})", scale, exact=lambda v: f"{units.number(v)} {shown}")

"""A figure: a plot that waits for its width, and its caption; or a sentence in its place."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from snnconv.render import compare, naming, units
from snnconv.render.looks import Look, run_look
from snnconv.render.plot import Axis, Point
from snnconv.render.scale import Scale, log
from snnconv.reports import EvaluateReport

Draw = Callable[[str, float], str]
"""Name (unique in the page) and width in, SVG out."""

WIDTHS = (352, 592)
"""Every plot is drawn for a narrow and a wide window, so its text has one size everywhere."""
WIDE = (*WIDTHS, 1232)
"""Plots that use the whole width of a wide page."""


@dataclass(frozen=True)
class Figure:
    """A plot with its title and the sentence on how it was counted.

    Without ``draw`` the caption says why there is no plot.
    """

    name: str
    title: str
    caption: str
    draw: Draw | None = None
    whole_width: bool = False
    folded: bool = False

    def drawings(self) -> list[tuple[int, str]]:
        """The plot at each width."""
        if self.draw is None:
            return []
        widths = WIDE if self.whole_width else WIDTHS
        return [(width, self.draw(f"{self.name}-{width}", width)) for width in widths]


@dataclass(frozen=True)
class Run:
    """An evaluation with its place in the page."""

    label: str
    look: Look
    report: EvaluateReport


def runs(evaluations: Sequence[EvaluateReport]) -> list[Run]:
    """Evaluations with labels that tell them apart, and a look each."""
    names = naming.labels(evaluations)
    return [
        Run(name, run_look(i), report)
        for i, (name, report) in enumerate(zip(names, evaluations, strict=True))
    ]


def absent(name: str, title: str, what: str, metric: str) -> Figure:
    """Stands where a plot would, and says how to get it."""
    return Figure(
        name, title, f"Not shown: {what} was not measured (snnconv evaluate --metric {metric})."
    )


def without(everybody: Sequence[Run], shown: Sequence[Run]) -> str:
    """A sentence on the runs a plot lacks."""
    missing = [run.label for run in everybody if run not in shown]
    return f" Not measured: {', '.join(missing)}." if missing else ""


def coincident(lines: Iterable[tuple[str, Hashable]]) -> str:
    """A sentence on runs whose values are all equal: a plot shows them as one."""
    same: dict[Hashable, list[str]] = {}
    for label, values in lines:
        same.setdefault(values, []).append(label)
    return "".join(
        f" {', '.join(names[1:])} {'lies' if len(names) == 2 else 'lie'} exactly on {names[0]}."
        for names in ([f"\u201c{name}\u201d" for name in each] for each in same.values())
        if len(names) > 1
    )


def steps_axis(timesteps: int) -> Axis:
    """Time steps 1..T, logarithmic: what matters happens early."""
    scale = log("log2", [1.0, float(timesteps)])
    return Axis("Time step t (log)", scale, lambda t: f"{t:.0f}", lambda t: f"t = {t:.0f}")


def over_steps(values: Sequence[float], factor: float = 1.0) -> tuple[Point, ...]:
    """A list over steps as points, t from 1."""
    return tuple((float(t), factor * v) for t, v in enumerate(values, 1))


def milestones(timesteps: int) -> frozenset[float]:
    """Powers of two and T: the steps that carry a marker."""
    return frozenset(map(float, (*compare.powers(timesteps), timesteps)))


def percent_axis(label: str, scale: Scale) -> Axis:
    """An axis whose values are percentages already."""
    return Axis(f"{label} (%)", scale, exact=lambda v: f"{v:.2f}%")


def energy_axis(scale: Scale, unit: str, label: str = "Energy per sample") -> Axis:
    """An axis in the unit that :func:`snnconv.render.units.energy_scale` chose."""
    shown = units.typographic(f" {unit}").strip()
    return Axis(f"{label} ({shown})", scale, exact=lambda v: f"{units.number(v)} {shown}")

"""Figures of a comparison: accuracy against each cost, with the cells that pay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from snnconv.core.scores import Score
from snnconv.render import units
from snnconv.render.describe.comparison import ENERGY_FRONT, LATENCY_FRONT
from snnconv.render.describe.training_comparison import STEP_FRONT
from snnconv.render.figure import Figure, percent_axis
from snnconv.render.svg.plot import Axis, Rule, Series, line_plot
from snnconv.render.svg.scale import Scale, linear, log
from snnconv.render.svg.styles import ANN, CONTEXT, run_style
from snnconv.reports import CompareReport, CompareTrainingReport

FLOOR = 10.0
"""Points from the best cell at which the plots are cut off: nobody chooses a worse one."""


class Marker(NamedTuple):
    """A cell in a plot: its cost, its score, and whether it is on the front."""

    cost: float
    score: float
    best: bool


Markers = Mapping[str, Sequence[Marker]]
"""The cells of each method."""


def comparison(found: CompareReport) -> list[Figure]:
    """Return a plot for each cost."""
    every = [cell for row in found.methods for cell in row.cells]
    energy = log("log10", [cell.energy_total_ratio for cell in every], 0.04)
    steps = log("log2", [float(cell.latency_steps) for cell in every], 0.04)
    by_energy = {
        row.method: [
            Marker(cell.energy_total_ratio, cell.measured, cell.on_energy_front)
            for cell in row.cells
        ]
        for row in found.methods
    }
    by_latency = {
        row.method: [
            Marker(float(cell.latency_steps), cell.measured, cell.on_latency_front)
            for cell in row.cells
        ]
        for row in found.methods
    }
    measured = _Measured(found.kind, found.samples, found.of_ann)
    return [
        _plot("compared-energy", Axis("Energy / the ANN's", energy), "energy", by_energy, measured),
        _plot(
            "compared-latency",
            Axis("Steps until the answer", steps),
            "latency",
            by_latency,
            measured,
        ),
    ]


def training_comparison(found: CompareTrainingReport) -> list[Figure]:
    """Return a plot of means over seeds for each cost."""
    by_energy = {
        row.method: [
            Marker(1e3 * cell.energy_total_mj.mean, cell.score.mean, cell.on_energy_front)
            for cell in row.cells
        ]
        for row in found.methods
    }
    by_step = {
        row.method: [
            Marker(cell.step_cpu_seconds.mean, cell.score.mean, cell.on_step_front)
            for cell in row.cells
            if cell.step_cpu_seconds
        ]
        for row in found.methods
    }
    measured = _Measured(found.headline, found.samples)
    plots = (
        ("trained-energy", "Energy of a sample (uJ)", "energy", by_energy),
        ("trained-step", "Processor time of a step (s)", "training time", by_step),
    )
    return [
        _plot(name, Axis(title, log("log10", costs, 0.04)), cost, markers, measured)
        for name, title, cost, markers in plots
        if (costs := [marker.cost for each in markers.values() for marker in each])
        and min(costs) > 0
    ]


@dataclass(frozen=True)
class _Measured:
    """What scores are of.

    Attributes:
        kind: of score.
        samples: how many.
        of_ann: the ANN's score, drawn as a line; none where there is no ANN.
    """

    kind: Score
    samples: int
    of_ann: float | None = None


FRONTS = {"energy": ENERGY_FRONT, "latency": LATENCY_FRONT, "training time": STEP_FRONT}
"""What makes the front, by cost."""


def _plot(name: str, x: Axis, cost: str, markers: Markers, measured: _Measured) -> Figure:
    """Return score against a cost, with the front.

    Args:
        name: unique in the page.
        x: the axis of the cost.
        cost: of :data:`FRONTS`.
        markers: the cells.
        measured: what they are scores of.
    """
    kind, of_ann, title = measured.kind, measured.of_ann, f"{measured.kind.title} against {cost}"
    factor = 1.0 if kind.relative else 100.0
    series, paying = [], []
    for index, (method, cells) in enumerate(markers.items()):
        points = tuple((cell.cost, factor * cell.score) for cell in cells)
        series.append(Series(method, points, run_style(index)))
        paying += [(cell.cost, factor * cell.score) for cell in cells if cell.best]
    front = tuple(sorted(set(paying)))
    series.insert(0, Series("front", front, CONTEXT, frozenset()))
    rules = []
    values = [a for _, a in paying]
    if of_ann is not None:
        values.append(factor * of_ann)
        rules = [Rule(f"ANN: {kind.shown(of_ann)}", factor * of_ann, ANN)]
    if kind.relative:
        y = Axis(kind.title, linear(values, 6), exact=units.number)
    else:
        y = percent_axis(kind.title, near_the_best(kind, values))

    def draw(place: str, width: float) -> str:
        about = f"{title} of {', '.join(markers)}."
        return line_plot(place, title, about, x, y, series, width, rules)

    caption = (
        f"A marker is one method at one T, on {units.count(measured.samples)} samples. The thin "
        f"line is the front: {FRONTS[cost]}."
        + (
            ""
            if kind.relative
            else f" Cells more than {FLOOR:g} points worse than the best are cut off."
        )
    )
    return Figure(name, title, caption, draw)


def near_the_best(kind: Score, values: list[float]) -> Scale:
    """Return an axis of percentages that shows the best cells, with a little room around them."""
    best = max(values) if kind.higher else min(values)
    near = [value for value in values if abs(value - best) <= FLOOR]
    low, high = min(near), max(near)
    return linear(
        near,
        6,
        lo=max(0.0, low - 1) if low >= 0 else low - 1,
        hi=min(100.0, high + 1) if high <= 100 else high + 1,
    )

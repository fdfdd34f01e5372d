"""Figures of a comparison: accuracy against energy and against latency, with the cells that pay."""

from collections.abc import Callable

from snnconv.core.scores import Score
from snnconv.render import units
from snnconv.render.describe.comparison import ENERGY_FRONT, LATENCY_FRONT
from snnconv.render.figure import Figure, percent_axis
from snnconv.render.svg.plot import Axis, Rule, Series, line_plot
from snnconv.render.svg.scale import Scale, linear, log
from snnconv.render.svg.styles import ANN, CONTEXT, run_style
from snnconv.reports import CellRow, CompareReport

FLOOR = 10.0
"""Points from the best cell at which the plots are cut off: nobody chooses a worse one."""


def comparison(found: CompareReport) -> list[Figure]:
    """Return a plot for each cost."""
    every = [cell for row in found.methods for cell in row.cells]
    energy = log("log10", [cell.energy_total_ratio for cell in every], 0.04)
    steps = log("log2", [float(cell.latency_steps) for cell in every], 0.04)
    return [
        _plot(
            found,
            "compared-energy",
            f"{found.kind.title} against energy",
            Axis("Energy / the ANN's", energy),
            lambda cell: cell.energy_total_ratio,
            lambda cell: cell.on_energy_front,
            ENERGY_FRONT,
        ),
        _plot(
            found,
            "compared-latency",
            f"{found.kind.title} against latency",
            Axis("Steps until the answer", steps),
            lambda cell: float(cell.latency_steps),
            lambda cell: cell.on_latency_front,
            LATENCY_FRONT,
        ),
    ]


def _plot(
    found: CompareReport,
    name: str,
    title: str,
    x: Axis,
    cost: Callable[[CellRow], float],
    best: Callable[[CellRow], bool],
    rule: str,
) -> Figure:
    kind = found.kind
    factor = 1.0 if kind.relative else 100.0
    series, paying = [], []
    for index, row in enumerate(found.methods):
        points = tuple((cost(cell), factor * cell.measured) for cell in row.cells)
        series.append(Series(row.method, points, run_style(index)))
        paying += [(cost(cell), factor * cell.measured) for cell in row.cells if best(cell)]
    front = tuple(sorted(set(paying)))
    series.insert(0, Series("front", front, CONTEXT, frozenset()))
    ann = factor * found.of_ann
    values = [*(a for _, a in paying), ann]
    if kind.relative:
        y = Axis(kind.title, linear(values, 6), exact=units.number)
    else:
        y = percent_axis(kind.title, near_the_best(kind, values))

    def draw(place: str, width: float) -> str:
        about = f"{title} of {', '.join(row.method for row in found.methods)}."
        rules = [Rule(f"ANN: {kind.shown(found.of_ann)}", ann, ANN)]
        return line_plot(place, title, about, x, y, series, width, rules)

    caption = (
        f"A marker is one method at one T, on {units.count(found.samples)} samples. The thin line "
        f"is the front: {rule}."
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

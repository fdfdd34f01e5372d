"""Figures on wrong spikes: the SIN ratio over time steps, by run and by layer."""

from collections.abc import Sequence

from snnconv.render.compare import last
from snnconv.render.figure import (
    Figure,
    Run,
    absent,
    milestones,
    over_steps,
    percent_axis,
    steps_axis,
)
from snnconv.render.figures_steps import listed, percent_lines, remarks
from snnconv.render.svg.plot import Series, line_plot
from snnconv.render.svg.scale import linear
from snnconv.render.svg.styles import CONTEXT, Style, run_style
from snnconv.reports import LayerRow

WRONG = "Wrongly firing neurons (SIN ratio)"
SIN = (
    "A neuron whose pre-activation in the ANN is negative should stay silent. It is a SIN neuron "
    "once it has fired. The ratio is the share of SIN neurons in a layer by step t, averaged over "
    "samples."
)
HIGHLIGHTED = 6
"""Layers with a colour of their own; more lines than these nobody can follow."""


def sin(everybody: Sequence[Run]) -> list[Figure]:
    """Draw the SIN ratio over time: runs side by side, and the layers of the first."""
    by_layer = _sin_layers(everybody)
    if by_layer is None:
        return [_sin_runs(everybody)]
    return [by_layer] if len(everybody) == 1 else [_sin_runs(everybody), by_layer]


def _sin_runs(everybody: Sequence[Run]) -> Figure:
    """Draw the SIN ratio over time, mean over layers, of every run."""
    title = WRONG
    shown = [run for run in everybody if run.report.sin_ratio_steps]
    if not shown:
        return absent("sin", title, "the SIN ratio", "sin", everybody)
    series = percent_lines(shown, lambda run: run.report.sin_ratio_steps or [])
    x = steps_axis(max(len(each.points) for each in series))
    y = percent_axis("SIN neurons", linear([v for s in series for _, v in s.points], lo=0.0))

    def draw(name: str, width: float) -> str:
        about = f"SIN ratio, mean over layers, by time step of {listed(shown)}."
        return line_plot(name, title, about, x, y, series, width)

    caption = f"{SIN} The plot shows the mean over layers."
    return Figure("sin", title, caption + remarks(series, everybody, shown, True), draw)


def _sin_layers(everybody: Sequence[Run]) -> Figure | None:
    """Draw the SIN ratio over time of the first run's layers; the highest have colours."""
    run = next((r for r in everybody if any(row.sin_ratio for row in r.report.layers)), None)
    if run is None:
        return None
    measured = [row for row in run.report.layers if row.sin_ratio]
    at_end = {id(row): last(row.sin_ratio) or 0.0 for row in measured}
    top = sorted(measured, key=lambda row: -at_end[id(row)])
    # one more or less than fits is no reason to grey a layer out
    top = measured if len(measured) <= HIGHLIGHTED + 2 else top[:HIGHLIGHTED]
    named = {id(row) for row in top}
    series = [
        _layer(row, run_style(i)) for i, row in enumerate(r for r in measured if id(r) in named)
    ]
    rest = [row for row in measured if id(row) not in named]
    series += [_layer(row, CONTEXT, in_legend=False) for row in rest]
    alone = len(everybody) == 1
    if alone and run.report.sin_ratio_steps:
        mean = over_steps(run.report.sin_ratio_steps, 100.0)
        series.insert(0, Series("mean over layers", mean, Style("ink", width=2.6)))
    title = WRONG if alone else f"SIN ratio by layer: {run.label}"
    x = steps_axis(max(len(each.points) for each in series))
    scale = linear([v for s in series for _, v in s.points], lo=0.0)
    y = percent_axis("SIN neurons in the layer", scale)

    def draw(name: str, width: float) -> str:
        return line_plot(
            name, title, f"SIN ratio by layer and time step of {run.label}.", x, y, series, width
        )

    caption = f"{SIN} The plot shows each layer." if alone else "The same ratio, layer by layer."
    if rest:
        caption += f" In colour the {len(top)} highest at T, thin the other {len(rest)} layers."
    return Figure("sin-layers", title, caption, draw)


def _layer(row: LayerRow, style: Style, in_legend: bool = True) -> Series:
    steps = row.sin_ratio or []
    marked = milestones(len(steps))
    return Series(row.name, over_steps(steps, 100.0), style, marked, in_legend=in_legend)

"""Where errors come from: conversion error by layer, thresholds over activations."""

from collections.abc import Sequence

from snnconv.render.figure import MANY, Figure, Run, absent, percent_axis, quoted, together
from snnconv.render.figures_layers import per_layer
from snnconv.render.svg.bars import Dots, stacked_plot
from snnconv.render.svg.histogram import Panel, histogram_plot
from snnconv.render.svg.scale import finite, linear
from snnconv.render.svg.styles import Style, run_style
from snnconv.reports import Histogram, LayerRow


def errors(everybody: Sequence[Run]) -> list[Figure]:
    """Draw the conversion error per layer: all runs' totals, then each run's parts."""
    title = "Conversion error by layer"
    if not any(row.conversion_error is not None for r in everybody for row in r.report.layers):
        return [absent("errors", title, "the conversion error", "conversion-error", everybody)]
    figures = []
    if len(everybody) > 1:
        figures = per_layer(
            everybody,
            "errors",
            title,
            "Distance of the mean output over T steps from the ANN's activation, relative to the "
            "activation (L2, over neurons and samples).",
            lambda row: None if row.conversion_error is None else 100 * row.conversion_error,
            lambda scale: percent_axis("Relative error", scale),
            ("the conversion error", "conversion-error"),
            of_ann=True,
        )
    shown = [run for run in everybody if any(_parts(row) for row in run.report.layers)]
    figures += [_stack(run, i, len(everybody) > 1) for i, run in enumerate(shown)]
    return figures


def _parts(row: LayerRow) -> list[float]:
    return finite((row.error_clipping, row.error_rounding, row.error_rest))


def _ends(row: LayerRow) -> list[float]:
    """Return how far a row's stack reaches to either side, in percent, and its total."""
    parts = _parts(row)
    ends = [sum(p for p in parts if p > 0), sum(p for p in parts if p < 0)]
    return [100 * v for v in (*ends, *finite((row.conversion_error,)))]


def _stack(run: Run, index: int, several: bool) -> Figure:
    rows = [row for row in run.report.layers if _parts(row)]
    parts = [
        Dots(label, tuple(None if v is None else 100 * v for v in values), style)
        for label, values, style in (
            ("clipping", [row.error_clipping for row in rows], Style("p0")),
            ("rounding", [row.error_rounding for row in rows], Style("p1")),
            ("rest", [row.error_rest for row in rows], Style("p2")),
        )
    ]
    totals = [None if r.conversion_error is None else 100 * r.conversion_error for r in rows]
    title = f"Parts of the error: {run.label}" if several else "Conversion error by layer"
    ends = [end for row in rows for end in _ends(row)]
    scale = linear(ends, 4, lo=None if min(ends, default=0.0) < 0 else 0.0)
    x = percent_axis("Relative error", scale)

    def draw(name: str, width: float) -> str:
        about = f"Clipping, rounding and remaining error of {len(rows)} layers of {run.label}."
        names = [row.name for row in rows]
        return stacked_plot(name, title, about, x, ("Layer", names), parts, width, totals)

    caption = (
        "Clipping: what lies above the threshold. Rounding: to multiples of theta/T. Rest: uneven "
        "and wrong spikes, and errors of the layers before. All are norms (L2, over neurons and "
        "samples) relative to the ANN's activation, so the parts need not add up to the measured "
        "whole."
    )
    if index:
        caption = "As above."
    # the first run's parts stand open, the others' are one click away
    return Figure(f"parts-{index}", title, caption, draw, folded=index > 0 or len(rows) > MANY)


def thresholds(everybody: Sequence[Run]) -> list[Figure]:
    """Draw thresholds over the histograms of activations; runs of equal histograms share one."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in everybody:
        if run.report.histograms:
            key = tuple((h.name, *h.edges, *h.counts) for h in run.report.histograms)
            found.setdefault(key, []).append(run)
    title = "Thresholds over the activations they were found from"
    if not found:
        reason = "Not shown: these checkpoints carry no histograms of their calibration."
        return [Figure("thresholds", title, reason)]
    several = len(found) > 1
    return [
        _histograms(group, title, f"thresholds-{i}" if i else "thresholds", several)
        for i, group in enumerate(found.values())
    ]


def _histograms(group: Sequence[Run], title: str, name: str, several: bool) -> Figure:
    # runs with the same thresholds at every site share one line
    lines: dict[tuple[float, ...], list[str]] = {}
    for run in group:
        key = tuple(h.threshold for h in run.report.histograms)
        lines.setdefault(key, []).append(run.label)
    labels = [together(names) for names in lines.values()]
    styles = [
        Style(run_style(i).colour, run_style(i).dash, width=1.6) if len(lines) > 1 else Style("s1")
        for i in range(len(lines))
    ]
    legend = list(zip(labels if len(lines) > 1 else ["threshold"], styles, strict=True))
    panels = [
        _panel(h, tuple(key[i] for key in lines)) for i, h in enumerate(group[0].report.histograms)
    ]
    # sites come sorted by name; they are read in the network's order
    order = {row.name: i for i, row in enumerate(group[0].report.layers)}
    panels.sort(key=lambda panel: order.get(panel.name, len(order)))
    head = f"{title}: {together([run.label for run in group])}" if several else title

    def draw(unique: str, width: float) -> str:
        about = f"Histograms of {len(panels)} sites with thresholds of {', '.join(labels)}."
        return histogram_plot(unique, head, about, panels, legend, width)

    caption = (
        "Positive activations of the calibration samples at each site, on a logarithmic scale: "
        "what lies right of the line is clipped. Zero activations are left out."
    )
    if len(lines) > 1:
        same = [quoted(names) for names in lines.values() if len(names) > 1]
        caption += "".join(f" One line for {names}, whose thresholds are equal." for names in same)
    folded = len(panels) > MANY
    head = f"{head} ({len(panels)} sites)" if folded else head
    return Figure(name, head, caption, draw, whole_width=True, folded=folded)


def _panel(h: Histogram, marks: tuple[float, ...]) -> Panel:
    return Panel(h.name, tuple(h.edges), tuple(h.counts), marks)

"""Small multiples: one histogram per activation site, with the thresholds over it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from snnconv.render.svg.elements import (
    FONT,
    coordinate,
    fit_all,
    label,
    svg,
    tag,
    text_width,
    words,
)
from snnconv.render.svg.legend import Entry, legend
from snnconv.render.svg.scale import Scale, linear_ticks
from snnconv.render.svg.styles import Style, stroke
from snnconv.render.units import number, tick

BINS = 56
_FLOOR = 0.7
MARGIN = 8.0
"""Room behind a panel for half of its last tick's number."""


@dataclass(frozen=True)
class Panel:
    """A site's histogram and the thresholds to mark in it, one per legend entry.

    It is drawn in ``bins`` equal bins from 0.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    thresholds: tuple[float | None, ...]
    bins: int = BINS


def rebin(
    edges: Sequence[float], counts: Sequence[float], hi: float, bins: int = BINS
) -> list[float]:
    """Return counts in equal bins from 0 to ``hi``; a bin that is cut gives each side its share."""
    merged = [0.0] * bins
    for low, high, n in zip(edges, edges[1:], counts, strict=False):
        span = high - low
        if n <= 0 or span <= 0 or not math.isfinite(low + high + n):
            continue
        first, last = int(max(low, 0) / hi * bins), min(int(high / hi * bins), bins - 1)
        for i in range(max(first, 0), last + 1):
            share = min(high, hi * (i + 1) / bins) - max(low, hi * i / bins)
            merged[i] += n * max(share, 0.0) / span
    return merged


def _extent(panel: Panel) -> float:
    used = [
        high
        for high, n in zip(panel.edges[1:], panel.counts, strict=False)
        if n > 0 and math.isfinite(high)
    ]
    marks = [t for t in panel.thresholds if t is not None and math.isfinite(t)]
    top = max([*used, *(1.04 * t for t in marks)], default=1.0)
    return top if top > 0 else 1.0


def _outline(counts: Sequence[float], x: Scale, y: Scale, box: tuple[float, ...]) -> str:
    left, top, width, height = box
    base, step = top + height, x.hi / len(counts)
    path = f"M{coordinate(left)} {coordinate(base)}"
    for i, n in enumerate(counts):
        at = base - height * max(0.0, y.at(n)) if n > 0 else base
        path += f"V{coordinate(at)}H{coordinate(left + width * x.at((i + 1) * step))}"
    return tag("path", d=f"{path}V{coordinate(base)}Z", class_="shape")


def _panel(
    panel: Panel, short: str, styles: Sequence[Style], y: Scale, box: tuple[float, ...]
) -> str:
    left, top, width, height = box
    hi = _extent(panel)
    x = Scale("linear", 0.0, hi)
    parts = [label(panel.name, left, top - 7, "group", short=short)]
    for k in range(0, math.floor(math.log10(y.hi)) + 1, _stride(y)):
        at = top + height * (1 - y.at(10.0**k))
        parts.append(tag("line", x1=left, x2=left + width, y1=at, y2=at, class_="grid"))
    parts.append(_outline(rebin(panel.edges, panel.counts, hi, panel.bins), x, y, box))
    base = top + height
    parts.append(tag("line", x1=left, x2=left + width, y1=base, y2=base, class_="base"))
    end = float("-inf")
    for value in linear_ticks(0.0, hi, 4):
        at, half = left + width * x.at(value), text_width(tick(value)) / 2
        # what would touch its neighbour, or the next panel's, is left out
        if at - half > end and at + half <= left + width + MARGIN:
            parts.append(label(tick(value), at, base + 4 + FONT, "tick", "middle"))
            end = at + half + 4
    for threshold, style in zip(panel.thresholds, styles, strict=True):
        if threshold is None or not 0 <= x.at(threshold) <= 1:
            continue
        at = left + width * x.at(threshold)
        hover = tag("title", words(f"{panel.name}: threshold {number(threshold)}"))
        parts.append(tag("line", hover, x1=at, x2=at, y1=top - 2, y2=base, **stroke(style)))
    return "".join(parts)


def power(k: int) -> str:
    """Return a power of ten: ``100``, ``10k``, ``1M``."""
    prefixes = ("", "k", "M", "G", "T", "P")
    return f"{10 ** (k % 3)}{prefixes[min(k // 3, 5)]}"


def _stride(y: Scale) -> int:
    return max(1, math.ceil(math.log10(y.hi) / 4))


def histogram_plot(
    name: str,
    title: str,
    description: str,
    panels: Sequence[Panel],
    thresholds: Sequence[tuple[str, Style]],
    width: float,
    heads: tuple[str, str] = ("Activations per bin (log)", "Activation, in the ANN's units"),
) -> str:
    """Draw panels in rows; y is logarithmic and common to all, x is each panel's own.

    ``heads`` are the names of y and x.
    """
    most = max(
        (max(rebin(p.edges, p.counts, _extent(p), p.bins), default=0.0) for p in panels),
        default=1.0,
    )
    y = Scale("log10", _FLOOR, max(most * 1.5, 10.0))
    across = max(1, min(len(panels), round((width - 44) / (172 if width >= 500 else 150))))
    left, gap, head, tall = 44.0, 22.0, 30.0, 92.0
    pitch = head + tall + 32
    cell = min((width - MARGIN - left + gap) / across, 300.0)
    styles = [style for _, style in thresholds]
    parts = [label(heads[0], 0, FONT, "axis-label")]
    # bold letters are wider than the estimate
    short = fit_all([panel.name for panel in panels], 0.92 * (cell - gap))
    for i, panel in enumerate(panels):
        box = (left + (i % across) * cell, 14 + head + (i // across) * pitch, cell - gap, tall)
        parts.append(_panel(panel, short[i], styles, y, box))
        if i % across == 0:
            for k in range(0, math.floor(math.log10(y.hi)) + 1, _stride(y)):
                at = box[1] + tall * (1 - y.at(10.0**k)) + 0.35 * FONT
                parts.append(label(power(k), left - 6, at, "tick", "end"))
    under = 14 + pitch * -(-len(panels) // across)
    parts.append(label(heads[1], left, under + FONT + 2, "axis-label"))
    entries = [Entry(text, style, "rule") for text, style in thresholds]
    key, extent = legend(entries, left, under + FONT + 14, width - left)
    return svg(name, title, description, width, under + FONT + 18 + extent, *parts, key)

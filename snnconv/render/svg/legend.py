"""A legend: always below the plot, in as many columns as fit, so it never covers data."""

from collections.abc import Sequence
from dataclasses import dataclass

from snnconv.render.svg.elements import FONT, fit_all, label, tag, text_width
from snnconv.render.svg.styles import Style, marker, stroke
from snnconv.render.units import printable

ROW = 19.0
KEY = 30.0
GAP = 22.0


@dataclass(frozen=True)
class Entry:
    """A label with a sample: "line", "rule" (no marker), "marker", "swatch" or upright "mark"."""

    text: str
    style: Style
    sample: str = "line"


def _sample(entry: Entry, x: float, y: float) -> str:
    middle = x + (KEY - 8) / 2
    if entry.sample == "swatch":
        return tag(
            "rect", x=x + 4, y=y - 5.5, width=14, height=11, class_=f"{entry.style.colour} bar"
        )
    if entry.sample == "mark":
        return tag("line", x1=x + 11, y1=y - 8, x2=x + 11, y2=y + 8, **stroke(entry.style))
    parts = []
    if entry.sample in ("line", "rule"):
        line = stroke(entry.style)
        parts.append(tag("line", x1=x, y1=y, x2=x + KEY - 8, y2=y, **line))
    if entry.style.marker and entry.sample != "rule":
        parts.append(marker(entry.style, middle, y))
    return "".join(parts)


def legend(entries: Sequence[Entry], left: float, top: float, width: float) -> tuple[str, float]:
    """Return the legend's drawing and its height."""
    if not entries:
        return "", 0.0
    longest = max(text_width(printable(entry.text)) for entry in entries)
    cell = min(KEY + longest + GAP, width)
    across = max(1, min(int((width + GAP) // cell), len(entries)))
    short = fit_all([entry.text for entry in entries], cell - KEY - GAP / 2)
    parts = []
    for i, entry in enumerate(entries):
        x, y = left + (i % across) * cell, top + (i // across) * ROW + ROW / 2
        parts.append(_sample(entry, x, y))
        parts.append(label(entry.text, x + KEY, y + 0.35 * FONT, "legend", short=short[i]))
    return "".join(parts), ROW * -(-len(entries) // across)

"""Plots with a row per layer or per quantity: dots, stacked bars, labelled bars."""

from collections.abc import Sequence
from dataclasses import dataclass

from snnconv.render.svg.elements import FONT, fit_all, label, svg, tag, text_width, words
from snnconv.render.svg.legend import Entry, legend
from snnconv.render.svg.plot import ASIDE, Axis, Frame, depth_size, x_axis
from snnconv.render.svg.scale import Scale
from snnconv.render.svg.styles import Style, marker
from snnconv.render.units import printable

_ROWS = Scale("linear", 0.0, 1.0)


@dataclass(frozen=True)
class Dots:
    """One value per row; none where it was not measured."""

    label: str
    values: tuple[float | None, ...]
    style: Style


@dataclass(frozen=True)
class Bar:
    """A bar with its name on the left and its value in words on the right."""

    name: str
    value: float
    text: str
    style: Style


def _pitch(rows: int) -> float:
    """Return the height of a row: many rows stand closer, but never closer than their text."""
    return 24.0 if rows <= 12 else 20.0 if rows <= 24 else 17.0


def _frame(
    names: Sequence[str],
    x: Scale,
    width: float,
    pitch: float,
    right: float = ASIDE,
    share: float = 0.36,
) -> Frame:
    longest = max((text_width(printable(name)) for name in names), default=0.0)
    left = min(longest + 14, width * share)
    top = 2.1 * FONT
    return Frame(left, top, width - left - right, pitch * len(names) + 6, x, _ROWS)


def _rows(frame: Frame, names: Sequence[str], pitch: float, head: str) -> str:
    parts = [label(head, 0, FONT, "axis-label")]
    short = fit_all(names, frame.left - 10)
    for i, name in enumerate(names):
        y = frame.top + pitch * (i + 0.5)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        base = y + 0.35 * FONT
        parts.append(label(name, frame.left - 10, base, "tick", "end", short=short[i]))
    return "".join(parts)


def _vertical(frame: Frame, ticks: Sequence[float]) -> str:
    return "".join(
        tag(
            "line",
            x1=frame.px(tick),
            x2=frame.px(tick),
            y1=frame.top,
            y2=frame.bottom,
            class_="grid",
        )
        for tick in ticks
    )


def _finish(
    name: str,
    title: str,
    description: str,
    width: float,
    frame: Frame,
    x: Axis,
    entries: Sequence[Entry],
    *body: str,
) -> str:
    ticks = x.scale.ticks(4 if width < 500 else 6)
    under = frame.bottom + 24 + 2 * FONT
    key, extent = legend(entries, 0, under, width)
    return svg(
        name,
        title,
        description,
        width,
        under + extent + 4,
        _vertical(frame, ticks),
        *body,
        x_axis(frame, x, ticks),
        key,
    )


def dot_plot(
    name: str,
    title: str,
    description: str,
    x: Axis,
    rows: tuple[str, Sequence[str]],
    runs: Sequence[Dots],
    width: float,
) -> str:
    """Draw a marker per run in every row; a single run also has a bar from zero to it."""
    head, names = rows
    pitch = _pitch(len(names))
    frame = _frame(names, x.scale, width, pitch)
    parts = [_rows(frame, names, pitch, head)]
    for place, run in reversed(list(enumerate(runs))):
        for i, value in enumerate(run.values):
            if value is None or not x.scale.holds(value):
                continue
            y = frame.top + pitch * (i + 0.5)
            hover = words(f"{run.label}, {names[i]}: {x.exact(value)}")
            if len(runs) == 1:
                parts.append(_bar(frame, 0.0, value, y, pitch, f"{run.style.colour} bar", hover))
            else:
                parts.append(marker(run.style, frame.px(value), y, depth_size(place), hover))
    entries = [Entry(run.label, run.style, "marker") for run in runs] if len(runs) > 1 else []
    for run in runs:
        if values := [v for v in run.values if x.scale.holds(v) and v is not None]:
            description += f" {run.label}: {x.exact(min(values))} to {x.exact(max(values))}."
    return _finish(name, title, description, width, frame, x, entries, *parts)


def _bar(
    frame: Frame, start: float, end: float, y: float, pitch: float, kind: str, hover: str
) -> str:
    low, high = sorted((frame.px(start), frame.px(end)))
    height = min(0.56 * pitch, 13)
    return tag(
        "rect",
        tag("title", hover),
        x=low,
        y=y - height / 2,
        width=high - low,
        height=height,
        class_=kind,
    )


def stacked_plot(
    name: str,
    title: str,
    description: str,
    x: Axis,
    rows: tuple[str, Sequence[str]],
    parts: Sequence[Dots],
    width: float,
    totals: Sequence[float | None] = (),
) -> str:
    """Draw parts behind one another in every row; an upright line marks the measured total."""
    head, names = rows
    pitch = _pitch(len(names))
    frame = _frame(names, x.scale, width, pitch)
    drawn = [_rows(frame, names, pitch, head)]
    for i, row in enumerate(names):
        y = frame.top + pitch * (i + 0.5)
        ends = {True: 0.0, False: 0.0}
        for part in parts:
            value = part.values[i]
            if value is None or not x.scale.holds(value):
                continue
            start = ends[value >= 0]
            ends[value >= 0] = start + value
            hover = words(f"{row}, {part.label}: {x.exact(value)}")
            kind = f"{part.style.colour} bar"
            drawn.append(_bar(frame, start, start + value, y, pitch, kind, hover))
        total = totals[i] if i < len(totals) else None
        if total is not None and x.scale.holds(total):
            at = frame.px(total)
            hover = tag("title", words(f"{row}, measured: {x.exact(total)}"))
            drawn.append(
                tag("line", hover, x1=at, x2=at, y1=y - 8, y2=y + 8, class_="s1 line total")
            )
    entries = [Entry(part.label, part.style, "swatch") for part in parts]
    if totals:
        entries.append(Entry("measured whole", Style("s1", width=2.5), "mark"))
    return _finish(name, title, description, width, frame, x, entries, *drawn)


def bar_plot(
    name: str,
    title: str,
    description: str,
    x: Axis,
    groups: Sequence[tuple[str, Sequence[Bar]]],
    width: float,
) -> str:
    """Draw bars in groups, each group under its name, each bar with its value behind it."""
    bars = [bar for _, group in groups for bar in group]
    aside = max((text_width(bar.text) for bar in bars), default=0.0) + 12
    pitch, gap = 20.0, 26.0
    plain = _frame([bar.name for bar in bars], x.scale, width, pitch, aside, 0.42)
    height = sum(gap + pitch * len(group) for _, group in groups) + 4
    frame = Frame(plain.left, 6.0, plain.width, height, x.scale, _ROWS)
    parts, y = [], frame.top
    for group_name, group in groups:
        parts.append(label(group_name, 0, y + 17, "group", width=width))
        y += gap
        for bar in group:
            middle = y + pitch / 2
            base = middle + 0.35 * FONT
            parts.append(label(bar.name, frame.left - 8, base, "tick", "end", width=frame.left - 8))
            hover = words(f"{group_name}, {bar.name}: {bar.text}")
            kind = f"{bar.style.colour} bar"
            end = frame.left
            if x.scale.holds(bar.value):
                parts.append(_bar(frame, 0.0, bar.value, middle, pitch, kind, hover))
                end = frame.px(bar.value)
            parts.append(label(bar.text, end + 6, base, "value"))
            y += pitch
    said = "".join(f" {g}, {bar.name}: {bar.text}." for g, group in groups for bar in group)
    return _finish(name, title, description + said, width, frame, x, [], *parts)

"""Line plots. Pure functions: numbers in, an SVG string out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snnconv.render.svg.elements import FONT, coordinate, label, svg, tag, text_width, words
from snnconv.render.svg.legend import Entry, legend
from snnconv.render.svg.scale import Scale
from snnconv.render.svg.styles import Style, marker, stroke
from snnconv.render.units import number, printable, tick, typographic

Point = tuple[float, float]
ASIDE = 16.0
"""Room on the right of a plot."""


@dataclass(frozen=True)
class Axis:
    """A scale with its name and unit; how its ticks are written, and a value under the pointer."""

    label: str
    scale: Scale
    show: Callable[[float], str] = tick
    exact: Callable[[float], str] = number


@dataclass(frozen=True)
class Series:
    """A line, a row of markers, or both; ``marked`` are the x that carry a marker."""

    label: str
    points: tuple[Point, ...]
    style: Style
    marked: frozenset[float] | None = None
    line: bool = True
    in_legend: bool = True


@dataclass(frozen=True)
class Rule:
    """A horizontal line over the whole width."""

    label: str
    y: float
    style: Style


@dataclass(frozen=True)
class Frame:
    """The rectangle of a drawing that the data fill."""

    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    def px(self, value: float) -> float:
        """Return a value's place from the left."""
        return self.left + self.width * self.x.at(value)

    def py(self, value: float) -> float:
        """Return a value's place from above."""
        return self.bottom - self.height * self.y.at(value)


def y_axis(frame: Frame, axis: Axis, ticks: Sequence[float]) -> str:
    """Draw grid lines with their values, and the name above them, upright."""
    parts = []
    for value in ticks:
        y = frame.py(value)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        parts.append(
            label(typographic(axis.show(value)), frame.left - 8, y + 0.35 * FONT, "tick", "end")
        )
    parts.append(label(axis.label, 0, FONT, "axis-label"))
    return "".join(parts)


def x_axis(frame: Frame, axis: Axis, ticks: Sequence[float]) -> str:
    """Draw the base line, ticks with their values, and the name below them."""
    y = frame.bottom
    parts = [tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="base")]
    end = float("-inf")
    for value in ticks:
        x, text = frame.px(value), typographic(axis.show(value))
        if not text:
            continue
        half = text_width(text) / 2
        parts.append(tag("line", x1=x, x2=x, y1=y, y2=y + 4, class_="base"))
        x = min(x, frame.right + ASIDE - half)  # a long last number moves in by what it lacks
        if x - half > end:
            parts.append(label(text, x, y + 6 + FONT, "tick", "middle"))
            end = x + half + 4
    middle = frame.left + frame.width / 2
    parts.append(label(axis.label, middle, y + 12 + 2 * FONT, "axis-label", "middle"))
    return "".join(parts)


def thin(points: Sequence[Point], frame: Frame) -> list[Point]:
    """Return points in pixels; in each pixel's column the first, lowest, highest and last stay."""
    columns: dict[int, list[Point]] = {}
    for x, y in points:
        if frame.x.holds(x) and frame.y.holds(y):
            place = (frame.px(x), frame.py(y))
            columns.setdefault(round(place[0]), []).append(place)
    kept: list[Point] = []
    for column in columns.values():
        low, high = min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1])
        chosen = {column.index(p) for p in (low, high)} | {0, len(column) - 1}
        kept += [column[i] for i in sorted(chosen)]
    return kept


def depth_size(place: int) -> float:
    """Return a marker's size: markers further behind are larger, so equal points show an edge."""
    return 3.4 + min(0.4 * place, 1.6)


def _draw(series: Series, frame: Frame, x: Axis, y: Axis, size: float, clip: str) -> str:
    """Draw the line cut off at the frame, and whole markers, also on its edge."""
    parts = []
    places = thin(series.points, frame)
    if series.line and len(places) > 1:
        path = "M" + "L".join(f"{coordinate(a)} {coordinate(b)}" for a, b in places)
        hover = tag("title", words(series.label))
        parts.append(tag("path", hover, d=path, clip_path=clip, **stroke(series.style)))
    if series.style.marker:
        for a, b in series.points:
            if (series.marked is None or a in series.marked) and (
                frame.x.holds(a) and frame.y.within(b)
            ):
                hover = words(f"{series.label}: {x.exact(a)}, {y.exact(b)}")
                parts.append(marker(series.style, frame.px(a), frame.py(b), size, hover))
    return "".join(parts)


def spoken(series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Return both ends of every line in words, for readers who can't see it."""
    said = []
    for each in series:
        points = [(a, b) for a, b in each.points if x.scale.holds(a) and y.scale.holds(b)]
        ends = [f"{y.exact(b)} at {x.exact(a)}" for a, b in (*points[:1], *points[1:][-1:])]
        said += [f" {each.label}: {', '.join(ends)}."] if ends else []
    return "".join(said)


def line_plot(
    name: str,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    width: float,
    rules: Sequence[Rule] = (),
) -> str:
    """Draw lines over a common x axis; what lies outside the scales is cut off at the frame."""
    height = 270.0 if width >= 500 else 220.0
    y_ticks = y.scale.ticks(6)
    left = max((text_width(y.show(value)) for value in y_ticks), default=20.0) + 12
    top = 2.1 * FONT
    # the last tick's text is centred on the right edge and needs half its width
    frame = Frame(left, top, width - left - ASIDE, height, x.scale, y.scale)
    clip = tag(
        "clipPath",
        tag("rect", x=left - 6, y=top - 6, width=frame.width + 12, height=height + 6),
        id=f"{name}-clip",
    )
    drawn = []
    for rule in rules:
        if y.scale.within(rule.y):
            at = frame.py(rule.y)
            hover = tag("title", words(rule.label))
            drawn.append(
                tag("line", hover, x1=left, x2=frame.right, y1=at, y2=at, **stroke(rule.style))
            )
    # first runs are drawn last, so they lie on top; lone points above all lines
    for line in (True, False):
        for place, each in reversed(list(enumerate(series))):
            if each.line is line:
                drawn.append(_draw(each, frame, x, y, depth_size(place), f"url(#{name}-clip)"))
    entries = [
        Entry(printable(each.label), each.style, "line" if each.line else "marker")
        for each in series
        if each.in_legend
    ]
    entries += [Entry(printable(rule.label), rule.style, "rule") for rule in rules if rule.label]
    under = frame.bottom + 24 + 2 * FONT
    start = left if width >= 500 else 0.0
    key, extent = legend(entries, start, under, width - start)
    return svg(
        name,
        title,
        description + spoken(series, x, y),
        width,
        under + extent + 4,
        clip,
        y_axis(frame, y, y_ticks),
        x_axis(frame, x, x.scale.ticks(7 if width < 500 else 12)),
        *drawn,
        key,
    )

"""Small plots side by side: spikes as a raster, points about a diagonal, images of channels."""

import base64
import io
import math
from collections.abc import Callable, Sequence
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
from snnconv.render.svg.plot import ASIDE, Axis, Frame, x_axis
from snnconv.render.svg.scale import Scale, linear
from snnconv.render.svg.styles import Style, stroke
from snnconv.render.units import compact, tick

UP, DOWN = Style("s0", width=1.4), Style("s1", width=1.4)
DIAGONAL = Style("faint", "2 3", width=1.0)
_ROW = 4.0


@dataclass(frozen=True)
class Raster:
    """The spikes of a site: ``(row, step, count)`` of each."""

    name: str
    rows: int
    marks: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Cloud:
    """Points ``(x, y)`` of a site; both axes have one scale."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """Two images of one channel: rows of grey levels 0..255, and the values of black and white."""

    name: str
    upper: tuple[bytes, ...]
    lower: tuple[bytes, ...]
    ends: tuple[float, float]


def raster_plot(
    name: str, title: str, description: str, steps: Axis, rasters: Sequence[Raster], width: float
) -> str:
    """Draw a row for each neuron and a stroke for each spike, sites below one another."""
    left, top, parts = 0.0, 0.0, []
    signed = any(count < 0 for each in rasters for _, _, count in each.marks)
    frame = Frame(left, top, width - left - ASIDE, 0, steps.scale, Scale("linear", 0, 1))
    for each in rasters:
        parts.append(label(each.name, 0, top + FONT, "group", width=width))
        top += 1.6 * FONT
        for style, sign in ((UP, 1), (DOWN, -1)):
            path = "".join(
                f"M{coordinate(frame.px(t))} {coordinate(top + row * _ROW)}v{coordinate(_ROW - 1)}"
                for row, t, count in each.marks
                if count * sign > 0 and steps.scale.within(t)
            )
            if path:
                parts.append(tag("path", d=path, **stroke(style)))
        top += each.rows * _ROW + 8
    end = Frame(left, 0, frame.width, top, steps.scale, frame.y)
    entries = [Entry("positive spike", UP, "mark"), Entry("negative spike", DOWN, "mark")]
    key, extent = legend(entries if signed else [], left, top + 30 + 2 * FONT, width)
    axis = x_axis(end, steps, steps.scale.ticks(7 if width < 500 else 12))
    return svg(name, title, description, width, top + 34 + 2 * FONT + extent, *parts, axis, key)


Panel = Callable[[int, float, float, float], str]
"""Draws a panel: its number, left, top and width."""


def _grid(
    names: Sequence[str],
    width: float,
    each: float,
    tall: Callable[[float], float],
    draw: Panel,
    inset: float = 0.0,
) -> tuple[str, float]:
    """Draw panels in rows, each under its name; returns the drawing and its height.

    Names stand ``inset`` from the left of their panels.
    """
    across = max(1, min(len(names), round(width / each)))
    cell = min(width / across, 1.6 * each)
    short = fit_all(names, 0.85 * cell - inset)
    parts = []
    pitch = tall(cell) + 2.4 * FONT
    for i, full in enumerate(names):
        left, top = (i % across) * cell, (i // across) * pitch
        parts.append(label(full, left + inset, top + FONT, "group", short=short[i]))
        parts.append(draw(i, left, top + 1.6 * FONT, cell))
    return "".join(parts), pitch * -(-len(names) // across)


def _square(cloud: Cloud) -> Scale:
    values = [v for point in cloud.points for v in point]
    return linear(values, 3, lo=None if min(values, default=0.0) < 0 else 0.0)


def scatter_plot(
    name: str,
    title: str,
    description: str,
    clouds: Sequence[Cloud],
    width: float,
    heads: tuple[str, str],
) -> str:
    """Draw a panel of points for each site; on the diagonal both values are equal.

    ``heads`` are the names of y and x.
    """
    scales = [_square(cloud) for cloud in clouds]
    widest = max((text_width(tick(v)) for each in scales for v in each.ticks(3)), default=0.0)
    aside = widest + 6
    gap = aside + max(14.0, widest / 2)

    def panel(i: int, left: float, top: float, cell: float) -> str:
        side, scale = cell - gap, scales[i]
        frame = Frame(left + aside, top, side, side, scale, scale)
        drawn = [
            tag(
                "line",
                x1=frame.left,
                y1=frame.bottom,
                x2=frame.right,
                y2=frame.top,
                **stroke(DIAGONAL),
            )
        ]
        for value in scale.ticks(3):
            text = tick(value)
            drawn.append(label(text, frame.left - 4, frame.py(value) + 4, "tick", "end"))
            if text_width(text) < side / 2:
                drawn.append(label(text, frame.px(value), frame.bottom + 15, "tick", "middle"))
        drawn.append(
            tag(
                "rect",
                x=frame.left,
                y=frame.top,
                width=side,
                height=side,
                fill="none",
                class_="base",
            )
        )
        dots = "".join(
            f"M{coordinate(frame.px(x))} {coordinate(frame.py(y))}h0" for x, y in clouds[i].points
        )
        hover = tag("title", words(f"{clouds[i].name}: {len(clouds[i].points)} neurons"))
        style = {**stroke(Style("s0", width=2.6)), "stroke_linecap": "round"}
        drawn.append(tag("path", hover, d=dots or "M0 0", stroke_opacity="0.5", **style))
        return "".join(drawn)

    names = [cloud.name for cloud in clouds]
    each, head = 176 if width >= 500 else 166, 2 * FONT
    body, height = _grid(names, width, each, lambda c: c - gap + 20, panel, aside)
    axes = label(heads[0], 0, FONT, "axis-label") + label(
        heads[1], aside, head + height + FONT, "axis-label"
    )
    moved = tag("g", body, transform=f"translate(0 {coordinate(head)})")
    return svg(name, title, description, width, head + height + 1.8 * FONT, moved, axes)


def pictures_plot(
    name: str, title: str, description: str, pictures: Sequence[Picture], width: float
) -> str:
    """Draw each channel as two images, one above the other."""

    def panel(i: int, left: float, top: float, cell: float) -> str:
        side, drawn = cell - 10, []
        for k, rows in enumerate((pictures[i].upper, pictures[i].lower)):
            high = side * len(rows) / max(1, len(rows[0]))
            place = {"x": left, "y": top + k * (high + 4), "width": side, "height": high}
            drawn.append(tag("image", href=_png(rows), image_rendering="pixelated", **place))
        black, white = map(compact, pictures[i].ends)
        under = top + 2 * high + 8 + FONT
        drawn.append(label(f"{black} to {white}", left, under, "tick"))
        return "".join(drawn)

    def tall(cell: float) -> float:
        ratio = max(len(p.upper) / max(1, len(p.upper[0])) for p in pictures)
        return 2 * (cell - 10) * ratio + 6 + 1.4 * FONT

    names = [picture.name for picture in pictures]
    body, height = _grid(names, width, 96 if width >= 500 else 110, tall, panel)
    told = (
        "Above: the ANN. Below: the spikes.",
        "Numbers: black and white, in the ANN's units.",
    )
    lines = [
        label(line, 0, height + (1 + 1.4 * k) * FONT, "axis-label") for k, line in enumerate(told)
    ]
    return svg(name, title, description, width, math.ceil(height + 3.2 * FONT), body, *lines)


def _png(rows: Sequence[bytes]) -> str:
    """Return an image as the address of itself."""
    from PIL import Image

    content = io.BytesIO()
    image = Image.frombytes("L", (len(rows[0]), len(rows)), b"".join(rows))
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"

"""How a run looks in every plot: colour, dash and marker together, so no one needs the colour."""

from dataclasses import dataclass

from snnconv.render.svg.elements import coordinate, tag

MARKERS = ("circle", "square", "triangle", "diamond", "down", "cross", "plus", "ring")
DASHES = ("", "7 3", "2.5 2.5", "9 3 2.5 3", "5 2.5", "1.5 3", "12 3", "6 2 2 2 2 2")
_OPEN = ("cross", "plus", "ring")


@dataclass(frozen=True)
class Style:
    """A CSS colour class of the page, a dash pattern, a marker's shape."""

    colour: str
    dash: str = ""
    marker: str = ""
    width: float = 2.0


def run_style(index: int) -> Style:
    """Return the style of run ``index``; after eight, colours meet other markers and dashes."""
    turn = index // len(MARKERS)
    return Style(
        f"s{index % len(MARKERS)}",
        DASHES[(index + 3 * turn) % len(DASHES)],
        MARKERS[(index + 3 * turn) % len(MARKERS)],
    )


ANN = Style("ink", "2 3", "star", 1.5)
"""The ANN the runs are measured against."""
CONTEXT = Style("faint", width=1.0)
"""What is there for comparison only."""


def _polygon(*corners: tuple[float, float]) -> str:
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in corners) + "Z"


def marker(style: Style, x: float, y: float, size: float = 3.6, hover: str = "") -> str:
    """Return a style's marker, centred; ``hover`` shows under the pointer."""
    title = [tag("title", hover)] if hover else []
    s, shape = size, style.marker
    kind = f"{style.colour} {'open' if shape in _OPEN else 'solid'}"
    if shape in ("circle", "ring", ""):
        return tag("circle", *title, cx=x, cy=y, r=s, class_=kind)
    if shape == "square":
        return tag("rect", *title, x=x - s, y=y - s, width=2 * s, height=2 * s, class_=kind)
    if shape == "cross":
        path = _strokes((x - s, y - s, x + s, y + s), (x - s, y + s, x + s, y - s))
    elif shape == "plus":
        path = _strokes((x - s, y, x + s, y), (x, y - s, x, y + s))
    elif shape == "triangle":
        path = _polygon((x, y - 1.2 * s), (x + 1.15 * s, y + 0.9 * s), (x - 1.15 * s, y + 0.9 * s))
    elif shape == "down":
        path = _polygon((x, y + 1.2 * s), (x + 1.15 * s, y - 0.9 * s), (x - 1.15 * s, y - 0.9 * s))
    elif shape == "star":
        path = _star(x, y, 2 * s)
    else:
        path = _polygon((x, y - 1.4 * s), (x + 1.2 * s, y), (x, y + 1.4 * s), (x - 1.2 * s, y))
    return tag("path", *title, d=path, class_=kind)


def _strokes(*lines: tuple[float, float, float, float]) -> str:
    return "".join(
        f"M{coordinate(a)} {coordinate(b)}L{coordinate(c)} {coordinate(d)}" for a, b, c, d in lines
    )


def _star(x: float, y: float, s: float) -> str:
    inner = 0.38 * s
    turns = ((0.0, -1.0), (0.588, 0.809), (-0.951, -0.309), (0.951, -0.309), (-0.588, 0.809))
    outer = [turns[0], turns[3], turns[1], turns[4], turns[2]]
    corners = []
    for (ax, ay), (bx, by) in zip(outer, outer[1:] + outer[:1], strict=True):
        mx, my = ax + bx, ay + by
        length = (mx * mx + my * my) ** 0.5
        corners += [(x + s * ax, y + s * ay), (x + inner * mx / length, y + inner * my / length)]
    return _polygon(*corners)


def stroke(style: Style) -> dict[str, str | float]:
    """Return a line's attributes."""
    attributes: dict[str, str | float] = {
        "class_": f"{style.colour} line",
        "stroke_width": style.width,
    }
    if style.dash:
        attributes["stroke_dasharray"] = style.dash
    return attributes

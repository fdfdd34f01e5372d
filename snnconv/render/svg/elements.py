"""SVG as strings: escaped text, finite coordinates, text that fits its place."""

import math
import unicodedata
from collections.abc import Sequence
from html import escape
from itertools import takewhile

from snnconv.render.units import printable

FONT = 12.0
"""Size of all text in a plot; plots are drawn at the width they are shown at, so it stays this."""

_SEPARATORS = "./_- ,:"
_NARROW, _WIDE = frozenset("iljtfrI.,:;|!'()[]{}/\\ -"), frozenset("mwMW@%")


def coordinate(x: float) -> str:
    """Return a coordinate to a tenth of a pixel.

    Raises:
        ValueError: not finite; such a value must never reach a drawing.
    """
    if not math.isfinite(x):
        raise ValueError(f"a coordinate must be finite, got {x}")
    text = f"{x:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def tag(name: str, *children: str, **attributes: str | float) -> str:
    """Return an element: ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``."""
    parts = [name]
    for key, value in attributes.items():
        text = value if isinstance(value, str) else coordinate(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(printable(text))}"')
    head = " ".join(parts)
    return f"<{head}>{''.join(children)}</{name}>" if children else f"<{head}/>"


def words(text: str) -> str:
    """Return text as an element's content."""
    return escape(printable(text), quote=False)


def text_width(text: str, size: float = FONT) -> float:
    """Estimate the width of a text, rather too wide: there are no font metrics here."""
    total = 0.0
    for c in text:
        if unicodedata.east_asian_width(c) in "WF":
            total += 1.0
        elif c in _NARROW:
            total += 0.38
        elif c in _WIDE:
            total += 0.9
        else:
            total += 0.68 if c.isupper() else 0.57
    return total * size


def fit(text: str, width: float, size: float = FONT) -> str:
    """Return the text, shortened in the middle where needed: module paths differ at both ends."""
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = (kept + 1) // 2
        short = f"{text[:head]}\u2026{text[len(text) - (kept - head) :]}"
        if text_width(short, size) <= width:
            return short
    return f"{text[:1]}\u2026"


def _common(names: Sequence[str]) -> str:
    """Return what all names begin with, up to a separator: ``layer1.`` and not ``layer1.1``."""
    equal = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in equal)
    return shared[: max((shared.rfind(c) for c in _SEPARATORS), default=-1) + 1]


def _too_long(names: Sequence[str], width: float) -> list[str]:
    """Return the different names that do not fit; one alone shares nothing with others."""
    found = sorted({name for name in names if text_width(name) > width})
    return found if len(found) > 1 else []


def fit_all(names: Sequence[str], width: float) -> list[str]:
    """Return names that fit: if some do not, what they share is left out first."""
    short = [printable(name) for name in names]
    tail = _common([name[::-1] for name in _too_long(short, width)])[::-1]
    if tail:
        short = [f"{n.removesuffix(tail)}\u2026" if n.endswith(tail) else n for n in short]
    head = _common(_too_long(short, width))
    if head:
        short = [f"\u2026{n.removeprefix(head)}" if n.startswith(head) else n for n in short]
    return [fit(name, width) for name in short]


def label(
    text: str,
    x: float,
    y: float,
    kind: str,
    anchor: str = "start",
    width: float | None = None,
    short: str | None = None,
) -> str:
    """Return a text; when it must be shortened, all of it shows under the pointer."""
    clean = printable(text)
    if short is None:
        short = clean if width is None else fit(clean, width)
    hover = [tag("title", words(clean))] if short != clean else []
    return tag("text", *hover, words(short), x=x, y=y, class_=kind, text_anchor=anchor)


def svg(name: str, title: str, description: str, width: float, height: float, *body: str) -> str:
    """Return a drawing with an accessible name. ``name`` must be unique in the page."""
    return tag(
        "svg",
        tag("title", words(title), id=f"{name}-title"),
        tag("desc", words(description), id=f"{name}-desc"),
        *body,
        class_="plot",
        role="img",
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
        aria_labelledby=f"{name}-title {name}-desc",
    )

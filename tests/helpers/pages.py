"""Reads a page as a browser or a screen reader would."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from snnconv.render import html as written
from snnconv.render.sections import contents
from snnconv.render.svg.elements import FONT, text_width

VOID = {"meta", "link", "br", "hr", "img", "input"}
SELF_CLOSED = {"rect", "line", "path", "circle"}
NUMBERS = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "stroke-width")


def html(*given, **named):
    """The page of evaluations, and of what else a report shows."""
    return written.html(contents(*given, **named))


class Page(HTMLParser):
    """Collects ids, tags and text; fails on a tag that is closed in the wrong place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.tags, self.words = [], [], [], []
        self.attributes = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SELF_CLOSED
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def drawings(text: str) -> list[ElementTree.Element]:
    """Every plot in a page, parsed strictly."""
    found = re.findall(r'<svg class="plot".*?</svg>', text, re.S)
    return [ElementTree.fromstring(svg) for svg in found]


def labels(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [e for e in svg.iter("text") if e.get("class") == kind]


def box(text: ElementTree.Element) -> tuple[float, float, float, float]:
    """A text's left, right, top and bottom: its letters, as estimated."""
    extent = 0.9 * text_width(shown(text))
    left = (
        float(text.get("x"))
        - {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor")] * extent
    )
    base = float(text.get("y"))
    return left, left + extent, base - 0.72 * FONT, base + 0.2 * FONT


def shown(element: ElementTree.Element) -> str:
    """A text's own words, without what only the pointer brings up."""
    hover = [child for child in element if child.tag == "title"]
    return (hover[0].tail if hover else element.text) or ""


def coordinates(svg: ElementTree.Element) -> list[float]:
    """Every number that places something; a word among them does not convert."""
    found = []
    for element in svg.iter():
        found += [float(element.get(key)) for key in NUMBERS if element.get(key) is not None]
        path = element.get("d", "")
        assert re.fullmatch(r"[MLHVZ0-9. \-]*", path), path
        found += [float(number) for number in re.findall(r"-?[0-9.]+", path)]
    return found

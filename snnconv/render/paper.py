"""Plots and tables of a report as files of their own, for a paper: SVG, PDF, CSV, LaTeX.

A plot in the page takes its looks from the page's style sheet. Here every element gets them as
attributes, in the light colours, so that the file needs nothing else and any program draws it.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from xml.etree import ElementTree

from snnconv.core.packages import imported
from snnconv.render import markdown, units
from snnconv.render.compare import differences
from snnconv.render.figure import WIDTHS, Figure
from snnconv.render.labels import labels
from snnconv.render.layers import layer_table
from snnconv.render.sections import Contents
from snnconv.render.tables import Cell, Column, Table

PIECE = ElementTree.Element
_DRAWN = ("fill", "stroke", "stroke-width", "stroke-linejoin", "font-size", "font-weight")
_FONT = "Helvetica, Arial, sans-serif"
_NESTED = re.compile(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SIMPLE = re.compile(r"(?:\.plot )?([a-z]*)((?:\.[\w-]+)*)")


def needed() -> None:
    """Look for what makes PDF before any work.

    Raises:
        UsageError: it is not installed.
    """
    imported("svglib.svglib", "--figures")


def papers(page: Contents) -> Iterator[tuple[str, bytes]]:
    """Return the files, each with its name.

    Args:
        page: what the report shows.
    """
    captions = []
    for section in page.sections:
        for figure in section.figures:
            if figure.draw is not None:
                width = WIDTHS[-1] if figure.whole_width else WIDTHS[0]
                svg = standalone(figure.draw(figure.name, width))
                yield f"{figure.name}.svg", svg.encode()
                yield f"{figure.name}.pdf", pdf(svg)
                captions.append(captioned(figure))
    yield "figures.tex", "\n".join(captions).encode()
    for name, table in tables(page):
        yield f"{name}.csv", as_csv(table).encode()
        yield f"{name}.tex", as_latex(table).encode()


# Plots


def standalone(svg: str) -> str:
    """Return a plot of the page as a file of its own."""
    root = ElementTree.fromstring(svg)
    styled(root, "#000000")
    for parent in list(root.iter()):
        for k, child in enumerate(list(parent)):
            if clip := child.attrib.pop("clip-path", None):  # some programs clip groups only
                group = ElementTree.Element("g", {"clip-path": clip})
                parent[k] = group
                group.append(child)
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "xmlns:xlink": "http://www.w3.org/1999/xlink",
    }
    return ElementTree.tostring(root, encoding="unicode")


def styled(element: PIECE, colour: str) -> None:
    """Give an element and all in it the looks of the style sheet as attributes.

    Args:
        element: changed in place.
        colour: that it inherits.
    """
    classes = set(element.attrib.pop("class", "").split())
    found: dict[str, str] = {"font-family": _FONT} if element.tag == "text" else {}
    for tag, needs, declared in rules():
        if tag in ("", element.tag) and needs <= classes and (tag or needs):
            found |= declared
    colour = found.pop("color", colour)
    element.attrib |= {
        key: colour if value == "currentColor" else value.removesuffix("px")
        for key, value in found.items()
        if key in (*_DRAWN, "font-family")
    }
    for key in ("role", "aria-labelledby"):
        element.attrib.pop(key, None)
    if "href" in element.attrib:
        element.attrib["xlink:href"] = element.attrib["href"]
    for child in element:
        styled(child, colour)


@cache
def rules() -> tuple[tuple[str, frozenset[str], dict[str, str]], ...]:
    """Return what the page's style sheet says of tags and classes in plots, in its order."""
    sheet = (files("snnconv.render") / "templates" / "report.css").read_text(encoding="utf-8")
    plain = _NESTED.sub("", re.sub(r"/\*.*?\*/", "", sheet, flags=re.S))
    parts = [(heads.strip(), _declared(body)) for heads, body in _RULE.findall(plain)]
    colours = next(declared for heads, declared in parts if heads == ":root")
    found = []
    for heads, declared in parts:
        known = {key: _resolved(value, colours) for key, value in declared.items()}
        for head in heads.split(","):
            if (match := _SIMPLE.fullmatch(head.strip())) and (match[1] or match[2]):
                found.append((match[1], frozenset(match[2].split(".")[1:]), known))
    return tuple(found)


def _declared(body: str) -> dict[str, str]:
    pairs = (part.split(":", 1) for part in body.split(";") if ":" in part)
    return {key.strip(): value.strip() for key, value in pairs}


def _resolved(value: str, colours: Mapping[str, str]) -> str:
    return re.sub(r"var\((--[\w-]+)\)", lambda name: colours[name[1]], value)


def pdf(svg: str) -> bytes:
    """Return a plot as PDF, with the fonts that every reader has.

    Args:
        svg: one that stands alone.
    """
    graphics = imported("svglib.svglib", "--figures")
    printer = imported("reportlab.graphics.renderPDF", "--figures")
    canvas = imported("reportlab.pdfgen.canvas", "--figures")
    drawing = graphics.svg2rlg(io.BytesIO(plain_text(svg).encode()))
    content = io.BytesIO()
    paper = canvas.Canvas(content, (drawing.width, drawing.height), invariant=1)
    printer.draw(drawing, paper, 0, 0)
    paper.save()
    return content.getvalue()


_WORDS = {"\u2212": "-", "\u202f": " ", "\u2009": " ", "\u03b8": "theta", "\u2265": ">="}


def plain_text(text: str) -> str:
    """Return text in the letters that these fonts have."""
    changed = "".join(_WORDS.get(c, c) for c in text)
    return changed.encode("cp1252", "replace").decode("cp1252")


def captioned(figure: Figure) -> str:
    """Return a plot in LaTeX with its caption: as wide as a column, or as the page if needed."""
    kind, width = ("figure*", "\\textwidth") if figure.whole_width else ("figure", "\\columnwidth")
    lines = [
        f"\\begin{{{kind}}}",
        "\\centering",
        f"\\includegraphics[width={width}]{{{figure.name}.pdf}}",
        f"\\caption{{{escaped(figure.title)}. {escaped(figure.caption)}}}",
        f"\\label{{fig:{figure.name}}}",
        f"\\end{{{kind}}}",
    ]
    return "\n".join([*lines, ""])


# Tables


def tables(page: Contents) -> Iterator[tuple[str, Table]]:
    """Return the tables of a report, each with the name of its file."""
    evaluations = [run.report for run in page.runs]
    if evaluations:
        for table in markdown.summary(evaluations):
            yield slug(f"summary {table.title}"), table
    if tests := differences(evaluations):
        yield "differences", tests
    taken: set[str] = set()
    found = [
        (f"{part.name.removeprefix('s-')} {t.title}", t)
        for part in page.sections
        for t in part.tables
    ]
    for label, report in zip(labels(evaluations), evaluations, strict=True):
        found.append((f"layers {label}", layer_table(report)))
    for title, table in found:
        name = slug(title)
        while name in taken:
            name += "-2"
        taken.add(name)
        yield name, table


def slug(title: str) -> str:
    """Return a title as a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "table"


def as_csv(table: Table) -> str:
    """Return a table for programs: a column for each number, with its unit in the head.

    Numbers have all their digits. A cell is empty if nothing was measured.
    """
    table = table.turned() if table.across else table
    parts = [_columns(column.title, cells) for column, cells in _by_column(table)]
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerows(zip(*(column for part in parts for column in part), strict=True))
    return content.getvalue()


def _by_column(table: Table) -> Iterator[tuple[Column, list[Cell]]]:
    for c, column in enumerate(table.columns):
        yield column, [row[c] for row in table.rows]


def _columns(title: str, cells: Sequence[Cell]) -> list[list[str]]:
    """Return one column for each number that the cells hold; words stand in the first."""
    kinds = dict.fromkeys((n.of, n.unit) for cell in cells for n in units.numbers(cell))
    found = []
    for k, kind in enumerate(kinds or [("", "")]):
        of, unit = kind
        head = f"{title}{', ' if of and title else ''}{of}{f' ({unit})' if unit else ''}"
        column = [units.printable(head)]
        for cell in cells:
            known = {(n.of, n.unit): n.value for n in units.numbers(cell)}
            words = "" if known or k else units.printable(cell or "")
            column.append(_plain(known[kind]) if kind in known else words)
        found.append(column)
    return found


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u2212": "$-$",
    "\u2013": "--",
    "\u00b5": r"\textmu{}",
    "\u03b8": r"$\theta$",
}


def as_latex(table: Table) -> str:
    """Return a table as a ``tabular`` of the package booktabs, best values bold."""
    kinds = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [f"% {units.printable(table.title)}; takes \\usepackage{{booktabs}}"]
    lines += [f"\\begin{{tabular}}{{{kinds}}}", "\\toprule"]
    lines.append(_line([escaped(column.title) for column in table.columns]))
    lines.append("\\midrule")
    for r, row in enumerate(table.rows):
        cells = ["--" if cell is None else escaped(cell) for cell in row]
        best = [
            f"\\textbf{{{text}}}" if (r, c) in table.best else text for c, text in enumerate(cells)
        ]
        lines.append(_line(best))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def escaped(text: str) -> str:
    """Return text that LaTeX shows as it is."""
    clean = units.typographic(units.printable(text))
    return "".join(_LATEX.get(c, c) for c in clean)

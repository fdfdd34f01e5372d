"""Plots and tables as files for a paper: whole, and without the page's style sheet."""

import csv
import re
import sys
from xml.etree import ElementTree

import pytest
from helpers import examples

from snnconv.errors import UsageError
from snnconv.render import units
from snnconv.render.describe.training_comparison import around
from snnconv.render.paper import (
    as_csv,
    as_latex,
    escaped,
    needed,
    papers,
    pdf,
    rules,
    standalone,
    tables,
)
from snnconv.render.sections import contents
from snnconv.render.tables import Column, Table
from snnconv.reports import Spread

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def written():
    page = contents(examples.three()[:2])
    return page, dict(papers(page))


def test_every_plot_and_every_table_is_there(written):
    page, files = written
    drawn = {f.name for part in page.sections for f in part.figures if f.draw is not None}
    assert {name.removesuffix(".svg") for name in files if name.endswith(".svg")} == drawn
    assert {name.removesuffix(".pdf") for name in files if name.endswith(".pdf")} == drawn
    named = {name for name, _ in tables(page)}
    assert {name.removesuffix(".csv") for name in files if name.endswith(".csv")} == named
    assert {name.removesuffix(".tex") for name in files if name.endswith(".tex")} == (
        named | {"figures"}
    )
    assert len(drawn) >= 8
    assert len([name for name in named if name.startswith("layers-")]) == 2


def test_plots_fit_a_column_or_the_page_and_have_captions(written):
    page, files = written
    text = files["figures.tex"].decode()
    figures = [f for part in page.sections for f in part.figures if f.draw is not None]
    assert {f.whole_width for f in figures} == {True, False}
    for figure in figures:
        (width,) = re.findall(r'<svg[^>]* width="(\d+)"', files[f"{figure.name}.svg"].decode())
        assert int(width) == (592 if figure.whole_width else 352)
        assert f"{{{figure.name}.pdf}}\n\\caption{{{escaped(figure.title)}." in text
    assert text.count(r"\begin{figure") == text.count(r"\end{figure") == len(figures)
    assert text.count("{") == text.count("}")


def test_a_plot_needs_no_style_sheet(written):
    _, files = written
    for name in [name for name in files if name.endswith(".svg")]:
        text = files[name].decode()
        assert not re.search(r"class=|var\(|currentColor|style=", text), name
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        for element in root.iter(f"{SVG}text"):
            assert {"font-size", "font-family", "fill"} <= set(element.attrib), name
        for element in root.iter():  # programs that clip groups only draw it right, too
            assert "clip-path" not in element.attrib or element.tag == f"{SVG}g"
    for name in [name for name in files if name.endswith(".pdf")]:
        assert files[name].startswith(b"%PDF") and files[name].rstrip().endswith(b"%%EOF"), name


def test_looks_are_those_of_the_page():
    line = '<svg><path class="s1 line" d="M0 0"/><g class="s0"><rect class="bar"/></g></svg>'
    path, group = ElementTree.fromstring(standalone(line))
    (bar,) = group
    page = {names: declared for tag, names, declared in rules() if not tag}
    assert path.get("stroke") == page[frozenset(["s1"])]["color"]
    assert (path.get("fill"), path.get("stroke-linejoin")) == ("none", "round")
    assert bar.get("fill") == page[frozenset(["s0"])]["color"]  # inherited


def test_the_same_plot_is_the_same_bytes():
    svg = standalone(
        '<svg width="9" height="9"><text class="tick" x="1" y="8">\u22121\u03b8</text></svg>'
    )
    assert pdf(svg) == pdf(svg)


def test_a_table_keeps_its_rows(written):
    page, files = written
    for name, table in tables(page):
        rows = list(csv.reader(files[f"{name}.csv"].decode().splitlines()))
        table_of_runs = table.turned() if table.across else table
        assert [row[0] for row in rows[1:]] == [row[0] for row in table_of_runs.rows]
        assert files[f"{name}.tex"].decode().count("\\\\\n") == len(table.rows) + 1


def test_csv_has_plain_numbers_in_stated_units(written):
    page, files = written
    reports = [run.report for run in page.runs]
    names = [run.label for run in page.runs]
    for file, head, values in (
        ("accuracy", "SNN at T (%)", [100 * each.accuracy[-1] for each in reports]),
        ("accuracy", "ANN (%)", [100 * each.ann_accuracy for each in reports]),
        ("spikes", "Synaptic operations (SOPs)", [each.sops_per_sample for each in reports]),
        ("energy-per-sample-of-the-ann-s", "ANN (mJ)", [each.energy_ann_mj for each in reports]),
        ("simulation", "Time per sample (s)", [each.seconds_per_sample for each in reports]),
    ):
        rows = list(csv.DictReader(files[f"summary-{file}.csv"].decode().splitlines()))
        assert [row["run"] for row in rows] == names
        assert [float(row[head]) for row in rows] == pytest.approx(values, rel=1e-14), head
    (layers, *_) = [name for name in files if name.startswith("layers-") and name.endswith(".csv")]
    rows = list(csv.DictReader(files[layers].decode().splitlines()))
    assert [float(row["SOPs"]) for row in rows] == [x.sops_per_sample for x in reports[0].layers]
    everything = "".join(files[name].decode() for name in files if name.endswith(".csv"))
    assert not re.search(
        r"\d (?:[kMGTP]|[umnp]?J|[um]?s|[MG]iB)?(?:,|$)|\d \d{3}\b", everything, re.M
    )


def test_csv_of_several_numbers_in_a_cell():
    spread = around(Spread(mean=0.5, std=0.125), units.percent)
    cells = ((spread, units.energy(1.25e-6)), ("failed", None))
    rows = as_csv(Table("T", (Column("accuracy"), Column("energy")), cells)).splitlines()
    assert rows == [
        'accuracy (%),"accuracy, standard deviation (%)",energy (mJ)',
        "50,12.5,1.25e-06",
        "failed,,",
    ]


def test_latex():
    columns = (Column("a_b", numeric=False), Column("50 %"))
    text = as_latex(Table("T", columns, (("x&y", None), ("z", "1")), best=frozenset({(1, 1)})))
    assert text.splitlines()[1:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b & 50 \% \\",
        r"\midrule",
        r"x\&y & -- \\",
        r"z & \textbf{1} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert escaped("-1 uJ \\") == r"$-$1 \textmu{}J \textbackslash{}"


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "svglib", None)
    monkeypatch.delitem(sys.modules, "svglib.svglib", raising=False)
    with pytest.raises(UsageError, match="needs the package svglib") as caught:
        needed()
    assert caught.value.remedy == "pip install --upgrade svglib"

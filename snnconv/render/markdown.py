"""Evaluations as Markdown: for a repository, an issue or a paper's supplement."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from snnconv.render import functions, marks, provenance, units
from snnconv.render.compare import BOLD, Quantity, comparable, differences, quantities, verdict
from snnconv.render.functions import function_table
from snnconv.render.labels import drawn, labels
from snnconv.render.layers import layer_table
from snnconv.render.significance import told_bounds
from snnconv.render.tables import Cell, Column, Fact, Facts, Table
from snnconv.reports import EvaluateReport

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, also in a table's cell."""
    clean = units.typographic(units.printable(text))
    clean = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", clean)


def _cell(cell: Cell, best: bool) -> str:
    if cell is None:
        return "\u2013"
    return f"**{escaped(cell)}**" if best else escaped(cell)


def _table(table: Table) -> str:
    heads = [escaped(column.title) for column in table.columns]
    rules = ["---:" if column.numeric else ":---" for column in table.columns]
    rows = [
        [_cell(cell, (r, c) in table.best) for c, cell in enumerate(row)]
        for r, row in enumerate(table.rows)
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rules, *rows))


def _fact(item: Fact) -> str:
    if item.name == "Command" and "`" not in item.value:
        return f"- {item.name}: `{units.printable(item.value)}`"
    remark = f" ({escaped(item.remark)})" if item.remark else ""
    return f"- {escaped(item.name)}: {escaped(item.value)}{remark}"


def _facts(facts: Facts) -> str:
    return "\n".join(map(_fact, facts.items))


def summary(evaluations: Sequence[EvaluateReport]) -> list[Table]:
    """Return a table per group of quantities, with a column per run."""
    columns = (Column("", numeric=False), *(Column(label) for label in labels(evaluations)))
    groups: dict[str, list[Quantity]] = {}
    for quantity in quantities(evaluations):
        groups.setdefault(quantity.group, []).append(quantity)
    return [
        Table(
            group,
            columns,
            tuple((quantity.name, *_with_intervals(quantity)) for quantity in found),
            frozenset((r, c + 1) for r, quantity in enumerate(found) for c in quantity.best),
            across=True,
        )
        for group, found in groups.items()
    ]


def _with_intervals(quantity: Quantity) -> list[Cell]:
    pairs = zip_longest(quantity.cells, quantity.intervals)
    return [
        cell
        if bounds is None
        else units.Measured(f"{cell} ({bounds})", *units.numbers(cell), *units.numbers(bounds))
        for cell, bounds in pairs
    ]


def _run(label: str, report: EvaluateReport) -> list[str]:
    parts = [f"## {escaped(label)}"]
    for facts in (provenance.conversion(report), provenance.measurement(report)):
        parts += [f"### {facts.title}", _facts(facts)]
    if report.layers:
        parts += ["### Layers", _table(layer_table(report))]
    if report.functions:
        parts += ["### Functions", functions.sentence(report), _table(function_table(report))]
    parts += ["### Files", _table(provenance.lineage(report))]
    parts += ["### Environment", _facts(provenance.environment(report))]
    return parts


def _glossary(evaluations: Sequence[EvaluateReport]) -> list[str]:
    """Return what the columns of the layers' tables are, once for all runs."""
    hints = {c.title: c.hint for run in evaluations for c in layer_table(run).columns if c.hint}
    lines = [f"- {escaped(title)}: {escaped(hint)}" for title, hint in hints.items()]
    return ["## Columns of the layers' tables", "\n".join(lines)] if lines else []


def markdown(evaluations: Sequence[EvaluateReport]) -> str:
    """Return the comparison, then every run with its layers and where it comes from."""
    parts = [marks.MARKDOWN]
    if not evaluations:
        return f"{parts[0]}\n\nNo evaluations.\n"
    first = evaluations[0]
    if comparable(evaluations):
        samples = drawn(first.subset, first.samples, "test")
        parts.append(f"On {escaped(first.data.spec)}: {samples}.")
    tables = summary(evaluations)
    if said := verdict(evaluations):
        parts.append(escaped(said))
    parts += told_bounds(evaluations, "In brackets behind")
    if any(table.best for table in tables):
        parts.append(BOLD)
    if tests := differences(evaluations):
        tables.append(tests)
    for table in tables:
        parts += [f"## {escaped(table.title)}", _table(table)]
        parts += [escaped(table.note)] if table.note else []
    for label, report in zip(labels(evaluations), evaluations, strict=True):
        parts += _run(label, report)
    return "\n\n".join([*parts, *_glossary(evaluations)]) + "\n"

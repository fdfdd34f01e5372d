"""Evaluations as Markdown: for a repository, an issue or a paper's supplement."""

import re
from collections.abc import Sequence

from snnconv.render import provenance, units
from snnconv.render.compare import comparable, labels, quantities
from snnconv.render.layers import layer_table
from snnconv.render.tables import Cell, Column, Facts, Table
from snnconv.reports import EvaluateReport

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a table's cell, too."""
    clean = units.micro(units.printable(text))
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


def _facts(facts: Facts) -> str:
    return "\n".join(
        f"- {escaped(item.name)}: {escaped(item.value)}"
        + (f" ({escaped(item.remark)})" if item.remark else "")
        for item in facts.items
    )


def summary(evaluations: Sequence[EvaluateReport]) -> Table:
    """A row per quantity, a column per run."""
    found = quantities(evaluations)
    columns = (Column("", numeric=False), *(Column(label) for label in labels(evaluations)))
    rows = tuple((f"{quantity.group}: {quantity.name}", *quantity.cells) for quantity in found)
    best = frozenset((r, c + 1) for r, quantity in enumerate(found) for c in quantity.best)
    return Table("Summary", columns, rows, best)


def _run(label: str, report: EvaluateReport) -> list[str]:
    parts = [f"## {escaped(label)}"]
    for facts in (provenance.conversion(report), provenance.measurement(report)):
        parts += [f"### {facts.title}", _facts(facts)]
    if report.layers:
        table = layer_table(report)
        hints = [f"{escaped(c.title)}: {escaped(c.hint)}" for c in table.columns if c.hint]
        parts += ["### Layers", _table(table), "; ".join(hints) + "."]
    parts += ["### Files", _table(provenance.lineage(report))]
    parts += ["### Environment", _facts(provenance.environment(report))]
    return parts


def markdown(evaluations: Sequence[EvaluateReport]) -> str:
    """The comparison, then every run with its layers and where it comes from."""
    parts = ["# Spiking networks, evaluated by snnconv"]
    if not evaluations:
        return f"{parts[0]}\n\nNo evaluations.\n"
    first = evaluations[0]
    if comparable(evaluations):
        n = units.count(first.samples)
        parts.append(f"On {n} test samples of {escaped(first.data.spec)}. Best values in bold.")
    else:
        parts.append("The runs were measured on different samples, so none is marked as best.")
    parts.append(_table(summary(evaluations)))
    for label, report in zip(labels(evaluations), evaluations, strict=True):
        parts += _run(label, report)
    return "\n\n".join(parts) + "\n"

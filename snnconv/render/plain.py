"""Blocks as plain lines: what a log, a pipe or a file gets. No colour, no boxes, no width."""

from collections.abc import Sequence

from snnconv.render.tables import Block, Cell, Facts, Table
from snnconv.render.units import printable

GAP = "  "
LONG = 16


def _text(cell: Cell) -> str:
    return "-" if cell is None else printable(cell)


def columns(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return rows in aligned columns; no line ends in spaces."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(right))]
    return [
        GAP.join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]


def _table(table: Table) -> list[str]:
    rows = [[printable(column.title) for column in table.columns]]
    rows += [
        [_text(cell) + ("*" if (r, c) in table.best else "") for c, cell in enumerate(row)]
        for r, row in enumerate(table.rows)
    ]
    if table.best:
        # numbers stay aligned under one another when only some carry the star
        for c in {column for _, column in table.best}:
            for r in range(1, len(rows)):
                rows[r][c] += "" if (r - 1, c) in table.best else " "
            rows[0][c] += " "
    lines = columns(rows, [column.numeric for column in table.columns])
    notes = [table.note, f"* {table.mark}" if table.best else ""]
    return [table.title, *lines, *(note for note in notes if note)]


def value_width(facts: Facts) -> int:
    """Return how wide values are; a single long one does not push all remarks away."""
    short = [len(item.value) for item in facts.items if item.remark and len(item.value) < LONG]
    return max(short, default=0)


def _facts(facts: Facts) -> list[str]:
    names = max(len(printable(item.name)) for item in facts.items)
    values = value_width(facts)
    lines = [printable(facts.title)]
    for item in facts.items:
        name, value = printable(item.name).ljust(names), _text(item.value).ljust(values)
        lines.append(GAP.join((name, value, printable(item.remark))).rstrip())
    return lines


def plain(blocks: Sequence[Block]) -> str:
    """Return blocks with an empty line between them."""
    parts = [_table(b) if isinstance(b, Table) else _facts(b) for b in blocks]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"

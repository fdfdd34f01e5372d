"""What is shown, before how: tables and lists of facts that every renderer can draw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

Cell = str | None
"""None is "not measured"; each renderer has its own dash for it."""


@dataclass(frozen=True)
class Column:
    """A column's head. Numbers stand flush right; ``optional`` names the group that may go."""

    title: str
    numeric: bool = True
    hint: str = ""
    optional: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under heads; ``best`` holds the (row, column) of what is marked as ``mark``.

    ``across`` says that the columns are runs, and each row is one quantity of all of them.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""
    mark: str = "best"
    across: bool = False

    def only(self, kept: Sequence[int]) -> "Table":
        """Return the table with these columns alone."""
        return replace(
            self,
            columns=tuple(self.columns[c] for c in kept),
            rows=tuple(tuple(row[c] for c in kept) for row in self.rows),
            best=frozenset((r, kept.index(c)) for r, c in self.best if c in kept),
        )

    def without_empty(self) -> "Table":
        """Return the table without columns in which nothing was measured; the first stays."""
        measured = {c for row in self.rows for c, cell in enumerate(row) if cell is not None}
        return self.only([c for c in range(len(self.columns)) if c == 0 or c in measured])

    def turned(self) -> "Table":
        """Return a table ``across`` with a row for each run, for programs; nothing is marked."""
        heads = (Column("run", numeric=False), *(Column(row[0] or "") for row in self.rows))
        rows = tuple(
            (column.title, *(row[c] for row in self.rows))
            for c, column in enumerate(self.columns[1:], start=1)
        )
        return Table(self.title, heads, rows)

    def explained(self) -> "Table":
        """Return the table with the columns' hints below, where nobody can point at a head."""
        hints = [f"{column.title}: {column.hint}" for column in self.columns if column.hint]
        return replace(self, note="; ".join([*([self.note] if self.note else []), *hints]))


@dataclass(frozen=True)
class Fact:
    """A named value, with a remark behind it."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Facts:
    """Named values below one another."""

    title: str
    items: tuple[Fact, ...]


Block = Table | Facts

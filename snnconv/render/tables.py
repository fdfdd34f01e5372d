"""What is shown, before how: tables and lists of facts that every renderer can draw."""

from dataclasses import dataclass

Cell = str | None
"""None is "not measured"; each renderer has its own dash for it."""


@dataclass(frozen=True)
class Column:
    """A column's head. Numbers stand flush right."""

    title: str
    numeric: bool = True
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under heads; ``best`` holds the (row, column) of what is marked as best."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""

    def without_empty(self) -> "Table":
        """Without the columns in which nothing was measured; the first always stays."""
        kept = [
            c for c in range(len(self.columns)) if c == 0 or any(row[c] is not None for row in self.rows)
        ]
        return Table(
            self.title,
            tuple(self.columns[c] for c in kept),
            tuple(tuple(row[c] for c in kept) for row in self.rows),
            frozenset((r, kept.index(c)) for r, c in self.best if c in kept),
            self.note,
        )


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

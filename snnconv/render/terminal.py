"""The terminal: progress, tables and errors; plain lines where the output is no terminal."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from pydantic import BaseModel
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table as RichTable
from rich.text import Text

from snnconv.core.progress import Advance
from snnconv.errors import UsageError, one_line
from snnconv.render.describe import describe
from snnconv.render.plain import plain, value_width
from snnconv.render.tables import Block, Fact, Facts, Table
from snnconv.render.units import printable
from snnconv.reports import (
    REPORTS,
    ErrorReport,
    PageReport,
    Report,
    RunReport,
    canonical,
    read,
)

GAP = 2
NAME = 24
"""Columns and a name's least width, in characters."""


class Heedless:
    """A stream that takes no harm if nobody reads it: a closed pipe, a full disk.

    Progress is worth no training. What comes after the first failure goes nowhere, at exit too.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or turn the stream away."""
        try:
            written = self.stream.write(text)
            self.stream.flush()
        except OSError:
            turn_away(self.stream)
            return len(text)
        return written

    def flush(self) -> None:
        """Do nothing: :meth:`write` flushes."""


def turn_away(stream: TextIO) -> None:
    """Let a stream that can't be written end in nothing; Python flushes it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Terminal:
    """Where a command talks: its report on stdout, what goes on meanwhile on stderr.

    Args:
        as_json: whether reports and errors are JSON.
        verbose: whether options, files and versions are told, too.
    """

    def __init__(self, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose
        # a layer named `:x:` is a name, not an emoji
        told = cast(TextIO, Heedless(sys.stderr))
        self.err = Console(file=told, highlight=False, emoji=False)
        self.out = self.err if as_json else Console(highlight=False, emoji=False)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """Draw a progress bar on a terminal, nothing elsewhere; it goes when the work is done."""
        if not self.err.is_terminal:
            yield lambda done: None
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self.err, transient=True) as bars:
            bar = bars.add_task(printable(label), total=total)
            yield lambda done: bars.advance(bar, done)

    def say(self, line: str) -> None:
        """Print a line on what was just done."""
        self._line(line)

    def error(self, error: ErrorReport) -> None:
        """Print what went wrong, what was found, what to do next."""
        self._line(error.text())
        if self.as_json:
            try:
                self._put(canonical(error))
            except OSError:
                turn_away(sys.stdout)

    def show(self, report: BaseModel) -> None:
        """Print a finished stage's report.

        A reader that left has seen enough: what it left unread is no error.

        Raises:
            UsageError: standard output can't be written.
        """
        try:
            self._show(report)
        except BrokenPipeError:
            turn_away(sys.stdout)
        except OSError as error:
            turn_away(sys.stdout)
            outputs = report.lineage.outputs if isinstance(report, Report) else []
            saved = ", ".join(output.path for output in outputs)
            raise UsageError(
                "the report can't be printed",
                f"standard output: {one_line(error)}",
                f"the work is done, its files are whole: {saved}"
                if saved
                else "send it to a place with room",
            ) from error

    def _show(self, report: BaseModel) -> None:
        for output in report.lineage.outputs if isinstance(report, Report) else ():
            if Path(output.path).is_symlink():
                self.say(f"{output.path} is a link: {os.path.realpath(output.path)} was written")
        if self.as_json:
            self._put(canonical(report))
            return
        if isinstance(report, PageReport):
            _write(self.out, report.text)
            return
        blocks = describe(report)
        if blocks is None:
            _write(self.out, canonical(report))
        else:
            self.show_blocks(blocks)
        if isinstance(report, RunReport) and (result := _result(report)):
            self.show_blocks(describe(result) or [])
        if self.verbose and isinstance(report, Report):
            self.show_blocks(_behind(report))
        sys.stdout.flush()

    @staticmethod
    def _put(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _line(self, text: str) -> None:
        lines = "\n".join(printable(line) for line in text.split("\n"))
        if self.err.is_terminal:
            self.err.print(lines, markup=False, soft_wrap=True)
        else:
            _write(self.err, lines + "\n")

    def show_blocks(self, blocks: Sequence[Block]) -> None:
        """Print tables and lists: drawn on a terminal, as plain text elsewhere."""
        if not self.out.is_terminal:
            _write(self.out, plain(blocks))
            return
        for block in blocks:
            self.out.print()
            drawn = _table(block, self.out.width) if isinstance(block, Table) else _facts(block)
            self.out.print(Text(printable(block.title), style="bold"))
            self.out.print(drawn)


def _result(run: RunReport) -> Report | None:
    """Return what a recipe came to: its report, its last evaluation, or its last stage."""
    done = [step for step in run.steps if step.report is not None]
    if not done:
        return None
    ends = [step for step in done if step.stage in ("report", "evaluate")]
    last = (ends or done)[-1]
    return read(Path(last.report or ""), REPORTS[last.stage])


def _behind(report: Report) -> list[Block]:
    """Return what a report was made with: every option, file and version."""
    read = [("read", file) for file in report.lineage.inputs]
    files = [*read, *(("written", file) for file in report.lineage.outputs)]
    return [
        Facts("options", tuple(Fact(name, str(value)) for name, value in report.config.items())),
        Facts("files", tuple(Fact(how, file.path, file.sha256[:12]) for how, file in files)),
        Facts(
            "environment",
            (
                *(Fact(name, str(value)) for name, value in report.environment.items()),
                Fact("seconds", f"{report.seconds:.2f}"),
            ),
        ),
    ]


def _write(console: Console, text: str) -> None:
    """Print text as it is; what the stream can't encode becomes a question mark."""
    encoding = getattr(console.file, "encoding", None) or "utf-8"
    console.file.write(text.encode(encoding, "replace").decode(encoding))


def _fitting(table: Table, width: int) -> tuple[Table | None, list[str]]:
    """Return the table without as many optional groups as needed, and the names of those."""
    widths = [
        max(len(column.title), *(len(row[c] or "-") for row in table.rows), 0)
        for c, column in enumerate(table.columns)
    ]
    # a text may be folded, a number may not
    widths = [
        width if c and table.columns[c].numeric else min(width, NAME)
        for c, width in enumerate(widths)
    ]
    kept, dropped = list(range(len(widths))), list[str]()
    groups = dict.fromkeys(column.optional for column in table.columns if column.optional)
    for group in (*groups, ""):
        if sum(widths[c] + GAP for c in kept) - GAP <= width:
            return table.only(kept), dropped
        kept = [c for c in kept if table.columns[c].optional != group]
        dropped.append(group)
    return None, []


def _table(table: Table, width: int) -> Group:
    """Return a table that fits the width, or its rows one by one: no number is cropped."""
    shown, dropped = _fitting(table, width)
    if shown is None:
        return _rows(table)
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for c, column in enumerate(shown.columns):
        drawn.add_column(
            Text(printable(column.title)),
            justify="right" if column.numeric else "left",
            no_wrap=c > 0 and all(len(row[c] or "") <= NAME for row in shown.rows),
            overflow="fold",
        )
    for r, row in enumerate(shown.rows):
        cells = (("-", "dim") if cell is None else (printable(cell), "") for cell in row)
        drawn.add_row(
            *(
                Text(text, style="bold green" if (r, c) in shown.best else style)
                for c, (text, style) in enumerate(cells)
            )
        )
    notes = [table.note] if table.note else []
    if dropped:
        notes.append(f"not shown for lack of width: {', '.join(dropped)}")
    return Group(drawn, *(Text(printable(note), style="dim") for note in notes))


def _rows(table: Table) -> Group:
    """Return a table's rows below one another, each as a list of its cells."""
    parts: list[RenderableType] = []
    for r, row in enumerate(table.rows):
        cells = (
            Fact(column.title, f"{cell}*" if (r, c) in table.best else cell)
            for c, (column, cell) in enumerate(zip(table.columns, row, strict=True))
            if c > 0 and cell is not None
        )
        parts += [Text(printable(row[0] or "-")), _facts(Facts("", tuple(cells)))]
    notes = [f"* {table.mark}"] if table.best else []
    notes += [table.note] if table.note else []
    return Group(*parts, *(Text(printable(note), style="dim") for note in notes))


def _facts(facts: Facts) -> Padding:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    values = value_width(facts)
    for item in facts.items:
        value = printable(item.value)
        if item.remark:
            value = value.ljust(values)
        grid.add_row(
            Text(printable(item.name), style="dim"),
            Text.assemble(value, "  " if item.remark else "", (printable(item.remark), "dim")),
        )
    return Padding(grid, (0, 0, 0, 2))

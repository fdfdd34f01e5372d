"""The terminal: progress, tables and errors; plain lines where the output is no terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from snnconv.errors import SnnconvError
from snnconv.progress import Advance
from snnconv.reports import canonical


class Terminal:
    """Where a command talks: its report on stdout, what goes on meanwhile on stderr."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
        self.err = Console(file=sys.stderr, highlight=False)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """A progress bar on a terminal, nothing elsewhere; it goes when the work is done."""
        if not self.err.is_terminal:
            yield lambda done: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self.err, transient=True) as bars:
            bar = bars.add_task(label, total=total)
            yield lambda done: bars.advance(bar, done)

    def say(self, line: str) -> None:
        """A line on what was just done."""
        self.err.print(line, markup=False, soft_wrap=True)

    def error(self, error: SnnconvError) -> None:
        """What went wrong, what was found, what to do next."""
        self.err.print(f"error: {error}", markup=False, soft_wrap=True)

    def interrupted(self) -> None:
        """The user pressed Ctrl-C."""
        self.err.print("interrupted: files are as they were before this command")

    def show(self, report: BaseModel) -> None:
        """A finished stage's report."""
        if self.as_json:
            sys.stdout.write(canonical(report))
        else:
            self.out.print(canonical(report), markup=False)

"""Progress of long work: a stage reports steps, and the command line draws them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """The reader of progress."""

    def task(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """Begin work of ``total`` units; call the result with each number that is done."""
        ...

    def say(self, line: str) -> None:
        """Show a line worth reading, for example an epoch's accuracy."""
        ...


class Quiet:
    """A reader that ignores progress: the default of the Python API."""

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """Count nothing."""
        yield lambda done: None

    def say(self, line: str) -> None:
        """Show nothing."""

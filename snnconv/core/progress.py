"""Progress of long work: a stage reports steps, and the command line draws them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """The reader of progress."""

    def task(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """A piece of work of ``total`` units; call what it gives with each number done."""
        ...

    def say(self, line: str) -> None:
        """A line worth reading, e.g. an epoch's accuracy."""
        ...


class Quiet:
    """A reader that ignores progress: the default of the Python API."""

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """Counts nothing."""
        yield lambda done: None

    def say(self, line: str) -> None:
        """Says nothing."""

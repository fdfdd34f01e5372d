"""Progress of long work: a stage reports steps, and the command line draws them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

Part = TypeVar("Part")
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


def told_of(
    progress: Progress, label: str, total: int, parts: Iterable[Part], size: Callable[[Part], int]
) -> Iterator[Part]:
    """Give parts of a piece of work one by one, and count each when the next one is asked for.

    Args:
        progress: told of them.
        label: of the work.
        total: its units.
        parts: its parts.
        size: the units of one part.
    """
    with progress.task(label, total) as advance:
        for part in parts:
            yield part
            advance(size(part))

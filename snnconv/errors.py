"""What goes wrong, said once: the problem, what was found, and the next step."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes; scripts may rely on them."""

    DONE = 0
    USAGE = 2
    UNSUPPORTED = 3
    CHECK_FAILED = 4
    CHECKPOINT = 5
    INTERRUPTED = 130


class SnnconvError(Exception):
    """An error with a remedy. The library raises it, the command line renders it.

    Args:
        problem: what can't be done, with the place (file, layer, option).
        found: what was there instead, with the value.
        remedy: one next step.
    """

    code = ExitCode.USAGE

    def __init__(self, problem: str, found: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  found: {found}\n  next:  {remedy}")
        self.problem = problem
        self.found = found
        self.remedy = remedy


class UsageError(SnnconvError):
    """An option, a path or a name that can't be taken."""

    code = ExitCode.USAGE


class UnsupportedError(SnnconvError):
    """A network or data that snnconv does not take."""

    code = ExitCode.UNSUPPORTED


@dataclass(frozen=True)
class Obstacle:
    """One thing in a network that can't be converted.

    Args:
        place: the layer, and the call or operator.
        found: what is there.
        remedy: one way round it.
    """

    place: str
    found: str
    remedy: str


NAMED = 100
"""Obstacles in an error: a recurrence of hard gates has hundreds of products."""


class ObstaclesError(UnsupportedError):
    """A network with things in it that can't be converted: all of them, each with its place."""

    def __init__(self, whose: str, obstacles: Sequence[Obstacle]) -> None:
        count = len(obstacles)
        found = [f"{obstacle.place}: {obstacle.found}" for obstacle in obstacles[:NAMED]]
        if count > NAMED:
            found.append(f"and {count - NAMED} more (snnconv inspect names all)")
        remedies = dict.fromkeys(obstacle.remedy for obstacle in obstacles)
        super().__init__(
            f"{count} operation{'s' * (count > 1)} of {whose} can't be converted",
            "; ".join(found),
            "; ".join(remedies),
        )
        self.obstacles = tuple(obstacles)


class CheckFailedError(SnnconvError):
    """A measurement contradicts what must hold."""

    code = ExitCode.CHECK_FAILED


class CheckpointError(SnnconvError):
    """A checkpoint that is corrupt, foreign, of the wrong stage or of a later version."""

    code = ExitCode.CHECKPOINT


def said(error: BaseException) -> str:
    """What a foreign exception says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

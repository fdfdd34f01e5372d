"""Errors that say the problem, what was found, and the next step."""

import difflib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any


class ExitCode(IntEnum):
    """Process exit codes; scripts may rely on them."""

    DONE = 0
    USAGE = 2
    UNSUPPORTED = 3
    CHECK_FAILED = 4
    CHECKPOINT = 5
    UNFORESEEN = 70
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pass to another process as what it is, whatever its class is made from."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[SnnconvError], args: tuple[Any, ...], content: dict[str, Any]) -> Any:
    """Return an error from another process."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(content)
    return error


class UsageError(SnnconvError):
    """An option, a path or a name that can't be used."""

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
"""Reasons in an error."""

PLACES = 5
"""Operations of one reason in an error: a recurrence of hard gates has hundreds of products."""


class ObstaclesError(UnsupportedError):
    """A network with things in it that can't be converted: all of them, by what they are.

    Args:
        whose: the network's.
        obstacles: all of them.
        done: what can't be done with them.
        kind: what they are, in the singular.
    """

    def __init__(
        self,
        whose: str,
        obstacles: Sequence[Obstacle],
        done: str = "be converted",
        kind: str = "operation",
    ) -> None:
        count = len(obstacles)
        reasons = _places((each.found, each.place) for each in obstacles)
        remedies = _places((each.remedy, each.place) for each in obstacles)
        most = PLACES if kind == "operation" else count
        found = [f"{_few(places, most)}: {reason}" for reason, places in reasons.items()]
        if len(found) > NAMED:
            found[NAMED:] = [f"and {len(found) - NAMED} more reasons"]
        if any(len(places) > most for places in reasons.values()):
            found[-1] += " (all of them: snnconv inspect)"
        several = len(remedies) > 1  # each is said with the places that it is for
        super().__init__(
            f"{count} {kind}{'s' * (count > 1)} of {whose} can't {done}",
            "; ".join(found),
            "; ".join(
                f"{_few(places, 3)}: {remedy}" if several else remedy
                for remedy, places in remedies.items()
            ),
        )
        self.obstacles = tuple(obstacles)


def _places(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the places of each text, both in order and once."""
    found: dict[str, dict[str, None]] = {}
    for text, place in pairs:
        found.setdefault(text, {})[place] = None
    return {text: list(places) for text, places in found.items()}


def _few(places: Sequence[str], most: int) -> str:
    """Name the first few places, and say how many more there are."""
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(places[:most]) + more


class CheckFailedError(SnnconvError):
    """A measurement contradicts what must hold."""

    code = ExitCode.CHECK_FAILED


class CheckpointError(SnnconvError):
    """A checkpoint that is corrupt, foreign, of the wrong stage or of a later version."""

    code = ExitCode.CHECKPOINT


class UnforeseenError(SnnconvError):
    """An exception that no part of snnconv foresaw: only the guard catches it."""

    code = ExitCode.UNFORESEEN


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command: SIGINT, SIGTERM or SIGHUP.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = ExitCode(128 + number)


def one_line(error: BaseException) -> str:
    """Return the message of a foreign exception, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


LISTED = 20  # names in an error; of more, the closest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a remedy that names the closest known name, and all names if they are few."""
    known = sorted(known)
    if not known:
        return "there is none to choose from"
    close = difflib.get_close_matches(name, known, n=1)
    if len(known) > LISTED:
        few = difflib.get_close_matches(name, known, n=LISTED, cutoff=0.0)
        known = [*few, f"... ({len(known)} in all)"]
    listing = "one of: " + ", ".join(known)
    return f"did you mean '{close[0]}'? ({listing})" if close else f"use {listing}"


_NO_ROOM = ("can't allocate memory", "out of memory", "not enough memory")
"""What torch says, in a ``RuntimeError``, if an allocation fails."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: Python's, NumPy's, torch's or CUDA's."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _NO_ROOM)
    )


@contextmanager
def guarding(what: str) -> Iterator[None]:
    """Turn any remaining exception into an error that names the work and the place.

    Args:
        what: the work, for the error's first line.

    Raises:
        UsageError: a file that the system refuses, or an allocation that fails.
        UnforeseenError: any other exception.
    """
    try:
        yield
    except SnnconvError:
        raise
    except Exception as error:
        raise _told(error, what) from error


def _told(error: Exception, what: str) -> SnnconvError:
    if out_of_memory(error):
        return UsageError(
            f"{what} needs more memory than there is",
            f"{one_line(error)} ({_place(error)})",
            "take less at once (a smaller --batch-size, --memory or --chunk, fewer --timesteps) "
            "or raise the limit of the process (ulimit -v)",
        )
    if isinstance(error, OSError) and error.filename is not None:
        return UsageError(
            f"{what} can't use {error.filename}",
            error.strerror or type(error).__name__,
            "check that the path is there, that you may use it, and that the disk has room",
        )
    return UnforeseenError(
        f"{what} met an unexpected error",
        f"{one_line(error)} ({_place(error)})",
        "look at the whole error with --debug, and report it with the command and its input",
    )


def _place(error: Exception) -> str:
    """Return the innermost line of this package that the error passed."""
    package = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)[1:]  # behind the guard's own
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(package)]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"

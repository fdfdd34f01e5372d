"""The bounds of what users give, in options, parameters and files: each is stated here, once."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

SEED = 2**63 - 1
"""The largest seed that torch takes with a sign."""

COUNT = 2**31 - 1
"""The largest number of samples, epochs or parts."""

STEPS = 2**16
"""The largest T: reports have a row a step."""

LEVELS = 2**15 - 1
"""The largest L: a count of spikes fits 16 bits."""

THREADS = 1024
"""The most threads."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Magnitudes of a number that is not 0: its square root, ratios and sums stay within float32."""

NAME = 255
"""The most bytes that a file's name may have on the file systems in use."""

DEPTH = 100
"""The deepest that JSON may be nested: the functions that walk through it are recursive."""

Value = TypeVar("Value")


def bounded(value: Value) -> Value:
    """Return a value as it is, if it can be computed with, looked up and written down.

    Raises:
        ValueError: a number out of range, or a text or path that no file can have.
    """
    if isinstance(value, float):
        if value != 0 and not SMALLEST <= abs(value) <= LARGEST:  # NaN, too
            raise ValueError(f"give 0, or a number from {SMALLEST:g} to {LARGEST:g} in size")
    elif isinstance(value, str | Path):
        _text(str(value))
    elif isinstance(value, tuple):
        _each(value)
    return value


def parsed_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: no JSON, or nested too deep.
    """
    too_deep = f"JSON nested deeper than {DEPTH}"
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level, depth = [data], 0
    while level := [part for whole in level for part in _parts(whole)]:
        depth += 1
        if depth > DEPTH:
            raise ValueError(too_deep)
    return data


def _parts(whole: Any) -> Iterable[Any]:
    if isinstance(whole, dict):
        return whole.values()
    return whole if isinstance(whole, list) else ()


def _each(values: Iterable[object]) -> None:
    for value in values:
        bounded(value)


def _text(text: str) -> None:
    if "\0" in text:
        raise ValueError("leave out the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("give a name in UTF-8") from None
    # a name may stand behind a colon, as in npz:FILE, and what follows a question mark is no name
    for name in text.partition("?")[0].replace(":", "/").split("/"):
        if (size := len(name.encode())) > NAME:
            raise ValueError(f"give a name of at most {NAME} bytes: this one has {size}")

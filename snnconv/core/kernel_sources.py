"""What a compiled function depends on: every source that its code comes from.

A compiler inlines helpers, and freezes the constants that it finds in modules, so the file of the
function alone doesn't tell whether code that was kept on disk is still current.
"""

import functools
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_KNOWN_BY_VERSION = sys.stdlib_module_names | {"numba", "numpy", "llvmlite"}
_CONSTANT = (bool, int, float, complex, str, bytes, np.generic, np.dtype, np.ndarray)


@functools.cache
def content_of(file: str) -> str:
    """Digest a file, once a process."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:  # within an archive: numba's own stamp has to do
        return file


def digest(function: Callable[..., Any], content: Callable[[str], str] = content_of) -> str:
    """Digest the files and the constants that a function reaches through what it names.

    Args:
        function: to be compiled, with its helpers as plain functions, or compiled by numba.
        content: what stands for a file's content.

    Returns:
        A hexadecimal digest. It changes with every edit of a file that holds the function, a
        helper, a helper's helper or an intrinsic, and with every constant that these name.
    """
    files: set[str] = set()
    constants: set[str] = set()
    waiting: list[Any] = [function]
    seen: dict[int, Any] = {}  # held, so that no other value gets its identity
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if _constant(value):
            held = value.tobytes() if isinstance(value, np.ndarray) else value
            constants.add(f"{type(value).__name__} {held!r}")
        elif _module(value).partition(".")[0] not in _KNOWN_BY_VERSION:
            waiting.extend(_named(value))
            if file := getattr(sys.modules.get(_module(value)), "__file__", None):
                files.add(content(file))
        else:
            waiting.extend(_plain(value))
    return hashlib.sha256(repr((sorted(files), sorted(constants))).encode()).hexdigest()


def _constant(value: Any) -> bool:
    return isinstance(value, _CONSTANT) or (
        isinstance(value, tuple) and all(_constant(item) for item in value)
    )


def _module(value: Any) -> str:
    """Name the module that defines a value, or that it is."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType | type):
        return value.__module__
    return type(value).__module__


def _plain(value: Any) -> Iterator[Any]:
    """Yield the plain functions inside objects of numba and ``functools``."""
    if isinstance(value, tuple):
        yield from value
    elif not isinstance(value, ModuleType | type | FunctionType):
        inside = ("py_func", "_defn", "func", "args")  # a dispatcher, an intrinsic, a partial
        yield from (getattr(value, key, None) for key in inside)


def _named(value: Any) -> Iterator[Any]:
    """Yield what the code of a function, or of a module's functions, refers to."""
    if isinstance(value, FunctionType):
        names = set(_names(value.__code__))
        yield from (value.__globals__[name] for name in names if name in value.__globals__)
        yield from (cell.cell_contents for cell in value.__closure__ or () if _filled(cell))
        yield getattr(value, "__wrapped__", None)
    elif isinstance(value, ModuleType):
        yield from (own for own in vars(value).values() if isinstance(own, FunctionType))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # the function that fills it hasn't got there
        return False
    return True

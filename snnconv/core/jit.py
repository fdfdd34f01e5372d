"""Functions compiled on the user's machine, and how work is split over threads.

No fast-math: additions keep their order and nothing is contracted, so that a compiled function
gives the bits of the PyTorch code it stands for.
"""

import functools
import inspect
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType, NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numba
import numpy as np
import torch
from numba.core import sigutils, types
from numba.core.caching import NullCache
from numba.core.cpu import CPUTargetOptions
from numba.core.errors import NumbaError
from numba.core.options import TargetOptions

from snnconv.core import kernel_sources

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}
_INLINED: dict[str, Any] = {"forceinline": True, "noalias": True, "error_model": "numpy"}
_piece = ContextVar("piece", default=1 << 16)  # neuron-steps that are worth waking a thread for
_TYPES = 2  # parts of numba's key: the types and the processor
_PIECES = 8  # that a thread takes, of twice as much at least

Pieces = Iterator[tuple[int, int]]
Function = TypeVar("Function", bound=Callable[..., Any])


# numba can tell LLVM that arguments do not overlap, and offers no option for it. Without it, LLVM
# compares all addresses before a loop, and gives up on vectors where that takes too many.
CPUTargetOptions.noalias = TargetOptions.Mapping("noalias")


def inlined(function: Function) -> Function:
    """Compile a function that compiled ones call, into each of them; its arrays do not overlap."""
    return cast("Function", numba.njit(**_INLINED)(function))


@functools.cache
def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a plain function of numbers, and those that it calls, into whatever calls it.

    Args:
        function: it may call plain functions that are globals of its module, and compiled ones.
    """
    names = function.__code__.co_names
    called = {name: function.__globals__.get(name) for name in names}
    own = {name: scalar(f) for name, f in called.items() if isinstance(f, FunctionType)}
    bound = FunctionType(
        function.__code__,
        function.__globals__ | own,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    return inlined(bound)


def compiled(
    function: Callable[..., None],
    name: str = "",
    refused: Callable[[NumbaError], Exception] | None = None,
) -> Callable[..., None]:
    """Compile a function, and keep the result on disk if there is a place for it.

    Arrays must have the types that the function's annotations name and be contiguous, because a
    kernel reads memory by addresses. They must not overlap.

    Args:
        function: to compile. For a function that another one makes from functions, the cache
            depends on these functions, too.
        name: of the file on disk, if several functions are made by the same lines.
        refused: makes the error that is raised if numba can't compile the function; for a function
            that is made from a user's.

    Raises:
        TypeError: when it is called, for an array of another type or layout.
    """
    function.__qualname__ = name or function.__qualname__
    try:
        kept = _labelled(numba.njit(cache=True, **_OPTIONS)(function), function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        kept = numba.njit(**_OPTIONS)(function)
    return _guarded(kept, function, refused)


def _guarded(
    dispatcher: Any,
    function: Callable[..., None],
    refused: Callable[[NumbaError], Exception] | None,
) -> Callable[..., None]:
    """Compile for no other arrays than the function is annotated for.

    numba compiles anew for every combination of types, and looks at them once: this costs nothing
    when a kernel is called again.
    """
    compile_any = getattr(dispatcher, "compile", None)
    if compile_any is None:  # not numba's public face
        return cast("Callable[..., None]", dispatcher)

    def compile_known(signature: Any) -> Any:
        given, _ = sigutils.normalize_signature(signature)
        for name, found in zip(inspect.signature(function).parameters, given, strict=True):
            refuse_other_arrays(function, name, found)
        try:
            return compile_any(signature)
        except OSError:  # the disk is full, or can't be read: nothing is kept from now on
            dispatcher._cache = NullCache()
            return compile_any(signature)
        except NumbaError as error:
            if refused is None:
                raise
            raise refused(error) from error

    dispatcher.compile = compile_known
    return cast("Callable[..., None]", dispatcher)


def refuse_other_arrays(function: Callable[..., None], name: str, found: Any) -> None:
    """Refuse a value that is no contiguous array of the annotated type.

    Args:
        function: annotated.
        name: of its parameter.
        found: numba's type of what is given.

    Raises:
        TypeError: it is something else.
    """
    wanted = get_type_hints(function).get(name)
    choices = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    arrays = [choice for choice in choices if get_origin(choice) is np.ndarray]
    absent = isinstance(found, types.NoneType | types.Omitted) and NoneType in choices
    if not arrays or absent:
        return
    (dtype,) = get_args(get_args(arrays[0])[1])
    known = numba.from_dtype(np.dtype(dtype))
    if not isinstance(found, types.Array) or found.dtype != known or found.layout != "C":
        raise TypeError(
            f"{function.__name__} can't take {found} for '{name}': it reads {known}, contiguous"
        )


class _Labelled:
    """numba's file of a function's compiled code, each entry labelled with what it was made for.

    numba looks at the file of the function only, so an edit of a helper would go unseen. And it
    numbers its files without a lock: if two processes compile a function at the same time, for
    different types, one may leave its code under the name of the other's. An entry with another
    label counts as absent, and the new code replaces it. The label has the types and the processor
    of numba's key, and not its third part, which differs in every process for a closure.

    Attributes:
        file: numba's.
        function: as it was written.
    """

    def __init__(self, file: Any, function: Callable[..., None]) -> None:
        self.file = file
        self.function = function

    @functools.cached_property
    def sources(self) -> str:
        """The label of the code, computed when it is first needed: then all helpers are defined."""
        return f"{kernel_sources.digest(self.function)} {_OPTIONS}"

    def load(self, key: Any) -> Any:
        """Return the code for these types and this processor, or None."""
        key = key[:_TYPES]
        found = self.file.load(key)
        if not isinstance(found, tuple) or len(found) != 3:
            return None
        sources, made_for, code = found
        return code if (sources, made_for) == (self.sources, key) else None

    def save(self, key: Any, code: Any) -> None:
        """Keep the code for these types and this processor."""
        key = key[:_TYPES]
        self.file.save(key, (self.sources, key, code))

    def flush(self) -> None:
        """Forget all of it."""
        self.file.flush()


def _labelled(dispatcher: Any, function: Callable[..., None]) -> Callable[..., None]:
    """Ignore kept code that was compiled from other sources, or for other types."""
    kept = getattr(dispatcher, "_cache", None)
    file = getattr(kept, "_cache_file", None)
    if kept is not None and hasattr(file, "load") and hasattr(file, "save"):
        kept._cache_file = _Labelled(file, function)
    return cast("Callable[..., None]", dispatcher)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="snnconv")


def parallel_slices(function: Callable[..., None], size: int, steps: int, *args: Any) -> None:
    """Call ``function(start, stop, *args)`` for slices of ``range(size)`` that cover it.

    Args:
        function: compiled; slices do not touch each other's results.
        size: the number of neurons.
        steps: the steps of work for each neuron.
        args: further arguments of the function.
    """

    def work(pieces: Pieces) -> None:
        for start, stop in pieces:
            function(start, stop, *args)

    parallel_for(work, size, steps)


@contextmanager
def pieces_of(neuron_steps: int) -> Iterator[None]:
    """Set how much work wakes a thread, within the context.

    It acts on :func:`parallel_for` and :func:`parallel_slices`.
    Results don't depend on it. With 1, all threads take part however small the work is.

    Args:
        neuron_steps: neurons times steps of work for each; at least 1.
    """
    before = _piece.set(neuron_steps)
    try:
        yield
    finally:
        _piece.reset(before)


def parallel_for(work: Callable[[Pieces], None], size: int, steps: int, unit: int = 1) -> None:
    """Call ``work`` in each thread, with the slices of ``range(size)`` that the thread takes.

    A thread that finishes sooner takes more slices, because activity differs between places, and a
    thread may wake late.

    Args:
        work: the work; slices do not touch each other's results.
        size: the number of neurons, or of groups of neurons.
        steps: the steps of work for each.
        unit: how many stay together, if there are enough.
    """
    piece = _piece.get()
    threads = min(torch.get_num_threads(), max(1, size * steps // piece))
    if threads == 1:
        work(iter([(0, size)]))
        return
    each = min(_PIECES, max(1, size * steps // (threads * 2 * piece)))
    number = min(size, threads * each)
    unit = unit if size // unit >= number else 1
    bounds = [unit * (size // unit * i // number) for i in range(number)] + [size]
    pieces = deque(itertools.pairwise(bounds))
    jobs = [_pool(threads - 1).submit(work, _taken(pieces)) for _ in range(threads - 1)]
    try:
        work(_taken(pieces))  # in this thread: another one would have to wake
    finally:
        wait(jobs)  # wait for all before an error is raised: they write to the caller's arrays
    for job in jobs:
        job.result()


def _taken(pieces: deque[tuple[int, int]]) -> Pieces:
    while True:
        try:
            yield pieces.popleft()
        except IndexError:
            return

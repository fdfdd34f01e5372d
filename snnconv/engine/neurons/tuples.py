"""Tuples of arrays in compiled code: a neuron may have any number of states and constants.

Shape:
    Tuples of arrays ``[n]`` float32.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite.ir import IRBuilder, Value
from numba import types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature
from numba.extending import intrinsic, overload

from snnconv.core.jit import inlined
from snnconv.engine.rows import Arrays, Floats, Place, zeros

GIVES = "a kernel gives"
_intrinsic: Callable[[Callable[..., Any]], Any] = intrinsic  # numba has no types


def overloaded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that gives the compiled code of another for each number of arrays."""
    options: Any = {"forceinline": True, "error_model": "numpy"}
    return overload(function, jit_options=options, strict=False)


@_intrinsic
def at(typing: Any, arrays: Any, i: types.Type) -> Any:
    """Return the numbers at one place of every array."""
    numbers = types.Tuple([array.dtype for array in arrays])

    def generate(context: Any, builder: IRBuilder, made: Any, args: Sequence[Value]) -> Value:
        found = []
        for k, array in enumerate(arrays):
            known = signature(array.dtype, array, types.uintp)
            read = context.get_function(operator.getitem, known)
            found.append(read(builder, (builder.extract_value(args[0], k), args[1])))
        return context.make_tuple(builder, numbers, found)

    return numbers(arrays, types.uintp), generate


@_intrinsic
def put(typing: Any, arrays: Any, i: types.Type, numbers: types.Type) -> Any:
    """Write a number at one place of every array.

    Raises:
        TypingError: the numbers are not as many as the arrays, or have other types.
    """
    wanted = types.Tuple([array.dtype for array in arrays])
    if numbers != wanted:
        raise TypingError(f"{GIVES} {numbers}, where {wanted} is wanted")

    def generate(context: Any, builder: IRBuilder, made: Any, args: Sequence[Value]) -> Value:
        for k, array in enumerate(arrays):
            known = signature(types.none, array, types.uintp, array.dtype)
            write = context.get_function(operator.setitem, known)
            number = builder.extract_value(args[2], k)
            write(builder, (builder.extract_value(args[0], k), args[1], number))
        return context.get_dummy_value()

    return types.void(arrays, types.uintp, numbers), generate


@inlined
def move(arrays: Arrays, others: Arrays, n: Place) -> None:
    """Copy the first n places of each of the other arrays to its array."""
    for i in range(n):
        put(arrays, i, at(others, i))


def for_each(function: Callable[..., Floats]) -> Callable[..., Arrays]:
    """Decorate a compiled function of an array, which then takes and gives a tuple."""

    def every(arrays: Arrays, *args: int) -> Arrays:
        raise NotImplementedError("for compiled code")

    @overloaded(every)
    def _every(arrays: types.BaseTuple, *args: types.Type) -> Callable[..., Arrays]:
        if len(arrays) == 0:
            return lambda arrays, *args: ()
        return lambda arrays, *args: (function(arrays[0], *args), *every(arrays[1:], *args))

    return every


@for_each
@inlined
def cut(array: Floats, low: int, high: int) -> Floats:
    """Return places ``low`` to ``high`` of every array; of a shorter array, the first ones."""
    return array[low:high] if len(array) >= high else array[: high - low]


@for_each
@inlined
def row_at(matrix: Floats, t: int) -> Floats:
    """Return a row of every matrix."""
    row: Floats = matrix[t]
    return row


@for_each
@inlined
def matrices_for(array: Floats, rows: int, columns: int) -> Floats:
    """Return a new matrix of zeros for every array."""
    return zeros(rows, columns)

"""Several arrays as one, in compiled code: a neuron may have any number of states and constants.

Shape:
    Tuples of arrays ``[n]`` float32.
"""

import operator
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature
from numba.extending import intrinsic, overload

from snnconv.core.jit import inlined
from snnconv.engine.rows import Place, zeros

GIVES = "a kernel gives"


def overloaded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates what makes the compiled code of a function, for each number of arrays its own."""
    options: Any = {"forceinline": True, "error_model": "numpy"}
    return overload(function, jit_options=options, strict=False)


def _at(typing: Any, arrays: Any, i: Any) -> Any:
    """The numbers at one place of every array."""
    numbers = types.Tuple([array.dtype for array in arrays])

    def generate(context: Any, builder: Any, made: Any, args: Any) -> Any:
        found = []
        for k, array in enumerate(arrays):
            known = signature(array.dtype, array, types.uintp)
            read = context.get_function(operator.getitem, known)
            found.append(read(builder, (builder.extract_value(args[0], k), args[1])))
        return context.make_tuple(builder, numbers, found)

    return numbers(arrays, types.uintp), generate


at: Any = intrinsic(_at)


def _put(typing: Any, arrays: Any, i: Any, numbers: Any) -> Any:
    """Write a number at one place of every array.

    Raises:
        TypingError: there are more numbers or fewer than arrays, or some are of another type.
    """
    wanted = types.Tuple([array.dtype for array in arrays])
    if numbers != wanted:
        raise TypingError(f"{GIVES} {numbers}, where {wanted} is wanted")

    def generate(context: Any, builder: Any, made: Any, args: Any) -> Any:
        for k, array in enumerate(arrays):
            known = signature(types.none, array, types.uintp, array.dtype)
            write = context.get_function(operator.setitem, known)
            number = builder.extract_value(args[2], k)
            write(builder, (builder.extract_value(args[0], k), args[1], number))
        return context.get_dummy_value()

    return types.void(arrays, types.uintp, numbers), generate


put: Any = intrinsic(_put)


@inlined
def move(arrays: Any, others: Any, n: Place) -> None:
    """Copy the first n places of every other array to its array."""
    for i in range(n):
        put(arrays, i, at(others, i))


def cut(arrays: Any, low: int, high: int) -> Any:
    """The places from ``low`` to ``high`` of every array; of one that is shorter, the first."""
    raise NotImplementedError("for compiled code")


@overloaded(cut)
def _cut(arrays: Any, low: Any, high: Any) -> Any:
    if len(arrays) == 0:
        return lambda arrays, low, high: ()
    return lambda arrays, low, high: (
        arrays[0][low:high] if len(arrays[0]) >= high else arrays[0][: high - low],
        *cut(arrays[1:], low, high),
    )


def row_at(matrices: Any, t: int) -> Any:
    """A row of every matrix."""
    raise NotImplementedError("for compiled code")


@overloaded(row_at)
def _row_at(matrices: Any, t: Any) -> Any:
    if len(matrices) == 0:
        return lambda matrices, t: ()
    return lambda matrices, t: (matrices[0][t], *row_at(matrices[1:], t))


def matrices_for(arrays: Any, rows: int, columns: int) -> Any:
    """A new matrix of zeros for every array."""
    raise NotImplementedError("for compiled code")


@overloaded(matrices_for)
def _matrices_for(arrays: Any, rows: Any, columns: Any) -> Any:
    if len(arrays) == 0:
        return lambda arrays, rows, columns: ()
    return lambda arrays, rows, columns: (
        zeros(rows, columns),
        *matrices_for(arrays[1:], rows, columns),
    )

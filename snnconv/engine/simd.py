"""Functions that are written in LLVM's own code, and its vector type.

:mod:`snnconv.engine.event_conv.bits` and :mod:`snnconv.engine.event_conv.grouped_row_sum` use the
vector type for the few loops that the compiler does not vectorise by itself. A vector becomes
whatever the processor has: AVX2, AVX-512 or NEON.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snnconv.engine.rows import LANES

FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
BYTES = 4
Operands = Sequence[ir.Value]


def in_llvm(
    gives: types.Type, *takes: types.Type | None
) -> Callable[[Callable[..., ir.Value | None]], Any]:
    """Decorate a function that writes a call's LLVM code, given a builder and the operands.

    Args:
        gives: the type of the result.
        takes: the types of the operands; None for a literal, which the function is given as a
            number.
    """

    def decorate(function: Callable[..., ir.Value | None]) -> Any:
        def define(typing: Any, *found: Any) -> Any:
            def generate(context: Any, builder: ir.IRBuilder, _: Any, args: Operands) -> ir.Value:
                pairs = zip(takes, found, args, strict=True)
                operands = [kind.literal_value if t is None else arg for t, kind, arg in pairs]
                code = function(builder, *operands)
                return context.get_dummy_value() if gives is types.void else code

            kinds = [kind if t is None else t for t, kind in zip(takes, found, strict=True)]
            return gives(*kinds), generate

        return intrinsic(prefer_literal=True)(functools.wraps(function)(define))

    return decorate


def fetch(builder: ir.IRBuilder, kind: ir.Type, address: ir.Value, offset: int = 0) -> ir.Value:
    """Load a value that lies ``offset`` bytes behind an address."""
    place = builder.add(address, ir.Constant(INT, offset))
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=BYTES)


def splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a vector whose numbers are all this one."""
    empty = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, empty, zeros)

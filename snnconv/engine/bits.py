"""What fired, as the bits of a word: whoever wants to know looks at what fired alone.

Shape:
    Addresses of contiguous float32 memory; nothing is checked here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from snnconv.compiled import inlined
from snnconv.engine.vectors import fetch

WORD = 64  # values whose spikes are the bits of a word

FLOAT, INT = ir.FloatType(), ir.IntType(64)


def _nonzero(typing: Any, address: Any) -> Any:
    """Which of :data:`WORD` float32 values at an address are not zero: bit i is value i."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        many = ir.VectorType(FLOAT, WORD)
        values = fetch(builder, many, args[0])
        zeros = ir.Constant(many, [0.0] * WORD)
        return builder.bitcast(builder.fcmp_unordered("!=", values, zeros), INT)

    return types.int64(types.int64), generate


nonzero: Any = intrinsic(_nonzero)


def _value(typing: Any, address: Any) -> Any:
    """The float32 at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fetch(builder, FLOAT, args[0])

    return types.float32(types.int64), generate


value: Any = intrinsic(_value)


def _lowest(typing: Any, word: Any) -> Any:
    """The place of the lowest bit that is set; of none, undefined."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


lowest: Any = intrinsic(_lowest)


@inlined
def bits(address: int, count: int) -> int:
    """As :func:`nonzero`, of fewer values than a word has bits."""
    if count == WORD:
        found: int = nonzero(address)
        return found
    word: Any = 0
    for i in range(count):
        word |= np.int64(value(address + 4 * i) != 0) << i
    return int(word)


@inlined
def listed(address: int, count: int, found: NDArray[np.int64]) -> int:
    """Write down which of ``count`` values are not zero, and return how many."""
    last = 0
    for block in range(0, count, WORD):
        word = bits(address + 4 * block, min(WORD, count - block))
        while word != 0:
            found[last] = block + lowest(word)
            last += 1
            word &= word - 1
    return last

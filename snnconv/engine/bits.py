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
from snnconv.engine.vectors import LANES, fetch

WORD = 64  # values whose spikes are the bits of a word

FLOAT, INT = ir.FloatType(), ir.IntType(64)


def _nonzero(typing: Any, number: Any, address: Any) -> Any:
    """Which of so many float32 values at an address are not zero: bit i is value i.

    Args:
        typing: numba's.
        number: of values, at most :data:`WORD`; a literal.
        address: of the first.
    """
    lanes = number.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        many = ir.VectorType(FLOAT, lanes)
        values = fetch(builder, many, args[1])
        zeros = ir.Constant(many, [0.0] * lanes)
        found = builder.bitcast(builder.fcmp_unordered("!=", values, zeros), ir.IntType(lanes))
        return found if lanes == WORD else builder.zext(found, INT)

    return types.int64(number, types.int64), generate


nonzero: Any = intrinsic(prefer_literal=True)(_nonzero)


def _value(typing: Any, address: Any) -> Any:
    """The float32 at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fetch(builder, FLOAT, args[0])

    return types.float32(types.int64), generate


value: Any = intrinsic(_value)


def _lowest(typing: Any, word: Any) -> Any:
    """The place of the lowest bit that is set; of none, :data:`WORD`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


lowest: Any = intrinsic(_lowest)


def _number(typing: Any, word: Any) -> Any:
    """How many bits of a word are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), generate


number: Any = intrinsic(_number)


@inlined
def bits(address: int, count: int) -> int:
    """As :func:`nonzero`, of as many values as a word has bits, or fewer."""
    if count == WORD:
        whole: int = nonzero(64, address)
        return whole
    word: Any = 0
    done = 0
    while done + LANES <= count:
        word |= nonzero(16, address + 4 * done) << done
        done += LANES
    for i in range(done, count):
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

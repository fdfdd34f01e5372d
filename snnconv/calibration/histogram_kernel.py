"""The counting of a histogram, compiled: one pass over the activations.

Shape:
    Bits of float32 activations ``[n]``, row after row of so many columns, as int32: those of
    numbers that are not negative have the numbers' order. The last row may be short.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from snnconv.core.jit import compiled

Integers = NDArray[np.int32]
Longs = NDArray[np.int64]
WIDTH = 128
"""Columns at once: five arrays of them leave the first-level cache to the bins."""
_LANES = 16  # of a vector: one register of AVX-512, two of AVX2, four of NEON

_INT, _BYTES = ir.IntType(32), 4
_MAGNITUDE = 0x7FFFFFFF  # of a number's bits: all but its sign
_VECTOR = ir.VectorType(_INT, _LANES)


def _binned(
    typing: Any,
    bits: Any,
    offsets: Any,
    spare: Any,
    zeros: Any,
    maximum: Any,
    places: Any,
    lowest: Any,
    highest: Any,
    shift: Any,
) -> Any:
    """Where a vector of activations is counted, and what else there is to say of them.

    numba's integers are of 64 bits, which no vector of AVX2 shifts or compares.

    Args:
        typing: numba's.
        bits: address of the activations' bits.
        offsets: address of where their columns' bins begin.
        spare: address of where zeros go.
        zeros: address of their number, changed in place.
        maximum: address of the largest's bits, changed in place; NaN is larger than any number,
            whatever its sign.
        places: address of the result.
        lowest: bits of the smallest number that has a bin.
        highest: bits of the largest.
        shift: bits that a bin leaves out.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.inttoptr(x, _VECTOR.as_pointer()) for x in args[:6]]
        x, of, to, number, most = (builder.load(place, align=_BYTES) for place in places[:5])
        low, high, left = (_splat(builder, value) for value in args[6:])
        zero = builder.icmp_signed("<=", x, ir.Constant(_VECTOR, [0] * _LANES))
        held = builder.select(builder.icmp_signed("<", x, low), low, x)
        held = builder.select(builder.icmp_signed(">", held, high), high, held)
        size = builder.and_(x, ir.Constant(_VECTOR, [_MAGNITUDE] * _LANES))
        place = builder.add(of, builder.ashr(builder.sub(held, low), left))
        results = (
            builder.sub(number, builder.sext(zero, _VECTOR)),
            builder.select(builder.icmp_signed(">", size, most), size, most),
            builder.select(zero, to, place),
        )
        for value, target in zip(results, places[3:], strict=True):
            builder.store(value, target, align=_BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, *[types.int32] * 3), generate


def _splat(builder: Any, value: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_VECTOR, [0] * _LANES))


binned: Any = intrinsic(_binned)


@compiled
def tally(
    bits: Integers,
    lowest: np.int32,
    highest: np.int32,
    shift: np.int32,
    counts: Integers,
    zeros: Longs,
    maximum: Integers,
) -> None:
    """Count positive activations by bin, and those that are zero.

    Half of all activations are zero, in no order: a branch for them would be guessed wrong. So
    they are counted in some bin of their column as well, and taken out again. No two columns have
    the same, since a processor waits before it adds to what it has just added to.

    Args:
        bits: of activations, row after row of so many channels as zeros has.
        lowest: bits of the smallest number that has a bin.
        highest: bits of the largest.
        shift: bits that a bin leaves out.
        counts: of all bins ``[channels, bins]``, changed in place; they have to fit.
        zeros: by channel, changed in place.
        maximum: the bits of it by channel, changed in place.
    """
    channels, size, apart = len(counts), len(bits), counts.shape[1]
    bins = counts.reshape(-1)
    columns = channels * max(1, WIDTH // channels)  # rows that fit beside each other are one here
    work = np.empty(WIDTH, np.int32)
    offsets, spare = np.empty(columns, np.int32), np.empty(columns, np.int32)
    none, most = np.zeros(columns, np.int32), np.zeros(columns, np.int32)
    for column in range(columns):
        offsets[column] = column % channels * apart
        spare[column] = offsets[column] + column // channels
    arrays = offsets.ctypes.data, spare.ctypes.data, none.ctypes.data, most.ctypes.data
    for first in range(0, columns, WIDTH):
        wide = min(WIDTH, columns - first)
        for low in range(first, size, columns):
            n = min(wide, size - low)
            whole = n - n % _LANES
            for i in range(0, whole, _LANES):
                of, to, z, m = arrays
                at, here = 4 * (first + i), bits.ctypes.data + 4 * (low + i)
                place = work.ctypes.data + 4 * i
                binned(here, of + at, to + at, z + at, m + at, place, lowest, highest, shift)
            for i in range(whole, n):
                x, column = bits[low + i], first + i
                held = min(max(x, lowest), highest)
                work[i] = offsets[column] + ((held - lowest) >> shift)
                if x <= 0:
                    work[i] = spare[column]
                    none[column] += 1
                most[column] = max(most[column], x & np.int32(_MAGNITUDE))
            for i in range(n):
                bins[np.uint32(work[i])] += 1  # an index that may be negative takes longer
    for column in range(columns):
        channel = column % channels
        bins[spare[column]] -= none[column]
        zeros[channel] += none[column]
        maximum[channel] = max(maximum[channel], most[column])

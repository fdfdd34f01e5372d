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

from snnconv.calibration.fineness import HIGHEST, LOWEST
from snnconv.core.jit import compiled

Integers = NDArray[np.int32]
Longs = NDArray[np.int64]
WIDTH = 128
"""Columns at once: seven arrays of them leave the first-level cache to the bins."""
_LANES = 16  # of a vector: one register of AVX-512, two of AVX2, four of NEON

_INT, _BYTES = ir.IntType(32), 4
_NONE = 0x7F7FFFFF  # the bits of infinity, less one
_MAGNITUDE = 0x7FFFFFFF  # of a number's bits: all but its sign
_VECTOR = ir.VectorType(_INT, _LANES)


def _binned(
    typing: Any,
    bits: Any,
    offsets: Any,
    lowest: Any,
    shift: Any,
    spare: Any,
    zeros: Any,
    places: Any,
    rests: Any,
) -> Any:
    """Return where a vector of activations is counted, and what else it says.

    numba's integers are of 64 bits, which no vector of AVX2 shifts or compares.

    Args:
        typing: numba's.
        bits: address of the activations' bits.
        offsets: address of where their columns' bins begin.
        lowest: address of the bits of the smallest number that has a bin, by column.
        shift: address of how many bits a bin leaves out, by column.
        spare: address of where zeros go.
        zeros: address of their number, changed in place.
        places: address of the bins.
        rests: address of what the numbers have above the first of their bin, in their last bits.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.inttoptr(x, _VECTOR.as_pointer()) for x in args]
        x, of, low, left, to, number = (builder.load(place, align=_BYTES) for place in places[:6])
        zero = builder.icmp_signed("<=", x, _constant(0))
        held = builder.select(builder.icmp_signed("<", x, _constant(LOWEST)), _constant(LOWEST), x)
        above_all = builder.icmp_signed(">", held, _constant(HIGHEST))
        held = builder.select(above_all, _constant(HIGHEST), held)
        above = builder.sub(held, low)
        bin_ = builder.ashr(above, left)
        results = (
            builder.sub(number, builder.sext(zero, _VECTOR)),
            builder.select(zero, to, builder.add(of, bin_)),
            builder.sub(above, builder.shl(bin_, left)),
        )
        for value, target in zip(results, places[5:], strict=True):
            builder.store(value, target, align=_BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


def _ranged(typing: Any, bits: Any, minimum: Any, maximum: Any) -> Any:
    """Take a vector of activations into the range of their columns.

    Args:
        typing: numba's.
        bits: address of the activations' bits.
        minimum: address of the bits, less one, of the smallest positive one, changed in place.
        maximum: address of the largest's bits, changed in place; NaN is larger than any number,
            whatever its sign.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.inttoptr(x, _VECTOR.as_pointer()) for x in args]
        x, least, most = (builder.load(place, align=_BYTES) for place in places)
        # less one, zero and negative numbers are larger than any number
        less = builder.sub(x, _constant(1))
        smaller = builder.select(builder.icmp_unsigned("<", less, least), less, least)
        builder.store(smaller, places[1], align=_BYTES)
        size = builder.and_(x, _constant(_MAGNITUDE))
        larger = builder.select(builder.icmp_signed(">", size, most), size, most)
        builder.store(larger, places[2], align=_BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


def _constant(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * _LANES)


binned: Any = intrinsic(_binned)
ranged: Any = intrinsic(_ranged)


@compiled
def span(bits: Integers, minimum: Integers, maximum: Integers) -> None:
    """Take activations into the range of their channels.

    Args:
        bits: the activations as bits, row after row; a row has one of each channel.
        minimum: the bits of the smallest positive one by channel, changed in place.
        maximum: the bits of the largest by channel, changed in place.
    """
    channels, size = len(minimum), len(bits)
    columns = channels * max(1, WIDTH // channels)  # rows that fit next to each other are one here
    least, most = np.full(columns, _NONE, np.int32), np.zeros(columns, np.int32)
    for first in range(0, columns, WIDTH):
        wide = min(WIDTH, columns - first)
        for low in range(first, size, columns):
            n = min(wide, size - low)
            whole = n - n % _LANES
            for i in range(0, whole, _LANES):
                at = 4 * (first + i)
                start = bits.ctypes.data + 4 * (low + i)
                ranged(start, least.ctypes.data + at, most.ctypes.data + at)
            for i in range(whole, n):
                x, column = bits[low + i], first + i
                if x > 0:
                    least[column] = min(least[column], x - 1)
                most[column] = max(most[column], x & np.int32(_MAGNITUDE))
    for column in range(columns):
        channel = column % channels
        minimum[channel] = min(minimum[channel], least[column] + 1)
        maximum[channel] = max(maximum[channel], most[column])


@compiled
def tally(
    bits: Integers,
    lowest: Integers,
    shift: Integers,
    one: np.int64,
    half: np.int32,
    count: int,
    bins: Longs,
    extremes: NDArray[np.int16],
    zeros: Longs,
) -> None:
    """Count positive activations by bin, and those that are zero.

    Half of all activations are zero, in no order, so a branch for them would be mispredicted. They
    are counted beyond the bins of their column instead, where nothing is read. Each column has
    its own place there, because a processor waits before it adds to what it has just written.

    Args:
        bits: the activations as bits, row after row; a row has one of each channel.
        lowest: bits of the smallest number that has a bin, by channel.
        shift: bits that a bin leaves out, by channel.
        one: what an activation adds to its bin, in addition to the bits left out, which are summed
            below it.
        half: what is added to the bits left out where their extremes are kept.
        count: the number of bins of a channel.
        bins: ``[channels, count + at least WIDTH // channels]``, changed in place; sums have to
            fit.
        extremes: the least and the largest of the bits left out, of all bins
            ``[channels, ..., 2]``, changed in place.
        zeros: the number of zeros by channel, changed in place.
    """
    channels, size, apart = len(bins), len(bits), bins.shape[1]
    words, ends = bins.reshape(-1), extremes.reshape(-1)
    columns = channels * max(1, WIDTH // channels)  # rows that fit next to each other are one here
    work, rests = np.empty(WIDTH, np.int32), np.empty(WIDTH, np.int32)
    offsets, spare = np.empty(columns, np.int32), np.empty(columns, np.int32)
    lows, lefts = np.empty(columns, np.int32), np.empty(columns, np.int32)
    none = np.zeros(columns, np.int32)
    for column in range(columns):
        channel = column % channels
        offsets[column] = channel * apart
        spare[column] = offsets[column] + count + column // channels
        lows[column], lefts[column] = lowest[channel], shift[channel]
    arrays = (
        *(offsets.ctypes.data, lows.ctypes.data, lefts.ctypes.data),
        *(spare.ctypes.data, none.ctypes.data),
    )
    for first in range(0, columns, WIDTH):
        wide = min(WIDTH, columns - first)
        for low in range(first, size, columns):
            n = min(wide, size - low)
            whole = n - n % _LANES
            for i in range(0, whole, _LANES):
                of, least, left, to, z = arrays
                at, start = 4 * (first + i), bits.ctypes.data + 4 * (low + i)
                place, rest = work.ctypes.data + 4 * i, rests.ctypes.data + 4 * i
                binned(start, of + at, least + at, left + at, to + at, z + at, place, rest)
            for i in range(whole, n):
                x, column = bits[low + i], first + i
                above = min(max(x, LOWEST), HIGHEST) - lows[column]
                work[i] = offsets[column] + (above >> lefts[column])
                rests[i] = above - (above >> lefts[column] << lefts[column])
                if x <= 0:
                    work[i] = spare[column]
                    none[column] += 1
            for i in range(n):
                index = np.uint32(work[i])  # an index that may be negative takes longer
                words[index] += one + rests[i]
                end = rests[i] + half
                # rarely so: to store them each time takes longer
                if (end < ends[2 * index]) | (end > ends[2 * index + 1]):
                    ends[2 * index] = min(end, ends[2 * index])
                    ends[2 * index + 1] = max(end, ends[2 * index + 1])
    for column in range(columns):
        zeros[column % channels] += none[column]

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
_NONE = 0x7F7FFFFF  # the bits of infinity, less one
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
    rests: Any,
    minimum: Any,
    lowest: Any,
    highest: Any,
    shift: Any,
) -> Any:
    """Return where a vector of activations is counted, and what else it says.

    numba's integers are of 64 bits, which no vector of AVX2 shifts or compares.

    Args:
        typing: numba's.
        bits: address of the activations' bits.
        offsets: address of where their columns' bins begin.
        spare: address of where zeros go.
        zeros: address of their number, changed in place.
        maximum: address of the largest's bits, changed in place; NaN is larger than any number,
            whatever its sign.
        places: address of the bins.
        rests: address of what the numbers have above the first of their bin, in their last bits.
        minimum: address of the bits, less one, of the smallest positive one, changed in place.
        lowest: bits of the smallest number that has a bin.
        highest: bits of the largest.
        shift: bits that a bin leaves out.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.inttoptr(x, _VECTOR.as_pointer()) for x in args[:8]]
        x, of, to, number, most = (builder.load(place, align=_BYTES) for place in places[:5])
        low, high, left = (_splat(builder, value) for value in args[8:])
        zero = builder.icmp_signed("<=", x, ir.Constant(_VECTOR, [0] * _LANES))
        held = builder.select(builder.icmp_signed("<", x, low), low, x)
        held = builder.select(builder.icmp_signed(">", held, high), high, held)
        size = builder.and_(x, ir.Constant(_VECTOR, [_MAGNITUDE] * _LANES))
        above = builder.sub(held, low)
        bin_ = builder.ashr(above, left)
        place = builder.add(of, bin_)
        results = (
            builder.sub(number, builder.sext(zero, _VECTOR)),
            builder.select(builder.icmp_signed(">", size, most), size, most),
            builder.select(zero, to, place),
            builder.sub(above, builder.shl(bin_, left)),
            _smaller(builder, x, builder.load(places[7], align=_BYTES)),
        )
        for value, target in zip(results, places[3:], strict=True):
            builder.store(value, target, align=_BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8, *[types.int32] * 3), generate


def _smaller(builder: Any, x: Any, least: Any) -> Any:
    """Return the smaller bits; less one, zero and negative numbers are larger than any number."""
    less = builder.sub(x, ir.Constant(_VECTOR, [1] * _LANES))
    return builder.select(builder.icmp_unsigned("<", less, least), less, least)


def _ranged(typing: Any, bits: Any, minimum: Any, maximum: Any) -> Any:
    """Take a vector of activations into their range, all by address: see :func:`_binned`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.inttoptr(x, _VECTOR.as_pointer()) for x in args]
        x, least, most = (builder.load(place, align=_BYTES) for place in places)
        builder.store(_smaller(builder, x, least), places[1], align=_BYTES)
        larger = builder.icmp_signed(">", x, most)
        builder.store(builder.select(larger, x, most), places[2], align=_BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


def _splat(builder: Any, value: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_VECTOR, [0] * _LANES))


binned: Any = intrinsic(_binned)
ranged: Any = intrinsic(_ranged)


@compiled
def span(bits: Integers, found: Integers) -> None:
    """Return the bits of the smallest positive activation, less one, and of the largest ``[2]``.

    Args:
        bits: of activations ``[n]``.
        found: the result; bits of infinity, less one, and 0 where none is positive.
    """
    least, most = np.full(_LANES, _NONE, np.int32), np.zeros(_LANES, np.int32)
    whole = len(bits) - len(bits) % _LANES
    for i in range(0, whole, _LANES):
        ranged(bits.ctypes.data + 4 * i, least.ctypes.data, most.ctypes.data)
    for i in range(whole, len(bits)):
        most[0] = max(most[0], bits[i])
        if bits[i] > 0:
            least[0] = min(least[0], bits[i] - 1)
    found[0], found[1] = least.min(), most.max()


@compiled
def tally(
    bits: Integers,
    lowest: np.int32,
    highest: np.int32,
    shift: np.int32,
    one: np.int64,
    half: np.int32,
    count: int,
    bins: Longs,
    extremes: NDArray[np.int16],
    zeros: Longs,
    minimum: Integers,
    maximum: Integers,
) -> None:
    """Count positive activations by bin, and those that are zero.

    Half of all activations are zero, in no order, so a branch for them would be mispredicted. They
    are counted beyond the bins of their column instead, where nothing is read. Each column has
    its own place there, because a processor waits before it adds to what it has just written.

    Args:
        bits: of activations, row after row of so many channels as zeros has.
        lowest: bits of the smallest number that has a bin.
        highest: bits of the largest.
        shift: bits that a bin leaves out.
        one: what an activation adds to its bin, in addition to the bits left out, which are summed
            below it.
        half: what is added to the bits left out where their extremes are kept.
        count: of bins a channel.
        bins: ``[channels, count + at least WIDTH // channels]``, changed in place; sums have to
            fit.
        extremes: the least and the largest of the bits left out, of all bins
            ``[channels, ..., 2]``, changed in place.
        zeros: by channel, changed in place.
        minimum: the bits of the smallest positive one by channel, changed in place.
        maximum: the bits of the largest by channel, changed in place.
    """
    channels, size, apart = len(bins), len(bits), bins.shape[1]
    words, ends = bins.reshape(-1), extremes.reshape(-1)
    columns = channels * max(1, WIDTH // channels)  # rows that fit beside each other are one here
    work, rests = np.empty(WIDTH, np.int32), np.empty(WIDTH, np.int32)
    offsets, spare = np.empty(columns, np.int32), np.empty(columns, np.int32)
    none, most = np.zeros(columns, np.int32), np.zeros(columns, np.int32)
    least = np.full(columns, _NONE, np.int32)
    for column in range(columns):
        offsets[column] = column % channels * apart
        spare[column] = offsets[column] + count + column // channels
    arrays = offsets.ctypes.data, spare.ctypes.data, none.ctypes.data, most.ctypes.data
    smallest = least.ctypes.data
    for first in range(0, columns, WIDTH):
        wide = min(WIDTH, columns - first)
        for low in range(first, size, columns):
            n = min(wide, size - low)
            whole = n - n % _LANES
            for i in range(0, whole, _LANES):
                of, to, z, m = arrays
                at, start = 4 * (first + i), bits.ctypes.data + 4 * (low + i)
                place, rest = work.ctypes.data + 4 * i, rests.ctypes.data + 4 * i
                tops = of + at, to + at, z + at, m + at
                binned(start, *tops, place, rest, smallest + at, lowest, highest, shift)
            for i in range(whole, n):
                x, column = bits[low + i], first + i
                above = min(max(x, lowest), highest) - lowest
                work[i] = offsets[column] + (above >> shift)
                rests[i] = above - (above >> shift << shift)
                if x <= 0:
                    work[i] = spare[column]
                    none[column] += 1
                else:
                    least[column] = min(least[column], x - 1)
                most[column] = max(most[column], x & np.int32(_MAGNITUDE))
            for i in range(n):
                index = np.uint32(work[i])  # an index that may be negative takes longer
                words[index] += one + rests[i]
                end = rests[i] + half
                # rarely so: to store them each time takes longer
                if (end < ends[2 * index]) | (end > ends[2 * index + 1]):
                    ends[2 * index] = min(end, ends[2 * index])
                    ends[2 * index + 1] = max(end, ends[2 * index + 1])
    for column in range(columns):
        channel = column % channels
        zeros[channel] += none[column]
        minimum[channel] = min(minimum[channel], least[column] + 1)
        maximum[channel] = max(maximum[channel], most[column])

"""Spike bit masks: loops visit the active neurons only.

Values are float32, or bits already: spikes of one amplitude
(:mod:`snnconv.engine.event_conv.bit_spikes`).

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snnconv.core.jit import compiled, inlined
from snnconv.engine.rows import LANES, Bytes, Floats
from snnconv.engine.simd import BYTES, FLOAT, INT, VECTOR, fetch

WORD = 64  # values whose spikes are the bits of a word

BITS = ir.IntType(LANES)


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


def _word(typing: Any, address: Any) -> Any:
    """The 64 bits at an address, which needs not be that of a word."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], INT.as_pointer()), align=1)

    return types.int64(types.int64), generate


word_at: Any = intrinsic(_word)


def _pack(typing: Any, to: Any, source: Any) -> Any:
    """Write which of :data:`LANES` float32 numbers are not zero, as so many bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(VECTOR, [0.0] * LANES)
        fired = builder.fcmp_ordered("!=", fetch(builder, VECTOR, args[1]), nothing)
        target = builder.inttoptr(args[0], BITS.as_pointer())
        builder.store(builder.bitcast(fired, BITS), target, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


pack: Any = intrinsic(_pack)


def _add_where(typing: Any, to: Any, fired: Any, amounts: Any) -> Any:
    """Add :data:`LANES` float32 amounts where a bit is set, and 0 elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, fired, amounts = args
        bits = builder.load(builder.inttoptr(fired, BITS.as_pointer()), align=1)
        chosen = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
        nothing = ir.Constant(VECTOR, [0.0] * LANES)
        found = builder.select(chosen, fetch(builder, VECTOR, amounts), nothing)
        total = builder.fadd(fetch(builder, VECTOR, to), found)
        builder.store(total, builder.inttoptr(to, VECTOR.as_pointer()), align=BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


add_where: Any = intrinsic(_add_where)


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
        word |= nonzero(1, address + 4 * i) << i
    return int(word)


@inlined
def fired(image: int, place: int, count: int, packed: bool) -> int:
    """Which of ``count`` values of an image fired, from a place on; of bits, one that fills bytes.

    Where there are no more, 7 bytes behind the last are read, and left.
    """
    if not packed:
        return bits(image + 4 * place, count)
    word = word_at(image + (place >> 3))
    return int(word if count == WORD else word & ((np.int64(1) << count) - 1))


@compiled
def add_spikes(start: int, stop: int, bits: Bytes, amplitude: Floats, rows: Floats) -> None:
    """Add the spikes of neurons ``start`` to ``stop``, whole places, to ``[T, stop-start]``.

    Bits are ``[T, n/8]`` in channels-last order, amplitude is ``[C]``.
    """
    channels = len(amplitude)
    amounts = amplitude.ctypes.data
    for t in range(len(bits)):
        to, fired = rows[t].ctypes.data, bits[t].ctypes.data + start // 8
        for place in range((stop - start) // channels):
            for channel in range(0, channels, LANES):
                i = place * channels + channel
                add_where(to + 4 * i, fired + i // 8, amounts + 4 * channel)

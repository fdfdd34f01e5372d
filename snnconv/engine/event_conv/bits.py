"""Which values are not zero, as bits of words, so that loops visit only the active neurons.

The values are float32, or bits already (:mod:`snnconv.engine.event_conv.values`).

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

import numpy as np
from llvmlite import ir
from numba import types

from snnconv.core.jit import compiled, inlined
from snnconv.engine.rows import LANES, Bytes, Floats
from snnconv.engine.simd import BYTES, FLOAT, INT, VECTOR, fetch, in_llvm

WORD = 64  # bits of a word, one for each value

BITS = ir.IntType(LANES)


@in_llvm(types.int64, None, types.int64)
def nonzero(builder: ir.IRBuilder, number: int, address: ir.Value) -> ir.Value:
    """Return which of so many float32 values at an address are not zero: bit i is value i.

    The number is a literal, at most :data:`WORD`.
    """
    many = ir.VectorType(FLOAT, number)
    differs = builder.fcmp_unordered("!=", fetch(builder, many, address), ir.Constant(many, None))
    found = builder.bitcast(differs, ir.IntType(number))
    return found if number == WORD else builder.zext(found, INT)


@in_llvm(types.int64, types.int64)
def word_at(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Return the 64 bits at an address, which may be that of any byte."""
    return builder.load(builder.inttoptr(address, INT.as_pointer()), align=1)


@in_llvm(types.void, types.int64, types.int64)
def pack(builder: ir.IRBuilder, to: ir.Value, source: ir.Value) -> None:
    """Write which of :data:`LANES` float32 numbers are not zero, as so many bits."""
    values = fetch(builder, VECTOR, source)
    fired = builder.fcmp_ordered("!=", values, ir.Constant(VECTOR, None))
    builder.store(builder.bitcast(fired, BITS), builder.inttoptr(to, BITS.as_pointer()), align=1)


@in_llvm(types.void, types.int64, types.int64, types.int64)
def add_where(builder: ir.IRBuilder, to: ir.Value, fired: ir.Value, amounts: ir.Value) -> None:
    """Add :data:`LANES` float32 amounts where a bit is set, and 0 elsewhere."""
    bits = builder.load(builder.inttoptr(fired, BITS.as_pointer()), align=1)
    chosen = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
    found = builder.select(chosen, fetch(builder, VECTOR, amounts), ir.Constant(VECTOR, None))
    total = builder.fadd(fetch(builder, VECTOR, to), found)
    builder.store(total, builder.inttoptr(to, VECTOR.as_pointer()), align=BYTES)


@in_llvm(types.int64, types.int64)
def lowest(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """Return the place of the lowest bit that is set; :data:`WORD` if none is."""
    return builder.cttz(word, ir.Constant(ir.IntType(1), 0))


@in_llvm(types.int64, types.int64)
def number(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """Count the bits of a word that are set."""
    return builder.ctpop(word)


@inlined
def bits(address: int, count: int) -> int:
    """Return what :func:`nonzero` returns, for any number of values up to :data:`WORD`."""
    if count == WORD:
        whole: int = nonzero(64, address)
        return whole
    word = done = 0
    while done + LANES <= count:
        word |= nonzero(16, address + 4 * done) << done
        done += LANES
    for i in range(done, count):
        word |= nonzero(1, address + 4 * i) << i
    return int(word)


@inlined
def fired(image: int, place: int, count: int, packed: bool) -> int:
    """Return which of the ``count`` values from a place on fired.

    In bits, the place is a multiple of 8, and up to 7 bytes behind the last one are read.
    """
    if not packed:
        return bits(image + 4 * place, count)
    word = word_at(image + (place >> 3))
    return int(word if count == WORD else word & ((np.int64(1) << count) - 1))


@compiled
def add_spikes(start: int, stop: int, bits: Bytes, amplitude: Floats, rows: Floats) -> None:
    """Add the spikes of neurons ``start`` to ``stop``, which are whole places, to rows.

    Bits are ``[T, n/8]`` in channels-last order, amplitude ``[C]``, rows ``[T, stop-start]``.
    """
    channels = len(amplitude)
    amounts = amplitude.ctypes.data
    for t in range(len(bits)):
        to, fired = rows[t].ctypes.data, bits[t].ctypes.data + start // 8
        for place in range((stop - start) // channels):
            for channel in range(0, channels, LANES):
                i = place * channels + channel
                add_where(to + 4 * i, fired + i // 8, amounts + 4 * channel)

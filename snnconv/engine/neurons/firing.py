"""One step of many IF neurons, in vectors: what it reads and writes of a neuron, it does once.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnconv.engine.simd import BYTES, INT, LANES, VECTOR, fetch

_BITS = ir.IntType(LANES)


def _fire(
    typing: Any,
    confident: Any,
    vectors: Any,
    potential: Any,
    current: Any,
    theta: Any,
    keep: Any,
    counts: Any,
    values: Any,
    bits: Any,
) -> Any:
    """``v += I``; ``s = H(v - theta)``; ``x = s*theta``; ``v -= x``, as :mod:`snnconv.neurons.if_`.

    Args:
        typing: numba's.
        confident: 1 where spikes are multiplied by keep, else 0; a literal.
        vectors: of :data:`LANES` neurons, how many.
        potential: address of float32, changed in place.
        current: address of float32.
        theta: address of float32.
        keep: address of float32, if confident.
        counts: address of s, or 0.
        values: address of x, or 0.
        bits: address of a bit for each s, or 0.
    """
    masked = confident.literal_value == 1

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, vectors, potential, current, theta, keep, *wanted = args
        ones, zeros = (ir.Constant(VECTOR, [number] * LANES) for number in (1.0, 0.0))
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))
            v, current, theta, keep = (
                builder.add(x, offset) for x in (potential, current, theta, keep)
            )
            before = builder.fadd(fetch(builder, VECTOR, v), fetch(builder, VECTOR, current))
            threshold = fetch(builder, VECTOR, theta)
            fired = builder.fcmp_ordered(">=", before, threshold)
            if masked:
                count = builder.select(fired, fetch(builder, VECTOR, keep), zeros)
                value = builder.fmul(count, threshold)
                fired = builder.fcmp_unordered("!=", count, zeros)
            else:
                count = builder.select(fired, ones, zeros)
                value = builder.select(fired, threshold, zeros)
            after = builder.fsub(before, value)
            builder.store(after, builder.inttoptr(v, VECTOR.as_pointer()), align=BYTES)
            found = (count, value, builder.bitcast(fired, _BITS))
            sizes = (LANES * BYTES, LANES * BYTES, LANES // 8)
            for start, what, size in zip(wanted, found, sizes, strict=True):
                with builder.if_then(builder.icmp_signed("!=", start, ir.Constant(INT, 0))):
                    at = builder.add(start, builder.mul(loop.index, ir.Constant(INT, size)))
                    builder.store(what, builder.inttoptr(at, what.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(confident, *[types.int64] * 8), generate


fire: Any = intrinsic(prefer_literal=True)(_fire)

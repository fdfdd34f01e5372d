"""One step of many IF neurons in training, in vectors: their potentials again, and gradients.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnconv.engine.simd import BYTES, INT, LANES, VECTOR, fetch, store

_ONES, _ZEROS = (ir.Constant(VECTOR, [number] * LANES) for number in (1.0, 0.0))


def _recall(
    typing: Any,
    given: Any,
    vectors: Any,
    potential: Any,
    current: Any,
    theta: Any,
    of: Any,
    to: Any,
) -> Any:
    """The potential before the spike, ``v + I``, and ``v`` after it, in place.

    Args:
        typing: numba's.
        given: 1 where spikes' values are read, else 0, where they are thetas again; a literal.
        vectors: of :data:`LANES` neurons, how many.
        potential: address of v, float32, changed in place.
        current: address of I.
        theta: address of thetas.
        of: address of the spikes' values, if given.
        to: address of what comes out.
    """
    known = given.literal_value == 1

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, vectors, *addresses = args
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))
            v, current, theta, of, to = (builder.add(x, offset) for x in addresses)
            before = builder.fadd(fetch(builder, VECTOR, v), fetch(builder, VECTOR, current))
            if known:
                value = fetch(builder, VECTOR, of)
            else:
                threshold = fetch(builder, VECTOR, theta)
                fired = builder.fcmp_ordered(">=", before, threshold)
                value = builder.select(fired, threshold, _ZEROS)
            store(builder, before, to)
            store(builder, builder.fsub(before, value), v)
        return context.get_dummy_value()

    return types.void(given, *[types.int64] * 6), generate


recall: Any = intrinsic(prefer_literal=True)(_recall)


def _pass_back(
    typing: Any,
    vectors: Any,
    before: Any,
    theta: Any,
    of_value: Any,
    of_count: Any,
    keep: Any,
    later: Any,
    to: Any,
) -> Any:
    """``g = g' + ((of_value - g')*theta + of_count) * keep * slope``, of a step.

    The slope is that of :mod:`snnconv.neurons.surrogate`.

    Args:
        typing: numba's.
        vectors: of :data:`LANES` neurons, how many.
        before: address of the potential before the spike, float32.
        theta: address of thetas.
        of_value: address of the gradient by spikes' values.
        of_count: address of the gradient by counts, or 0.
        keep: address of what spikes are multiplied by, or 0.
        later: address of g', the gradient by the potential after the spike.
        to: address of g, the gradient by the current.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, before, theta, of_value, of_count, keep, later, to = args
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))

            def of(address: Any) -> Any:
                return fetch(builder, VECTOR, builder.add(address, offset))

            g, threshold = of(later), of(theta)
            found = cgutils.alloca_once_value(
                builder, builder.fmul(builder.fsub(of(of_value), g), threshold)
            )
            for address, joined in ((of_count, builder.fadd), (keep, builder.fmul)):
                with builder.if_then(builder.icmp_signed("!=", address, ir.Constant(INT, 0))):
                    builder.store(joined(builder.load(found), of(address)), found)
            away = builder.fdiv(builder.fsub(of(before), threshold), threshold)
            size = builder.select(
                builder.fcmp_ordered("<", away, _ZEROS), builder.fsub(_ZEROS, away), away
            )
            rise = builder.fdiv(builder.fsub(_ONES, size), threshold)
            near = builder.fcmp_ordered("<", size, _ONES)
            slope = builder.select(near, rise, _ZEROS)
            store(
                builder,
                builder.fadd(g, builder.fmul(builder.load(found), slope)),
                builder.add(to, offset),
            )
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


pass_back: Any = intrinsic(_pass_back)

"""One step of many L-level neurons, in vectors: what it reads and writes of a neuron, it does once.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnconv.engine.simd import BYTES, INT, LANES, VECTOR, fetch, splat, store

_ZEROS = ir.Constant(VECTOR, [0.0] * LANES)


def _rise(
    typing: Any,
    confident: Any,
    vectors: Any,
    potential: Any,
    mixed: Any,
    unit: Any,
    keep: Any,
    counts: Any,
    values: Any,
    retention: Any,
    levels: Any,
) -> Any:
    """``v = lambda*v + J``; ``s = clip(floor(v/u), 0, L)``; ``x = s*u``; ``v -= x``.

    As :mod:`snnconv.neurons.lm_ht` has it.

    Args:
        typing: numba's.
        confident: 1 where spikes are multiplied by keep, else 0; a literal.
        vectors: of :data:`LANES` neurons, how many.
        potential: address of float32, changed in place.
        mixed: address of J.
        unit: address of u.
        keep: address of float32, if confident.
        counts: address of s.
        values: address of x.
        retention: lambda, float32.
        levels: L, float32.
    """
    masked = confident.literal_value == 1

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, vectors, *addresses, retention, levels = args
        kept, most = splat(builder, retention), splat(builder, levels)
        kind = ir.FunctionType(VECTOR, [VECTOR])
        floor = cgutils.get_or_insert_function(builder.module, kind, f"llvm.floor.v{LANES}f32")
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))
            v, mixed, unit, keep, counts, values = (builder.add(x, offset) for x in addresses)
            carried = builder.fmul(kept, fetch(builder, VECTOR, v))
            before = builder.fadd(carried, fetch(builder, VECTOR, mixed))
            u = fetch(builder, VECTOR, unit)
            count = builder.call(floor, [builder.fdiv(before, u)])
            count = builder.select(builder.fcmp_ordered("<", count, _ZEROS), _ZEROS, count)
            count = builder.select(builder.fcmp_ordered(">", count, most), most, count)
            if masked:
                count = builder.fmul(count, fetch(builder, VECTOR, keep))
            value = builder.fmul(count, u)
            store(builder, count, counts)
            store(builder, value, values)
            store(builder, builder.fsub(before, value), v)
        return context.get_dummy_value()

    addresses = [types.int64] * 7
    return types.void(confident, *addresses, types.float32, types.float32), generate


rise: Any = intrinsic(prefer_literal=True)(_rise)


def _recall_levels(
    typing: Any,
    vectors: Any,
    potential: Any,
    mixed: Any,
    values: Any,
    carried: Any,
    to: Any,
    retention: Any,
) -> Any:
    """The potential before the spikes, ``lambda*v + J``, and ``v`` after them, in place.

    Args:
        typing: numba's.
        vectors: of :data:`LANES` neurons, how many.
        potential: address of v, float32, changed in place.
        mixed: address of J.
        values: address of spikes' values.
        carried: address of what v was, to be kept.
        to: address of what comes out.
        retention: lambda, float32.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, *addresses, retention = args
        kept = splat(builder, retention)
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))
            v, mixed, values, carried, to = (builder.add(x, offset) for x in addresses)
            old = fetch(builder, VECTOR, v)
            before = builder.fadd(builder.fmul(kept, old), fetch(builder, VECTOR, mixed))
            store(builder, old, carried)
            store(builder, before, to)
            store(builder, builder.fsub(before, fetch(builder, VECTOR, values)), v)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, types.float32), generate


recall_levels: Any = intrinsic(_recall_levels)


def _pass_back_levels(
    typing: Any,
    through: Any,
    vectors: Any,
    before: Any,
    unit: Any,
    of_value: Any,
    of_count: Any,
    keep: Any,
    later: Any,
    levels: Any,
    retention: Any,
) -> Any:
    """``g = g' + (of_value*u + of_count) * keep * inside / u``, of a step, and the next ``g'``.

    Inside is 1 from ``u/2`` to ``(L + 1/2)*u``, else 0.

    Args:
        typing: numba's.
        through: 1 where gradients pass through potential and reset, ``of_value - g'`` then, else 0,
            and no g' is left for the step before.
        vectors: of :data:`LANES` neurons, how many.
        before: address of the potential before the spikes, float32, where g goes.
        unit: address of u.
        of_value: address of the gradient by spikes' values.
        of_count: address of the gradient by counts, or 0.
        keep: address of what spikes are multiplied by, or 0.
        later: address of g', the gradient by the potential after the spikes; changed in place.
        levels: L, float32.
        retention: lambda, float32.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        through, vectors, before, unit, of_value, of_count, keep, later, levels, retention = args
        half, ones = (ir.Constant(VECTOR, [number] * LANES) for number in (0.5, 1.0))
        kept, most = splat(builder, retention), builder.fadd(splat(builder, levels), half)
        passes = builder.icmp_signed("!=", through, ir.Constant(INT, 0))
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))

            def of(address: Any) -> Any:
                return fetch(builder, VECTOR, builder.add(address, offset))

            g, u, value, potential = of(later), of(unit), of(of_value), of(before)
            value = builder.select(passes, builder.fsub(value, g), value)
            found = cgutils.alloca_once_value(builder, builder.fmul(value, u))
            for address, joined in ((of_count, builder.fadd), (keep, builder.fmul)):
                with builder.if_then(builder.icmp_signed("!=", address, ir.Constant(INT, 0))):
                    builder.store(joined(builder.load(found), of(address)), found)
            inside = builder.and_(
                builder.fcmp_ordered(">=", potential, builder.fmul(u, half)),
                builder.fcmp_ordered("<=", potential, builder.fmul(most, u)),
            )
            share = builder.fmul(builder.load(found), builder.select(inside, ones, _ZEROS))
            g = builder.fadd(g, builder.fdiv(share, u))
            store(builder, g, builder.add(before, offset))
            left = builder.select(passes, builder.fmul(g, kept), _ZEROS)
            store(builder, left, builder.add(later, offset))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8, types.float32, types.float32), generate


pass_back_levels: Any = intrinsic(_pass_back_levels)

"""What MSAT does with every neuron at a step, in vectors: who may fire, and how potentials end.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnconv.engine.simd import BYTES, INT, LANES, VECTOR, fetch, splat

_BITS = ir.IntType(LANES)

_LN2 = 0.6931471  # a little less than that
_LEFT, _RIGHT = 0.25, 0.19  # slopes: sigmoid(2) is 0.5 + 2*0.1904
_SLACK = 1e-4


def _number(value: float) -> Any:
    return ir.Constant(VECTOR, [value] * LANES)


def _greater(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def _positive(builder: Any, x: Any) -> Any:
    """Zero where it is below; what is no number stays one, so its neuron is looked at."""
    return builder.select(builder.fcmp_ordered("<", x, _number(0.0)), _number(0.0), x)


def _smaller(builder: Any, one: Any, other: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", one, other), one, other)


def _lowered(builder: Any, x: Any) -> tuple[Any, Any]:
    """Less of a number, and more, by the slack."""
    less, more = (builder.fmul(x, _number(1 + by)) for by in (-_SLACK, _SLACK))
    return less, more


def _constants(builder: Any, dtt: Any, det: Any) -> tuple[Any, ...]:
    """What :func:`_least` multiplies by, in vectors, with the slack of each term in it."""
    narrow, high, steep, level = (splat(builder, builder.extract_value(dtt, k)) for k in range(4))
    sharp, evoked = (splat(builder, builder.extract_value(det, k)) for k in range(2))
    least = _smaller(builder, *_lowered(builder, level))
    slopes = _lowered(builder, steep)
    return narrow, _lowered(builder, high)[0], slopes, least, sharp, _lowered(builder, evoked)[0]


def _least(builder: Any, deviation: Any, rise: Any, constants: Any) -> Any:
    """A number below MSAT's threshold over theta, for a few operations.

    ``ln(1 + e^z) >= max(z, ln(2) + z/2, 0)``, a maximum of tangents; ``e^z >= max(1 + z, 0)``; the
    sigmoid is above its tangent at 0 on the left, on the right above its chord to 2, which gives
    ``0.19 z``, and rises. The slack is for rounding, here and there.
    """
    narrow, high, slopes, level, sharp, evoked = constants
    add, mul = builder.fadd, builder.fmul
    scaled = mul(deviation, narrow)
    bend = _greater(builder, scaled, add(mul(scaled, _number(0.5)), _number(_LN2)))
    bend = mul(_positive(builder, bend), high)
    slope = _smaller(builder, *(mul(deviation, steep) for steep in slopes))
    raised = mul(_positive(builder, add(mul(rise, sharp), _number(1.0))), evoked)
    drive = add(add(bend, slope), add(level, raised))
    drive = _smaller(builder, _number(2.0), drive)
    angle = _smaller(builder, *(mul(drive, _number(share)) for share in (_LEFT, _RIGHT)))
    return add(angle, _number(0.5 - _SLACK))


def _look(
    typing: Any,
    vectors: Any,
    current: Any,
    after: Any,
    before: Any,
    mean: Any,
    theta: Any,
    inverse: Any,
    rise: Any,
    near: Any,
    sees_input: Any,
    dtt: Any,
    det: Any,
) -> Any:
    """``V = v + I``, and which neurons may be above their threshold.

    Args:
        typing: numba's.
        vectors: of :data:`LANES` neurons, how many.
        current: address of float32, I.
        after: address of float32, v.
        before: address of float32, V of the step before, and then of this one.
        mean: address of float32.
        theta: address of float32.
        inverse: address of float32, ``1/theta``.
        rise: address of float32: where I goes, or the increase of V.
        near: address of a bit a neuron.
        sees_input: 1 where the rise is I, else 0.
        dtt: ``1/k_i, tau_mp*k_a, tau_mp*alpha, tau_mp*v_t``, float32; zeros where it is off.
        det: ``-1/c, tau_rd``, the same.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, *addresses, near, sees_input, dtt, det = args
        constants = _constants(builder, dtt, det)
        whole = builder.icmp_signed("!=", sees_input, ir.Constant(INT, 0))
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))
            places = [builder.add(x, offset) for x in addresses]
            now, after, old, mean, theta, inverse = (fetch(builder, VECTOR, x) for x in places[:6])
            potential = builder.fadd(after, now)
            rise = builder.select(whole, now, builder.fsub(potential, old))
            for value, place in ((potential, places[2]), (rise, places[6])):
                builder.store(value, builder.inttoptr(place, VECTOR.as_pointer()), align=BYTES)
            deviation = builder.fmul(builder.fsub(after, mean), inverse)
            least = _least(builder, deviation, builder.fmul(rise, inverse), constants)
            far = builder.fcmp_ordered("<", potential, builder.fmul(least, theta))
            at = builder.add(near, builder.mul(loop.index, ir.Constant(INT, LANES // 8)))
            bits = builder.bitcast(builder.not_(far), _BITS)
            builder.store(bits, builder.inttoptr(at, _BITS.as_pointer()), align=1)
        return context.get_dummy_value()

    four, two = (types.UniTuple(types.float32, n) for n in (4, 2))
    return types.void(*[types.int64] * 10, four, two), generate


look: Any = intrinsic(_look)


def _settle(
    typing: Any,
    vectors: Any,
    before: Any,
    value: Any,
    after: Any,
    mean: Any,
    share: Any,
    out: Any,
) -> Any:
    """``v = V - x``, ``mean += (v - mean)*share``; x is given away.

    Args:
        typing: numba's.
        vectors: of :data:`LANES` neurons, how many.
        before: address of float32, V.
        value: address of float32, x, which is 0 then.
        after: address of float32, v.
        mean: address of float32, changed in place.
        share: float32.
        out: address of float32, where x goes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors, *addresses, share, out = args
        each = splat(builder, share)
        with cgutils.for_range(builder, vectors, intp=INT) as loop:
            offset = builder.mul(loop.index, ir.Constant(INT, LANES * BYTES))
            before, value, after, mean, out = (builder.add(x, offset) for x in (*addresses, out))
            spent = fetch(builder, VECTOR, value)
            left = builder.fsub(fetch(builder, VECTOR, before), spent)
            old = fetch(builder, VECTOR, mean)
            new = builder.fadd(old, builder.fmul(builder.fsub(left, old), each))
            for found, place in ((left, after), (new, mean), (spent, out), (_number(0.0), value)):
                builder.store(found, builder.inttoptr(place, VECTOR.as_pointer()), align=BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, types.float32, types.int64), generate


settle: Any = intrinsic(_settle)

"""Sums of weight rows, one for each event, that stay in registers until all are in.

Stated in LLVM's vector type, as in :mod:`snnconv.engine.vectors`.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnconv.engine.vectors import BYTES, FLOAT, INT, LANES, VECTOR, fetch, splat

WIDEST = 4  # vectors of sums that fit into AVX2's sixteen registers, with room for a row


def _begun(builder: Any, vectors: int, address: Any) -> list[Any]:
    """Sums in registers, from what lies at an address."""
    return [
        cgutils.alloca_once_value(builder, fetch(builder, VECTOR, address, LANES * BYTES * j))
        for j in range(vectors)
    ]


def _add(
    builder: Any, sums: list[Any], start: Any, stop: Any, rows: Any, amounts: Any, weights: Any
) -> None:
    """Add the rows of events to sums, in their order: one multiplication, one addition each."""
    with cgutils.for_range(builder, stop, start=start, intp=INT) as event:
        eight, four = (builder.mul(event.index, ir.Constant(INT, size)) for size in (8, 4))
        row = builder.add(weights, fetch(builder, INT, builder.add(rows, eight)))
        amount = splat(builder, fetch(builder, FLOAT, builder.add(amounts, four)))
        for j, total in enumerate(sums):
            term = builder.fmul(fetch(builder, VECTOR, row, LANES * BYTES * j), amount)
            builder.store(builder.fadd(builder.load(total), term), total)


def _end(builder: Any, sums: list[Any], address: Any) -> None:
    """Write sums to an address."""
    for j, total in enumerate(sums):
        place = builder.add(address, ir.Constant(INT, LANES * BYTES * j))
        target = builder.inttoptr(place, VECTOR.as_pointer())
        builder.store(builder.load(total), target, align=BYTES)


def _add_rows(
    typing: Any,
    vectors: Any,
    runs: Any,
    number: Any,
    rows: Any,
    amounts: Any,
    weights: Any,
    bias: Any,
    out: Any,
) -> Any:
    """``out = bias + sum of amount * row``, in the order of the events.

    Args:
        typing: numba's.
        vectors: how many vectors of :data:`LANES` floats a row has; a literal.
        runs: address of ``[number, 3]`` int64: first event, one past the last, and the byte at
            which their weights begin.
        number: of runs.
        rows: address of int64 by event: the byte of its row, from where its run's weights begin.
        amounts: address of float32 by event: what the row is multiplied by.
        weights: address of the weights.
        bias: address of a row.
        out: address of a row.
    """
    width = vectors.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, runs, number, rows, amounts, weights, bias, out = args
        sums = _begun(builder, width, bias)
        with cgutils.for_range(builder, number, intp=INT) as run:
            run_place = builder.add(runs, builder.mul(run.index, ir.Constant(INT, 24)))
            start, stop, begin = (fetch(builder, INT, run_place, 8 * k) for k in range(3))
            _add(builder, sums, start, stop, rows, amounts, builder.add(weights, begin))
        _end(builder, sums, out)
        return context.get_dummy_value()

    return types.void(vectors, *[types.int64] * 7), generate


add_rows: Any = intrinsic(prefer_literal=True)(_add_rows)


def _add_events(
    typing: Any,
    floats: Any,
    start: Any,
    stop: Any,
    rows: Any,
    amounts: Any,
    weights: Any,
    out: Any,
) -> Any:
    """``out += sum of amount * row``, in the order of the events.

    Args:
        typing: numba's.
        floats: of a row; a multiple of :data:`snnconv.engine.vectors.LANES`.
        start: the first event.
        stop: one past the last.
        rows: address of int64 by event: the byte at which its row begins.
        amounts: address of float32 by event: what the row is multiplied by.
        weights: address of the weights.
        out: address of a row, changed in place.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        floats, start, stop, rows, amounts, weights, out = args

        def add(vectors: int, done: Any) -> None:
            """To so many vectors behind the floats that are done."""
            skipped = builder.mul(done, ir.Constant(INT, BYTES))
            base, to = builder.add(weights, skipped), builder.add(out, skipped)
            sums = _begun(builder, vectors, to)
            _add(builder, sums, start, stop, rows, amounts, base)
            _end(builder, sums, to)

        most = ir.Constant(INT, WIDEST * LANES)
        whole = builder.udiv(floats, most)
        with cgutils.for_range(builder, whole, intp=INT) as part:
            add(WIDEST, builder.mul(part.index, most))
        done = builder.mul(whole, most)
        rest = builder.sub(floats, done)
        for vectors in range(1, WIDEST):
            here = builder.icmp_signed("==", rest, ir.Constant(INT, vectors * LANES))
            with builder.if_then(here):
                add(vectors, done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


add_events: Any = intrinsic(_add_events)

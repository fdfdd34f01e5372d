"""What compiled loops can't say: sums that stay in registers, and copies without a loop.

:func:`mix` and :func:`dot`, as those of :mod:`snnconv.engine.event_conv.grouped_row_sum` and
``bits``, are stated in LLVM's vector type, which becomes whatever the processor has (AVX2,
AVX-512, NEON). A loop over two arrays is made of vectors only where the compiler can see that they
do not overlap; after a :func:`copy` into one array it can.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # of a vector: one register of AVX-512, two of AVX2, four of NEON

FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
BYTES = 4


def fetch(builder: Any, kind: Any, address: Any, offset: int = 0) -> Any:
    """Load what lies so many bytes behind an address."""
    place = builder.add(address, ir.Constant(INT, offset))
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=BYTES)


def store(builder: Any, vector: Any, address: Any) -> None:
    """A vector, to an address that needs be no multiple of its size."""
    builder.store(vector, builder.inttoptr(address, VECTOR.as_pointer()), align=BYTES)


def splat(builder: Any, value: Any) -> Any:
    """A vector of one number."""
    empty = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, empty, zeros)


def _add_multiple(
    typing: Any,
    vectors: Any,
    out: Any,
    row: Any,
    amount: Any,
    floats: Any,
    lines: Any,
    out_step: Any,
    row_step: Any,
) -> Any:
    """``out += amount * row``, for some lines of equal length.

    Args:
        typing: numba's.
        vectors: of :data:`LANES` floats a line has; a literal, 0 if it is not known.
        out: address of float32, changed in place.
        row: address of float32.
        amount: float32.
        floats: of a line, if vectors is 0.
        lines: how many.
        out_step: bytes from one line of the output to the next.
        row_step: bytes from one line of what is added to the next.
    """
    known = vectors.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, out, row, amount, floats, lines, out_step, row_step = args
        many = splat(builder, amount)
        with cgutils.for_range(builder, lines, intp=INT) as line:
            to = builder.add(out, builder.mul(line.index, out_step))
            of = builder.add(row, builder.mul(line.index, row_step))
            if known:
                for j in range(known):
                    _add_product(builder, VECTOR, to, of, many, j * LANES * BYTES)
            else:
                _add_any(builder, to, of, amount, floats)
        return context.get_dummy_value()

    return types.void(
        vectors, types.int64, types.int64, types.float32, *[types.int64] * 4
    ), generate


def _add_any(builder: Any, out: Any, row: Any, amount: Any, floats: Any) -> None:
    many = splat(builder, amount)
    whole = builder.lshr(floats, ir.Constant(INT, LANES.bit_length() - 1))
    done = builder.mul(whole, ir.Constant(INT, LANES))
    parts = [(VECTOR, many, None, whole, LANES), (FLOAT, amount, done, floats, 1)]
    for kind, by, start, stop, size in parts:
        with cgutils.for_range(builder, stop, start=start, intp=INT) as loop:
            place = builder.mul(loop.index, ir.Constant(INT, size * BYTES))
            _add_product(builder, kind, builder.add(out, place), builder.add(row, place), by)


def _add_product(builder: Any, kind: Any, out: Any, row: Any, amount: Any, offset: int = 0) -> None:
    term = builder.fmul(fetch(builder, kind, row, offset), amount)
    total = builder.fadd(fetch(builder, kind, out, offset), term)
    place = builder.add(out, ir.Constant(INT, offset))
    builder.store(total, builder.inttoptr(place, kind.as_pointer()), align=BYTES)


add_multiple: Any = intrinsic(prefer_literal=True)(_add_multiple)


def _copy(typing: Any, to: Any, source: Any, floats: Any) -> Any:
    """Copy float32 values between two addresses."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, source = (builder.inttoptr(x, ir.IntType(8).as_pointer()) for x in args[:2])
        cgutils.raw_memcpy(builder, to, source, args[2], BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


copy: Any = intrinsic(_copy)


def _mix(
    typing: Any,
    out: Any,
    rows: Any,
    step: Any,
    number: Any,
    weights: Any,
    apart: Any,
    floats: Any,
) -> Any:
    """``out = sum of weight * row``, from 0 and in the order of the rows.

    Args:
        typing: numba's.
        out: address of a row.
        rows: address of the first row.
        step: bytes from row to row.
        number: of rows.
        weights: address of the first row's weight.
        apart: bytes from weight to weight.
        floats: of a row.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, rows, step, number, weights, apart, floats = args
        pair = ir.Constant(INT, 2 * LANES)

        def add_up(kind: Any, spread: Any, first: Any, count: int, size: int) -> None:
            """Of so many numbers or vectors, that many bytes each, from a float on."""
            start = builder.mul(first, ir.Constant(INT, BYTES))
            nothing = ir.Constant(kind, [0.0] * LANES if kind is VECTOR else 0.0)
            sums = [cgutils.alloca_once(builder, kind) for _ in range(count)]
            for total in sums:
                builder.store(nothing, total)
            with cgutils.for_range(builder, number, intp=INT) as row:
                place = builder.add(weights, builder.mul(row.index, apart))
                weight = spread(fetch(builder, FLOAT, place))
                place = builder.add(builder.add(rows, builder.mul(row.index, step)), start)
                for k, total in enumerate(sums):
                    term = builder.fmul(weight, fetch(builder, kind, place, size * k))
                    builder.store(builder.fadd(builder.load(total), term), total)
            for k, total in enumerate(sums):
                place = builder.add(builder.add(out, start), ir.Constant(INT, size * k))
                target = builder.inttoptr(place, kind.as_pointer())
                builder.store(builder.load(total), target, align=BYTES)

        whole = builder.udiv(floats, pair)
        with cgutils.for_range(builder, whole, intp=INT) as part:
            first = builder.mul(part.index, pair)
            add_up(VECTOR, lambda x: splat(builder, x), first, 2, LANES * BYTES)
        with cgutils.for_range(builder, floats, start=builder.mul(whole, pair), intp=INT) as one:
            add_up(FLOAT, lambda x: x, one.index, 1, BYTES)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


mix: Any = intrinsic(_mix)


def _dot(typing: Any, one: Any, other: Any, floats: Any) -> Any:
    """The sum of products of float32 values at two addresses; as many as fill pairs of vectors.

    Each place of a pair of vectors has a sum of its own, and the sums are added up by halves: the
    same bits on every processor, and a smaller error than one sum would have.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(VECTOR, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, nothing) for _ in range(2)]
        one, other, floats = args
        pairs = builder.udiv(floats, ir.Constant(INT, 2 * LANES))
        with cgutils.for_range(builder, pairs, intp=INT) as pair:
            offset = builder.mul(pair.index, ir.Constant(INT, 2 * LANES * BYTES))
            places = [builder.add(x, offset) for x in (one, other)]
            for k, total in enumerate(sums):
                x, y = (fetch(builder, VECTOR, place, LANES * BYTES * k) for place in places)
                builder.store(builder.fadd(builder.load(total), builder.fmul(x, y)), total)
        total = builder.fadd(*map(builder.load, sums))
        width = LANES // 2
        while width:
            low, high = (
                builder.shuffle_vector(
                    total,
                    ir.Constant(total.type, ir.Undefined),
                    ir.Constant(ir.VectorType(ir.IntType(32), width), list(places)),
                )
                for places in (range(width), range(width, 2 * width))
            )
            total, width = builder.fadd(low, high), width // 2
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(*[types.int64] * 3), generate


dot: Any = intrinsic(_dot)

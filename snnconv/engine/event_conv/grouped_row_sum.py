"""Sums of the weight rows that lists of events name, in groups whose sums stay in registers.

The processor can't predict where a loop over few events ends, and a misprediction costs as much as
several additions. So the events of a place are put into groups of fixed sizes, and each size has a
loop of its own.

Shape:
    Addresses of contiguous memory; nothing is checked here.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from snnconv.engine.rows import LANES
from snnconv.engine.simd import BYTES, FLOAT, INT, VECTOR, fetch, in_llvm, splat

WIDEST = 4  # vectors of sums that fit into AVX2's sixteen registers, with room for a row
SIZES = (8, 4, 2, 1)  # events in a group

_SHORT = ir.IntType(16)  # the elements of lists
Lists = tuple[ir.Value, ...]  # addresses of rows, amounts, weights and out


def _offset(builder: ir.IRBuilder, address: ir.Value, index: ir.Value | int) -> ir.Value:
    """Return the unsigned 16 bits at a place of a list."""
    index = ir.Constant(INT, index) if isinstance(index, int) else index
    place = builder.add(address, builder.mul(index, ir.Constant(INT, 2)))
    pointer = builder.inttoptr(place, _SHORT.as_pointer())
    return builder.zext(builder.load(pointer, align=2), INT)


def _add_group(
    builder: ir.IRBuilder, plain: bool, vectors: int, size: int, lists: Lists, group: ir.Value
) -> None:
    """Add ``sum of amount * row`` for a group: one multiplication and one addition each."""
    rows, amounts, weights, out = lists
    to = builder.add(out, _offset(builder, group, 0))
    event = _offset(builder, group, 1)
    sums = [fetch(builder, VECTOR, to, LANES * BYTES * j) for j in range(vectors)]
    for k in range(size):
        at = builder.add(event, ir.Constant(INT, k))
        row = builder.add(weights, _offset(builder, rows, at))
        terms = [fetch(builder, VECTOR, row, LANES * BYTES * j) for j in range(vectors)]
        if not plain:
            place = builder.add(amounts, builder.mul(at, ir.Constant(INT, BYTES)))
            amount = splat(builder, fetch(builder, FLOAT, place))
            terms = [builder.fmul(term, amount) for term in terms]
        sums = [builder.fadd(total, term) for total, term in zip(sums, terms, strict=True)]
    for j, total in enumerate(sums):
        place = builder.add(to, ir.Constant(INT, LANES * BYTES * j))
        builder.store(total, builder.inttoptr(place, VECTOR.as_pointer()), align=BYTES)


@in_llvm(types.void, None, *[types.int64] * 8)
def add_groups(
    builder: ir.IRBuilder,
    plain: int,
    vectors: ir.Value,
    numbers: ir.Value,
    groups: ir.Value,
    apart: ir.Value,
    rows: ir.Value,
    amounts: ir.Value,
    weights: ir.Value,
    out: ir.Value,
) -> None:
    """Add ``sum of amount * row``, group by group.

    Args:
        builder: of LLVM code.
        plain: a literal: 1 if every amount is one, and none is read, else 0.
        vectors: of :data:`LANES` floats a row has, at most :data:`WIDEST`.
        numbers: address of int64: how many groups there are of each of :data:`SIZES`.
        groups: address of pairs of uint16: the byte of a group's sums, and its first event.
        apart: bytes from the groups of a size to those of the next.
        rows: address of uint16 by event: the byte of its row.
        amounts: address of float32 by event: what the row is multiplied by.
        weights: address of the rows.
        out: address of the sums, changed in place.
    """
    lists = (rows, amounts, weights, out)
    for width in range(1, WIDEST + 1):
        with builder.if_then(builder.icmp_signed("==", vectors, ir.Constant(INT, width))):
            for k, size in enumerate(SIZES):
                first = builder.add(groups, builder.mul(apart, ir.Constant(INT, k)))
                number = fetch(builder, INT, numbers, 8 * k)
                with cgutils.for_range(builder, number, intp=INT) as loop:
                    group = builder.add(first, builder.mul(loop.index, ir.Constant(INT, 4)))
                    _add_group(builder, plain == 1, width, size, lists, group)

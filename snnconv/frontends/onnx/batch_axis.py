"""Values whose batch is not the first axis in the file, as sequences have it for ONNX's LSTM.

In the graph the batch comes first always. A permutation that only moves the batch makes no node:
the value stays, and where the file has its batch is noted beside it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.contract import Activation, BatchMoved, NodeSpec, Refused, Stored
from snnconv.frontends.onnx import movement
from snnconv.frontends.onnx.call import Call, Operand
from snnconv.frontends.torch.capture import BATCH
from snnconv.graph.remedies import BATCH_FIRST

Result = NodeSpec | BatchMoved | Stored | None
"""What a form gives, or one of several that it gives; None for what nobody may read."""


def transpose(call: Call) -> NodeSpec | BatchMoved:
    """Axes in another order."""
    x = _turned(call.operand(0))
    rank = len(shape_of(x.x))
    order = [int(axis) % rank for axis in call.numbers("perm") or range(rank)[::-1]]
    own = [_own(x, axis) for axis in order if axis != x.batch]
    value = x.x if own == sorted(own) else NodeSpec("permute", [x.x], {"dims": own})
    return _placed(value, order.index(x.batch))


def moves_batch(operands: Sequence[Operand]) -> bool:
    """Whether one of them has its batch elsewhere."""
    return any(isinstance(x, BatchMoved) for x in operands)


def made(
    call: Call, form: Callable[[Call], Result | Sequence[Result]]
) -> Result | Sequence[Result]:
    """What an operator gives of operands whose batch is not the first axis.

    Args:
        form: the operator's, for a batch that comes first.
    """
    if call.op == "GatherND":
        call, form = movement.gather_of_places(call), movement.gather
    if call.op in _FORMS:
        return _FORMS[call.op](call)
    if call.op in _ALONG:
        return _along(call, form)
    if call.op in ("GRU", "LSTM"):
        return form(call)
    raise Refused("it stands behind a permutation that moves the batch", BATCH_FIRST)


_ALONG: Mapping[str, tuple[str, int | None]] = {
    **dict.fromkeys(("Concat", "Gather", "Split"), ("axis", None)),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), ("axes", 1)),
    "Slice": ("axes", 3),
}
"""Operators along axes that are named: by which attribute, and by which operand in newer opsets."""


def _along(
    call: Call, form: Callable[[Call], Result | Sequence[Result]]
) -> Result | Sequence[Result]:
    """The operator on the value with its batch first, along the axes that are meant."""
    name, position = _ALONG[call.op]
    given = [_turned(x) if isinstance(x, Activation | BatchMoved) else x for x in call.operands]
    (batch,) = {x.batch for x in given if isinstance(x, BatchMoved)}
    x = next(x for x in given if isinstance(x, BatchMoved))
    rank = len(shape_of(x.x))
    named = call.numbers(name, position)
    if not named and call.op.startswith("Reduce"):
        if call.number("noop_with_empty_axes", 0):
            return x
        raise Refused("all axes at once, which mixes samples", BATCH_FIRST)
    default = range(len(call.numbers("starts", 1) or [])) if call.op == "Slice" else [0]
    axes = [int(axis) % rank for axis in named or default]
    own = [_own(x, axis) for axis in axes]
    inner = replace(
        call,
        operands=[_first(x) for x in given],
        attrs={**call.attrs, name: own if name == "axes" else own[0]},
    )
    found = form(inner)

    def back(value: Result) -> Result:
        assert isinstance(value, NodeSpec)
        gone = sum(axis < batch for axis in axes) if len(shape_of(value)) < rank else 0
        return _placed(value, batch - gone)

    return [back(one) for one in found] if isinstance(found, Sequence) else back(found)


def _reshape(call: Call) -> Result:
    """A reshape of what stands before the batch, and of what stands behind it."""
    x = _turned(call.operand(0))
    dims, sizes = _dims(x), [int(n) for n in call.numbers("shape", 1) or []]
    if not call.number("allowzero", 0):
        sizes = [dims[k] if n == 0 and k < len(dims) else n for k, n in enumerate(sizes)]
    before, behind = math.prod(dims[: x.batch]), math.prod(dims[x.batch + 1 :])
    for place in sorted(range(len(sizes)), key=lambda k: (k != x.batch, k)):
        ahead = _filled(sizes[:place], before)
        rest = _filled(sizes[place + 1 :], behind)
        if sizes[place] in {-1, 1, BATCH, call.batch} and ahead is not None and rest is not None:
            return _placed(NodeSpec("reshape", [x.x], {"shape": ahead + rest}), place)
    raise Refused("a reshape that mixes samples", BATCH_FIRST)


def _filled(sizes: list[int], count: int) -> list[int] | None:
    """Sizes of so many numbers, where one may be left open; None where they are of others."""
    if sizes.count(-1) == 1:
        known = max(-math.prod(sizes), 1)
        sizes = [count // known if n == -1 else n for n in sizes]
    return sizes if math.prod(sizes) == count and min(sizes, default=1) > 0 else None


def _squeeze(call: Call) -> Result:
    """Axes of size 1 go."""
    x = _turned(call.operand(0))
    dims = _dims(x)
    axes = call.numbers("axes", 1)
    if axes is None:
        axes = [k for k, n in enumerate(dims) if k != x.batch and n == 1]
    gone = {int(axis) % len(dims) for axis in axes}
    if x.batch in gone:
        raise Refused("a squeeze of the batch", BATCH_FIRST)
    shape = [n for k, n in enumerate(dims) if k != x.batch and k not in gone]
    batch = x.batch - sum(axis < x.batch for axis in gone)
    return _placed(NodeSpec("reshape", [x.x], {"shape": shape}), batch)


def _unsqueeze(call: Call) -> Result:
    """Axes of size 1 come."""
    x = _turned(call.operand(0))
    dims, axes = _dims(x), call.numbers("axes", 1) or []
    rank = len(dims) + len(axes)
    new = {int(axis) % rank for axis in axes}
    old = [axis for axis in range(rank) if axis not in new]
    batch = old[x.batch]
    shape = [1 if k in new else dims[old.index(k)] for k in range(rank) if k != batch]
    return _placed(NodeSpec("reshape", [x.x], {"shape": shape}), batch)


def _shape(call: Call) -> Stored:
    """The sizes as the file has them."""
    start, end = call.number("start", 0), call.number("end", None)
    return Stored("", torch.tensor(_dims(_turned(call.operand(0)))[start:end], dtype=torch.int64))


def _same(call: Call) -> Result:
    """What changes each number by itself."""
    x = _turned(call.operand(0))
    form = {"Cast": movement.cast, "Dropout": movement.dropout, "Identity": movement.identity}[
        call.op
    ]
    return _placed(form(replace(call, operands=[_first(x), *call.operands[1:]])), x.batch)


_FORMS: Mapping[str, Callable[[Call], Result]] = {
    **dict.fromkeys(("Cast", "Dropout", "Identity"), _same),
    "Reshape": _reshape,
    "Shape": _shape,
    "Squeeze": _squeeze,
    "Transpose": transpose,
    "Unsqueeze": _unsqueeze,
}


def _turned(value: Operand) -> BatchMoved:
    """An operand, with where its batch is."""
    if isinstance(value, BatchMoved):
        return value
    if isinstance(value, Activation):
        return BatchMoved(value, 0)
    raise Refused("an operand that is no activation")


def _first(value: Operand) -> Operand:
    """An operand with its batch first, as the graph has it."""
    if isinstance(value, BatchMoved):
        assert isinstance(value.x, Activation)
        return value.x
    return value


def _placed(value: Activation | NodeSpec, batch: int) -> NodeSpec | BatchMoved:
    return value if batch == 0 and isinstance(value, NodeSpec) else BatchMoved(value, batch)


def _dims(x: BatchMoved) -> list[int]:
    """The shape as the file has it."""
    samples, *dims = shape_of(x.x)
    return [*dims[: x.batch], samples, *dims[x.batch :]]


def _own(x: BatchMoved, axis: int) -> int:
    """Of the value with its batch first, the axis that is one of the file's."""
    return 0 if axis == x.batch else axis + (axis < x.batch)

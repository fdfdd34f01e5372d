"""Comparisons, and choices place by place: masks of 0 and 1, and products with them.

A mask is a function that no neuron stands for; ``x * (x > 0)`` is a ReLU all the same: see
:mod:`snnconv.graph.recognise`.
"""

import operator
from functools import partial

import torch

from snnconv.frontends.lowering import arithmetic
from snnconv.frontends.lowering.arithmetic import (
    broadcast,
    constant,
    line,
    onnx_binary,
    summand,
)
from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
    in_place,
)
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.remedies import BATCH_FIRST, NO_PADDING


def _mask(function: str, shape: Shape, larger: object, smaller: object) -> NodeSpec:
    """Return a mask: 1 if ``larger - smaller`` is above 0 (``gt0``), or not below 0 (``ge0``)."""
    if isinstance(smaller, Stored) and smaller.value.numel() == 1:
        smaller = smaller.value.item()
    if isinstance(smaller, int | float) and smaller == 0:
        difference: Activation | NodeSpec = activation(larger)
    else:
        difference = arithmetic.sub(shape, larger, smaller)
    return NodeSpec("pointwise", [difference], Pointwise(function=function, arguments=[]))


def greater(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower ``x > other``."""
    return _mask("gt0", shape, x, other)


def greater_equal(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower ``x >= other``."""
    return _mask("ge0", shape, x, other)


def less(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower ``x < other``."""
    return _mask("gt0", shape, other, x)


def less_equal(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower ``x <= other``."""
    return _mask("ge0", shape, other, x)


def equal(shape: Shape, x: object, other: object) -> NodeSpec:
    """Refuse ``x == other``, which makes masks of padding."""
    raise Refused("a comparison for equality, which makes masks of padding", NO_PADDING)


def where(shape: Shape, condition: object, x: object, other: object) -> NodeSpec:
    """Lower a choice: ``x`` where a mask is 1, ``other`` where it is 0.

    It is ``other + mask*(x - other)``, or, of a value and a constant, a product of the value and a
    line of the mask: a constant of -1e9, as masks of attention have it, would take the value's
    digits from the difference.
    """
    if isinstance(condition, Stored):
        return _by_constant(shape, condition, x, other)
    mask = activation(condition)
    if not isinstance(x, Activation) and not isinstance(other, Activation):
        yes, no = summand(shape, x), summand(shape, other)
        return line(mask, yes - no, no)
    values = [value for value in (mask, x, other) if isinstance(value, Activation)]
    if any(len(value.shape) != len(shape) for value in values):
        raise Refused("a choice that mixes samples", BATCH_FIRST)
    if isinstance(x, Activation) and isinstance(other, Activation):
        chosen = NodeSpec("multiply", [arithmetic.sub(shape, x, other), mask])
        return NodeSpec("add", [chosen, other])
    if isinstance(x, Activation):
        chosen, rest = NodeSpec("multiply", [x, mask]), summand(shape, other)
        return NodeSpec("add", [chosen, line(mask, -rest, rest)]) if rest.any() else chosen
    chosen, rest = NodeSpec("multiply", [activation(other), _negated(mask)]), summand(shape, x)
    return NodeSpec("add", [chosen, line(mask, rest)]) if rest.any() else chosen


def _by_constant(shape: Shape, condition: Stored, x: object, other: object) -> NodeSpec:
    """Lower a choice by a mask of the network's own, which takes each value at its places."""
    chosen = Stored(condition.name, condition.value.bool())
    if not isinstance(x, Activation):
        x, other, chosen = other, x, Stored(condition.name, ~chosen.value)
    taken = constant(shape, chosen)
    if not isinstance(other, Activation):
        if bool(taken.all()) and activation(x).shape == shape:
            return NodeSpec("identity", [activation(x)])
        beside = other.value if isinstance(other, Stored) else torch.tensor(other)
        shift = torch.where(chosen.value, torch.zeros(()), beside.float())
        return arithmetic.affine(shape, x, chosen, Stored("", shift))
    parts = [arithmetic.affine(shape, x, chosen)]
    parts += [arithmetic.affine(shape, other, Stored("", ~chosen.value))]
    return NodeSpec("add", parts)


def masked_fill(shape: Shape, x: object, mask: object, value: object) -> NodeSpec:
    """Lower a masked fill: ``value`` where a mask is 1, ``x`` elsewhere."""
    return where(shape, mask, value, x)


def inverted(shape: Shape, x: object) -> NodeSpec:
    """Lower a negated mask: 1 where a mask is 0."""
    if not activation(x).mask:
        raise Refused("the negation of something other than a comparison", "negate a comparison")
    return _negated(x)


def _negated(mask: object) -> NodeSpec:
    return line(activation(mask), -1.0, 1.0)


def onnx_where(call: Call) -> NodeSpec:
    """Lower ``Where``: the first of two values where a mask is 1, the second elsewhere."""
    condition, x, other = (call.operand(position) for position in range(3))
    return where(broadcast(condition, x, other), condition, x, other)


def onnx_is_nan(call: Call) -> Stored:
    """Return zeros: no value of a network is NaN; an exporter asks for this behind a softmax."""
    return Stored("", torch.tensor(False))


LOWERINGS = (
    *(
        Lowering(
            make=make,
            batch_axis=BatchAxis.BROADCASTS,
            functions=(getattr(operator, name), getattr(torch, name)),
            methods=(name,),
            aten=(f"{name}.Scalar", f"{name}.Tensor"),
            onnx={onnx: Onnx(partial(onnx_binary, make))},
        )
        for name, onnx, make in (
            ("gt", "Greater", greater),
            ("ge", "GreaterOrEqual", greater_equal),
            ("lt", "Less", less),
            ("le", "LessOrEqual", less_equal),
        )
    ),
    *(
        Lowering(
            make=equal,
            batch_axis=BatchAxis.EACH,
            functions=(getattr(operator, name), getattr(torch, name)),
            methods=(name,),
            aten=(f"{name}.Scalar", f"{name}.Tensor"),
            onnx={"Equal": Onnx(lambda call: equal((), call.x, call.operand(1)))}
            if name == "eq"
            else {},
        )
        for name in ("eq", "ne")
    ),
    Lowering(
        make=inverted,
        batch_axis=BatchAxis.EACH,
        functions=(operator.invert, torch.logical_not, torch.bitwise_not),
        methods=("logical_not", "bitwise_not"),
        aten=("logical_not", "bitwise_not"),
        onnx={"Not": Onnx(lambda call: inverted((), call.x))},
    ),
    Lowering(
        make=where,
        batch_axis=BatchAxis.FIRST,
        functions=(torch.where,),
        aten=("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar"),
        onnx={"Where": Onnx(onnx_where), "IsNaN": Onnx(onnx_is_nan, moved=onnx_is_nan)},
    ),
    Lowering(
        make=masked_fill,
        batch_axis=BatchAxis.FIRST,
        functions=(torch.masked_fill,),
        methods=("masked_fill", "masked_fill_"),
        aten=in_place("masked_fill.Scalar", "masked_fill.Tensor"),
    ),
)

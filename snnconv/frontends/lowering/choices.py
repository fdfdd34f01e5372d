"""Forms of comparisons and of choices place by place: masks of 0 and 1, and products with them.

A mask is a function that no neuron stands for; ``x * (x > 0)`` is a ReLU all the same: see
:mod:`snnconv.graph.recognise`.
"""

from snnconv.frontends.lowering import arithmetic
from snnconv.frontends.lowering.arithmetic import constant, line
from snnconv.frontends.lowering.contract import Activation, NodeSpec, Refused, Shape, activation
from snnconv.graph.remedies import BATCH_FIRST


def _mask(function: str, shape: Shape, larger: object, smaller: object) -> NodeSpec:
    """1 where ``larger - smaller`` is above 0 (``gt0``), or not below it (``ge0``)."""
    if isinstance(smaller, int | float) and smaller == 0:
        difference: Activation | NodeSpec = activation(larger)
    else:
        difference = arithmetic.sub(shape, larger, smaller)
    return NodeSpec("pointwise", [difference], {"function": function, "arguments": []})


def greater(shape: Shape, x: object, other: object) -> NodeSpec:
    """``x > other``."""
    return _mask("gt0", shape, x, other)


def greater_equal(shape: Shape, x: object, other: object) -> NodeSpec:
    """``x >= other``."""
    return _mask("ge0", shape, x, other)


def less(shape: Shape, x: object, other: object) -> NodeSpec:
    """``x < other``."""
    return _mask("gt0", shape, other, x)


def less_equal(shape: Shape, x: object, other: object) -> NodeSpec:
    """``x <= other``."""
    return _mask("ge0", shape, other, x)


def where(shape: Shape, condition: object, x: object, other: object) -> NodeSpec:
    """``x`` where a mask is 1, the other where it is 0: ``other + mask*(x - other)``."""
    mask = activation(condition)
    if not isinstance(x, Activation) and not isinstance(other, Activation):
        yes, no = constant(shape, x), constant(shape, other)
        return line(mask, yes - no, no)
    values = [value for value in (mask, x, other) if isinstance(value, Activation)]
    if any(len(value.shape) != len(shape) for value in values):
        raise Refused("a choice that mixes samples", BATCH_FIRST)
    if not isinstance(other, Activation) and not constant(shape, other).any():
        return NodeSpec("multiply", [activation(x), mask])
    chosen = NodeSpec("multiply", [arithmetic.sub(shape, x, other), mask])
    if isinstance(other, Activation):
        return NodeSpec("add", [chosen, other])
    return line(chosen, 1.0, constant(shape, other))


def masked_fill(shape: Shape, x: object, mask: object, value: object) -> NodeSpec:
    """``value`` where a mask is 1, ``x`` elsewhere."""
    return where(shape, mask, value, x)

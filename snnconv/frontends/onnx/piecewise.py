"""ONNX's forms of piecewise-linear functions."""

import math

from snnconv.frontends.lowering import movement, piecewise
from snnconv.frontends.lowering.contract import NodeMaker, NodeSpec, Refused, Stored
from snnconv.frontends.onnx.call import Call, Operand
from snnconv.frontends.onnx.layers import broadcast

_HUGE = 3.4e38  # float32's largest number, which old files write for "no bound"


def relu(call: Call) -> NodeSpec:
    """``max(x, 0)``."""
    return piecewise.relu((), call.x)


def clip(call: Call) -> NodeSpec:
    """A clip, each bound of which may be missing."""
    low, high = call.number("min", -math.inf, 1), call.number("max", math.inf, 2)
    floor, ceiling = None if low <= -_HUGE else low, None if high >= _HUGE else high
    if floor is ceiling is None:
        return movement.identity((), call.x)
    return piecewise.clamp((), call.x, floor, ceiling)


def extreme(form: NodeMaker, call: Call) -> NodeSpec:
    """The largest or the smallest of any number of operands, of which some may be constant."""
    found: Operand | NodeSpec = call.operands[0]
    for other in call.operands[1:]:
        if isinstance(found, Stored) and isinstance(other, Stored):
            raise Refused("a comparison of constants", "compare them with a value one by one")
        made = form(broadcast(found, other), found, other)
        assert isinstance(made, NodeSpec)
        found = made
    return found if isinstance(found, NodeSpec) else movement.identity((), found)


def leaky_relu(call: Call) -> NodeSpec:
    """A ReLU with a slope below 0."""
    return piecewise.leaky_relu((), call.x, call.number("alpha", 0.01))


def prelu(call: Call) -> NodeSpec:
    """The same with a slope that was learned, one for all or one a channel."""
    x, slope = call.x, call.tensor(1, "slope").value
    sizes = [1] * (len(x.shape) - slope.dim()) + list(slope.shape)
    if any(n != 1 for axis, n in enumerate(sizes) if axis != 1):
        raise Refused(f"slopes of shape {list(slope.shape)}: one for all, or one a channel")
    return piecewise.prelu((), x, Stored("", slope))


def hard_sigmoid(call: Call) -> NodeSpec:
    """``min(max(alpha*x + beta, 0), 1)``."""
    return piecewise.clipped_line(call.x, call.number("alpha", 0.2), call.number("beta", 0.5))


def magnitude(call: Call) -> NodeSpec:
    """``|x|``."""
    return piecewise.magnitude((), call.x)

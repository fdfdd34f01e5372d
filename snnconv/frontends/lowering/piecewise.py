"""Piecewise-linear functions: each is a sum of ReLUs of affine maps, so neurons stand for it.

An affine map ``scale*x + shift`` keeps the mean over time. Each bend is a ReLU. A leaky ReLU is
``max(x, 0) - slope*max(-x, 0)`` and takes two neurons; a clip is ``max(x - low, 0) + low`` with a
ceiling and takes one.
"""

import math
import operator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.frontends.lowering.arithmetic import broadcast, constant, line
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.call import Call, Operand, spelled
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Lowering,
    NodeMaker,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
    in_place,
    stored,
)
from snnconv.graph.network import attributes
from snnconv.graph.operations.activation import Relu
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.remedies import BATCH_FIRST

Value = Activation | NodeSpec

_TINY = 1e-6  # bounds of a norm that are added instead: they are there for a norm of 0 only


def _relu(x: Value, ceiling: float = math.inf) -> NodeSpec:
    return NodeSpec("relu", [x], Relu(ceiling=ceiling if ceiling < math.inf else None))


def relu(shape: Shape, x: object, inplace: bool = False) -> NodeSpec:
    """Lower ``max(x, 0)``."""
    return clamp(shape, x, 0)


def relu6(shape: Shape, x: object, inplace: bool = False) -> NodeSpec:
    """Lower ``min(max(x, 0), 6)``."""
    return clamp(shape, x, 0, 6)


def hardtanh(
    shape: Shape, x: object, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> NodeSpec:
    """Lower ``min(max(x, min_val), max_val)``."""
    return clamp(shape, x, min_val, max_val)


def hardsigmoid(shape: Shape, x: object, inplace: bool = False) -> NodeSpec:
    """Lower ``min(max(x/6 + 1/2, 0), 1)``."""
    return clipped_line(x, 1 / 6, 0.5)


def clipped_line(x: object, slope: float, shift: float) -> NodeSpec:
    """Lower ``min(max(slope*x + shift, 0), 1)``."""
    return _relu(line(activation(x), slope, shift), 1.0)


def clamp(shape: Shape, x: object, min: Any = None, max: Any = None) -> NodeSpec:  # noqa: A002
    """Lower ``min(max(x, low), high)``; either bound may be left out, or infinite.

    Without the lower one it is the ceiling of the ReLU that it is applied to, if it is to one.
    """
    low, high = (_bound(bound, end) for bound, end in ((min, -math.inf), (max, math.inf)))
    if low >= high:
        raise Refused(f"a clip to [{min}, {max}], which leaves one number")
    source = activation(x)
    if (low, high) == (-math.inf, math.inf):
        return NodeSpec("identity", [source])
    if 0 < low <= _TINY and high == math.inf and _is_root(source):
        return line(source, 1.0, low)
    if low > -math.inf:
        return _from(source, low, high)
    behind = source.made
    if behind is None or behind.op != "relu" or high <= 0:
        return _below(source, torch.tensor([high]))
    own = attributes(behind, Relu).ceiling
    bare = Activation(behind.inputs[0], source.shape)
    return _relu(bare, high if own is None or own > high else own)


def _is_root(x: Activation) -> bool:
    """Whether a value is a square root, as a norm is; nothing is divided by one that is 0."""
    made = x.made
    if made is None or made.op != "pointwise":
        return False
    return attributes(made, Pointwise).function == "sqrt"


def clamp_max(shape: Shape, x: object, max: Any) -> NodeSpec:  # noqa: A002
    """Lower ``min(x, high)``."""
    return clamp(shape, x, None, max)


def _bound(value: Any, none: float) -> float:
    if value is None:
        return none
    if isinstance(value, Stored) and value.value.numel() == 1:
        return float(value.value)
    if isinstance(value, int | float):
        return float(value)
    raise Refused(
        "a clip by bounds that are not numbers", "clip by torch.maximum and torch.minimum"
    )


def _from(x: Value, low: float, high: float) -> NodeSpec:
    if low == 0:
        return _relu(x, high)
    return line(_relu(line(x, 1.0, -low), high - low), 1.0, low)


def _below(x: Value, high: Tensor) -> NodeSpec:
    return line(_relu(line(x, -1.0, high)), -1.0, high)


def maximum(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower ``max(x, other)``, with two activations or with an activation and a constant."""
    if isinstance(x, Value) and isinstance(other, Value):
        return NodeSpec("add", [_relu(_difference(shape, x, other)), other])
    source, bound = _with_constant(shape, x, other)
    if not bound.any():
        return _relu(source)
    return line(_relu(line(source, 1.0, -bound)), 1.0, bound)


def minimum(shape: Shape, x: object, other: object) -> NodeSpec:
    """Lower ``min(x, other)``, with two activations or with an activation and a constant."""
    if isinstance(x, Value) and isinstance(other, Value):
        return NodeSpec("add", [line(_relu(_difference(shape, x, other)), -1.0), x])
    source, bound = _with_constant(shape, x, other)
    if isinstance(source, Activation) and bound.numel() == 1:
        return clamp(shape, source, None, float(bound))
    return _below(source, bound)


def _difference(shape: Shape, x: Value, other: Value) -> NodeSpec:
    if not len(shape_of(x)) == len(shape_of(other)) == len(shape):
        raise Refused("a comparison that mixes samples", BATCH_FIRST)
    return NodeSpec("add", [x, line(other, -1.0)])


def _with_constant(shape: Shape, x: object, other: object) -> tuple[Value, Tensor]:
    """Sort two operands: first the one that depends on the input, then the other."""
    if isinstance(x, Stored):
        x, other = other, x
    source = x if isinstance(x, NodeSpec) else activation(x)
    if shape_of(source) != shape:
        raise Refused("a constant that the value is expanded to", "expand the value before")
    return source, constant(shape, stored("bound", other))


def leaky_relu(
    shape: Shape, x: object, negative_slope: float = 0.01, inplace: bool = False
) -> NodeSpec:
    """Lower a ReLU with a slope below 0."""
    return _bent(activation(x), torch.tensor([float(negative_slope)]))


def prelu(shape: Shape, x: object, weight: object) -> NodeSpec:
    """Lower PReLU, whose slope was learned for all channels together or for each one."""
    slope = stored("weight", weight).value.detach().float().reshape(-1)
    return _bent(activation(x), slope, learned=True)


def rrelu(
    shape: Shape,
    x: object,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> NodeSpec:
    """Lower RReLU: training draws its slope, and outside training it is the mean."""
    if training:
        raise Refused("a slope that is random outside training: pass training=self.training")
    return leaky_relu(shape, x, (lower + upper) / 2)


def magnitude(shape: Shape, x: object) -> NodeSpec:
    """Lower ``|x|``."""
    return leaky_relu(shape, x, -1.0)


def _bent(x: Activation, slope: Tensor, learned: bool = False) -> NodeSpec:
    if x.made is not None and x.made.op == "relu":  # it has no side below 0
        return NodeSpec("identity", [x])
    return NodeSpec("add", [_relu(x), line(_relu(line(x, -1.0)), -slope, learned=learned)])


def softshrink(shape: Shape, x: object, lambd: float = 0.5) -> NodeSpec:
    """Move ``x`` towards 0 by lambda; values closer than that become 0."""
    above, below = _relu(line(activation(x), 1.0, -lambd)), _relu(line(activation(x), -1.0, -lambd))
    return NodeSpec("add", [above, line(below, -1.0)])


def threshold(
    shape: Shape, x: object, threshold: float, value: float, inplace: bool = False
) -> NodeSpec:
    """Lower ``x if x > threshold else value``: without a jump it is a ReLU that starts there."""
    if threshold != value:
        raise Refused(
            f"a threshold at {threshold} with value {value}, which jumps",
            "train the network with ReLU in its place",
        )
    return clamp(shape, x, threshold)


_HUGE = 3.4e38  # float32's largest number, which old files write for "no bound"


def onnx_clip(call: Call) -> NodeSpec:
    """Lower ``Clip``; each bound may be missing."""
    low, high = call.number("min", -math.inf, 1), call.number("max", math.inf, 2)
    floor, ceiling = None if low <= -_HUGE else low, None if high >= _HUGE else high
    if floor is ceiling is None:
        return NodeSpec("identity", [call.x])
    return clamp((), call.x, floor, ceiling)


def onnx_extreme(make: NodeMaker, call: Call) -> NodeSpec:
    """Lower the largest or the smallest of any number of operands; some may be constant."""
    found: Operand | NodeSpec = call.operands[0]
    for other in call.operands[1:]:
        if isinstance(found, Stored) and isinstance(other, Stored):
            raise Refused("a comparison of constants", "compare them with a value one by one")
        made = make(broadcast(found, other), found, other)
        assert isinstance(made, NodeSpec)
        found = made
    return found if isinstance(found, NodeSpec) else NodeSpec("identity", [activation(found)])


def onnx_prelu(call: Call) -> NodeSpec:
    """Lower ONNX's PReLU, whose slope was learned for all channels together or for each one."""
    x, slope = call.x, call.tensor(1, "slope").value
    sizes = [1] * (len(x.shape) - slope.dim()) + list(slope.shape)
    if any(n != 1 for axis, n in enumerate(sizes) if axis != 1):
        raise Refused(f"slopes of shape {list(slope.shape)}: one for all, or one for each channel")
    return prelu((), x, Stored("", slope))


def onnx_hard_sigmoid(call: Call) -> NodeSpec:
    """Lower ``min(max(alpha*x + beta, 0), 1)``."""
    return clipped_line(call.x, call.number("alpha", 0.2), call.number("beta", 0.5))


LOWERINGS = (
    Lowering(
        make=relu,
        batch_axis=BatchAxis.EACH,
        modules={nn.ReLU: ()},
        functions=(F.relu, F.relu_, torch.relu, torch.relu_),
        methods=("relu", "relu_"),
        aten=in_place("relu"),
        onnx={"Relu": Onnx(spelled(relu))},
    ),
    Lowering(
        make=relu6,
        batch_axis=BatchAxis.EACH,
        modules={nn.ReLU6: ()},
        functions=(F.relu6,),
        aten=in_place("relu6"),
    ),
    Lowering(
        make=hardtanh,
        batch_axis=BatchAxis.EACH,
        modules={nn.Hardtanh: ("min_val", "max_val")},
        functions=(F.hardtanh, F.hardtanh_),
        aten=in_place("hardtanh"),
    ),
    Lowering(
        make=hardsigmoid,
        batch_axis=BatchAxis.EACH,
        modules={nn.Hardsigmoid: ()},
        functions=(F.hardsigmoid,),
        aten=in_place("hardsigmoid"),
        onnx={"HardSigmoid": Onnx(onnx_hard_sigmoid)},
    ),
    Lowering(
        make=clamp,
        batch_axis=BatchAxis.EACH,
        functions=(
            *(torch.clamp, torch.clamp_, torch.clip, torch.clip_),
            *(torch.clamp_min, torch.clamp_min_),
        ),
        methods=("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_"),
        aten=in_place("clamp", "clamp_min", "clip", "clamp.Tensor"),
        onnx={"Clip": Onnx(onnx_clip)},
    ),
    Lowering(
        make=clamp_max,
        batch_axis=BatchAxis.EACH,
        functions=(torch.clamp_max, torch.clamp_max_),
        methods=("clamp_max", "clamp_max_"),
        aten=in_place("clamp_max"),
    ),
    Lowering(
        make=maximum,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(torch.maximum, torch.fmax),
        methods=("maximum", "fmax"),
        aten=("max.other", "maximum", "fmax"),
        onnx={"Max": Onnx(partial(onnx_extreme, maximum))},
    ),
    Lowering(
        make=minimum,
        batch_axis=BatchAxis.BROADCASTS,
        functions=(torch.minimum, torch.fmin),
        methods=("minimum", "fmin"),
        aten=("min.other", "minimum", "fmin"),
        onnx={"Min": Onnx(partial(onnx_extreme, minimum))},
    ),
    Lowering(
        make=leaky_relu,
        batch_axis=BatchAxis.EACH,
        modules={nn.LeakyReLU: ("negative_slope",)},
        functions=(F.leaky_relu, F.leaky_relu_),
        aten=in_place("leaky_relu"),
        onnx={"LeakyRelu": Onnx(spelled(leaky_relu, negative_slope=("alpha", 0.01)))},
    ),
    Lowering(
        make=prelu,
        batch_axis=BatchAxis.CHANNELS,
        modules={nn.PReLU: ("weight",)},
        functions=(F.prelu, torch.prelu),
        methods=("prelu",),
        aten=("prelu", "_prelu_kernel"),
        onnx={"PRelu": Onnx(onnx_prelu)},
    ),
    Lowering(
        make=rrelu,
        batch_axis=BatchAxis.EACH,
        modules={nn.RReLU: ("lower", "upper")},
        functions=(F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_),
        aten=in_place("rrelu"),
    ),
    Lowering(
        make=magnitude,
        batch_axis=BatchAxis.EACH,
        functions=(torch.abs, torch.absolute, operator.abs),
        methods=("abs", "abs_", "absolute", "absolute_"),
        aten=in_place("abs"),
        onnx={"Abs": Onnx(spelled(magnitude))},
    ),
    Lowering(
        make=softshrink,
        batch_axis=BatchAxis.EACH,
        modules={nn.Softshrink: ("lambd",)},
        functions=(F.softshrink,),
        aten=("softshrink",),
    ),
    Lowering(
        make=threshold,
        batch_axis=BatchAxis.EACH,
        modules={nn.Threshold: ("threshold", "value")},
        functions=(F.threshold, torch.threshold, torch.threshold_),
        aten=in_place("threshold"),
    ),
)

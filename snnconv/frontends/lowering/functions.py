"""Functions that no neuron stands for; ``--non-relu analog`` asks for them."""

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.frontends.lowering.call import Call, along, as_moved, file_dims, spelled
from snnconv.frontends.lowering.contract import (
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
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.function import Pointwise
from snnconv.graph.operations.wiring import Identity, Shaped, Slice
from snnconv.graph.remedies import BATCH_FIRST


def pointwise(name: str, shape: Shape, x: object, inplace: bool = False) -> NodeSpec:
    """Lower a function of one number."""
    return NodeSpec("pointwise", [activation(x)], Pointwise(function=name, arguments=[]))


def gelu(shape: Shape, x: object, approximate: str = "none") -> NodeSpec:
    """Lower GELU, exact or by tanh."""
    return pointwise("gelu" if approximate == "none" else "gelu_tanh", shape, x)


def elu(shape: Shape, x: object, alpha: float = 1.0, inplace: bool = False) -> NodeSpec:
    """Lower ELU, which is an exponential below 0."""
    return _with(shape, x, "elu", alpha)


def softplus(shape: Shape, x: object, beta: float = 1.0, threshold: float = 20.0) -> NodeSpec:
    """Lower ``ln(1 + exp(beta*x))/beta``."""
    return _with(shape, x, "softplus", beta, threshold)


def _with(shape: Shape, x: object, name: str, *arguments: float) -> NodeSpec:
    given = [float(number) for number in arguments]
    return NodeSpec("pointwise", [activation(x)], Pointwise(function=name, arguments=given))


def power(shape: Shape, x: object, exponent: object) -> NodeSpec:
    """Lower ``x**exponent`` with a number as exponent."""
    if isinstance(exponent, Stored) and exponent.value.numel() == 1:
        exponent = exponent.value.item()
    if not isinstance(exponent, int | float):
        raise Refused("a power whose exponent is not a number")
    return _with(shape, x, "pow", exponent)


def square(shape: Shape, x: object) -> NodeSpec:
    """Lower ``x**2``."""
    return power(shape, x, 2)


def glu(shape: Shape, x: object, dim: int = -1) -> NodeSpec:
    """Lower GLU: one half of the channels times the sigmoid of the other."""
    source = activation(x)
    axis = dim % len(source.shape)
    if axis == 0:
        raise Refused("halves of the batch", BATCH_FIRST)
    half = source.shape[axis] // 2
    value, gate = (
        NodeSpec("slice", [source], Slice(dim=axis, start=k, stop=k + half, step=1))
        for k in (0, half)
    )
    gate = NodeSpec("pointwise", [gate], Pointwise(function="sigmoid", arguments=[]))
    return NodeSpec("multiply", [value, gate])


def softmax(
    function: Callable[..., Tensor],
    shape: Shape,
    x: object,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: object = None,
) -> NodeSpec:
    """Lower a softmax or its logarithm, along an axis of the samples.

    At the end of a network, over the classes, it is dropped: argmax stays the same, and the
    logits are what the last layer's currents stand for.
    """
    rank, name = len(shape), function.__name__
    if dim is None:  # as PyTorch has it, of old
        dim = 0 if rank in (0, 1, 3) else 1
    if dtype not in (None, torch.float32):
        raise Refused(f"numbers of type {dtype}")
    if dim % rank == 0:
        raise Refused("a softmax over the batch", BATCH_FIRST)
    inside = NodeSpec(name, [activation(x)], Along(dim=dim % rank))
    if rank != 2:
        return inside
    ending = partial(function, dim=1)
    return NodeSpec(
        "identity", inside.sources, Identity(dropped=name), ending=ending, inside=inside
    )


def aten_elu(
    shape: Shape, x: object, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> NodeSpec:
    """Lower ELU; with another scale it is SELU."""
    if (scale, input_scale) != (1, 1):
        raise Refused(f"an ELU with scale {scale} and input scale {input_scale}")
    return elu(shape, x, alpha)


def aten_softmax(
    function: Callable[..., Tensor], shape: Shape, x: object, dim: int, dtype: object = None
) -> NodeSpec:
    """Lower a softmax or its logarithm; the core set has a flag instead of the type."""
    if isinstance(dtype, torch.dtype):
        float32(dtype)
    return softmax(function, shape, x, dim)


def float32(dtype: object) -> None:
    """Refuse numbers of another type."""
    if dtype not in (None, torch.float32):
        raise Refused(f"numbers of type {dtype}")


def onnx_power(call: Call) -> NodeSpec:
    """Lower ``x**exponent`` with a constant as exponent."""
    return power((), call.x, call.tensor(1, "exponent"))


def onnx_softmax(function: Callable[..., Tensor], call: Call) -> NodeSpec:
    """Lower a softmax along an axis; at the network's end it is dropped if it is over the classes.

    Up to opset 12 it is over everything from its axis on, later over the axis alone.
    """
    x, name = call.x, function.__name__
    old = call.opset < 13
    axis = call.number("axis", 1 if old else -1) % len(x.shape)
    if axis == 0:
        raise Refused("a softmax over the batch", BATCH_FIRST)
    over = math.prod(x.shape[axis:]) if old else x.shape[axis]
    if call.last and over == math.prod(x.shape[1:]):
        return NodeSpec("identity", [x], Identity(dropped=name), ending=partial(function, dim=1))
    if over == x.shape[axis]:
        return NodeSpec(name, [x], Along(dim=axis))
    flat = NodeSpec("reshape", [x], Shaped(shape=[*x.shape[1:axis], over]))
    inside = NodeSpec(name, [flat], Along(dim=axis))
    return NodeSpec("reshape", [inside], Shaped(shape=list(x.shape[1:])))


def moved_softmax(function: Callable[..., Tensor], call: Call) -> Any:
    """Lower a softmax along one axis of a value whose batch is not the first axis."""
    rank = len(file_dims(as_moved(call.operand(0))))
    old = call.opset < 13
    axis = call.number("axis", 1 if old else -1) % rank
    if old and axis + 1 < rank:
        raise Refused("a softmax over several axes at once", BATCH_FIRST)
    one = replace(call, attrs={**call.attrs, "axis": axis}, last=False)
    return along(one, partial(onnx_softmax, function), ("axis", None))


_POINTWISE = (
    Lowering(
        make=partial(pointwise, "sigmoid"),
        batch_axis=BatchAxis.EACH,
        modules={nn.Sigmoid: ()},
        functions=(torch.sigmoid, F.sigmoid),
        methods=("sigmoid", "sigmoid_"),
        aten=in_place("sigmoid"),
        onnx={"Sigmoid": Onnx(spelled(partial(pointwise, "sigmoid")))},
    ),
    Lowering(
        make=partial(pointwise, "tanh"),
        batch_axis=BatchAxis.EACH,
        modules={nn.Tanh: ()},
        functions=(torch.tanh, F.tanh),
        methods=("tanh", "tanh_"),
        aten=in_place("tanh"),
        onnx={"Tanh": Onnx(spelled(partial(pointwise, "tanh")))},
    ),
    Lowering(
        make=partial(pointwise, "silu"),
        batch_axis=BatchAxis.EACH,
        modules={nn.SiLU: ()},
        functions=(F.silu,),
        aten=in_place("silu"),
    ),
    Lowering(
        make=partial(pointwise, "hardswish"),
        batch_axis=BatchAxis.EACH,
        modules={nn.Hardswish: ()},
        functions=(F.hardswish,),
        aten=in_place("hardswish"),
        onnx={"HardSwish": Onnx(spelled(partial(pointwise, "hardswish")))},
    ),
    Lowering(
        make=partial(pointwise, "mish"),
        batch_axis=BatchAxis.EACH,
        modules={nn.Mish: ()},
        functions=(F.mish,),
        aten=in_place("mish"),
        onnx={"Mish": Onnx(spelled(partial(pointwise, "mish")))},
    ),
    *(
        Lowering(
            make=partial(pointwise, name),
            batch_axis=BatchAxis.EACH,
            functions=(getattr(torch, name),),
            methods=(name, f"{name}_"),
            aten=in_place(name),
            onnx={name.capitalize(): Onnx(spelled(partial(pointwise, name)))},
        )
        for name in ("sqrt", "reciprocal", "erf", "exp", "log", "floor", "ceil", "round", "sign")
    ),
    Lowering(
        make=partial(pointwise, "rsqrt"),
        batch_axis=BatchAxis.EACH,
        functions=(torch.rsqrt,),
        methods=("rsqrt", "rsqrt_"),
        aten=in_place("rsqrt"),
    ),
)

LOWERINGS = (
    *_POINTWISE,
    Lowering(
        make=gelu,
        batch_axis=BatchAxis.EACH,
        modules={nn.GELU: ("approximate",)},
        functions=(F.gelu,),
        aten=in_place("gelu"),
        onnx={"Gelu": Onnx(spelled(gelu, approximate=("approximate", "none")))},
    ),
    Lowering(
        make=elu,
        batch_axis=BatchAxis.EACH,
        modules={nn.ELU: ("alpha",)},
        functions=(F.elu,),
        onnx={"Elu": Onnx(spelled(elu, alpha=("alpha", 1.0)))},
    ),
    Lowering(make=aten_elu, batch_axis=BatchAxis.EACH, aten=in_place("elu")),
    Lowering(
        make=softplus,
        batch_axis=BatchAxis.EACH,
        modules={nn.Softplus: ("beta", "threshold")},
        functions=(F.softplus,),
        aten=("softplus",),
        onnx={"Softplus": Onnx(spelled(softplus))},
    ),
    Lowering(
        make=power,
        batch_axis=BatchAxis.EACH,
        functions=(operator.pow, torch.pow),
        methods=("pow",),
        aten=("pow.Tensor_Scalar",),
        onnx={"Pow": Onnx(onnx_power)},
    ),
    Lowering(
        make=square,
        batch_axis=BatchAxis.EACH,
        functions=(torch.square,),
        methods=("square",),
        aten=("square",),
    ),
    Lowering(
        make=glu,
        batch_axis=BatchAxis.ALONG,
        modules={nn.GLU: ("dim",)},
        functions=(F.glu,),
        aten=("glu",),
    ),
    Lowering(
        make=partial(softmax, torch.softmax),
        batch_axis=BatchAxis.ALONG,
        modules={nn.Softmax: ("dim",)},
        functions=(F.softmax, torch.softmax),
        methods=("softmax",),
        onnx={
            "Softmax": Onnx(
                partial(onnx_softmax, torch.softmax), moved=partial(moved_softmax, torch.softmax)
            )
        },
    ),
    Lowering(
        make=partial(softmax, torch.softmax, dim=-3),
        batch_axis=BatchAxis.FIRST,
        modules={nn.Softmax2d: ()},
    ),
    Lowering(
        make=partial(aten_softmax, torch.softmax),
        batch_axis=BatchAxis.ALONG,
        aten=("softmax.int", "_softmax"),
    ),
    Lowering(
        make=partial(softmax, torch.log_softmax),
        batch_axis=BatchAxis.ALONG,
        modules={nn.LogSoftmax: ("dim",)},
        functions=(F.log_softmax, torch.log_softmax),
        methods=("log_softmax",),
        onnx={"LogSoftmax": Onnx(partial(onnx_softmax, torch.log_softmax))},
    ),
    Lowering(
        make=partial(aten_softmax, torch.log_softmax),
        batch_axis=BatchAxis.ALONG,
        aten=("log_softmax.int", "_log_softmax"),
    ),
)

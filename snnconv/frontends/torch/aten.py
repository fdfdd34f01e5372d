"""Forms of ATen's operators whose arguments are not in the order of PyTorch's functional forms.

ATen is the library of operators that exported programs (``torch.export``) call, as it makes them or
decomposed into the smaller core set; arguments are positional, in the order of its schemas.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnconv.frontends.lowering import functions, layers, movement, resizing, sequences
from snnconv.frontends.lowering.contract import (
    NodeMaker,
    NodeSpec,
    Refused,
    Shape,
    activation,
    stored,
)


def convolution(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> NodeSpec:
    """A convolution of the core set."""
    rank = stored("weight", weight).value.dim() - 2
    if transposed:
        window = (stride, padding, output_padding, groups, dilation)
        return layers.conv_transpose(rank, shape, x, weight, bias, *window)
    return layers.conv(rank, shape, x, weight, bias, stride, padding, dilation, groups)


def addmm(
    shape: Shape, bias: object, x: object, other: object, *, beta: float = 1, alpha: float = 1
) -> NodeSpec:
    """A linear layer of the core set."""
    if beta != 1 or alpha != 1 or stored("bias", bias).value.shape != shape[-1:]:
        raise Refused("a matrix product whose sum is no bias")
    made = functions.matmul(shape, x, other)
    return NodeSpec(
        made.op, made.sources, made.attrs, {**made.tensors, "bias": stored("bias", bias)}
    )


def batch_norm(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> NodeSpec:
    """BatchNorm, weights before statistics."""
    return layers.batch_norm(shape, x, mean, var, weight, bias, training, momentum, eps)


def batch_norm_core(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    momentum: float,
    eps: float,
) -> list[NodeSpec]:
    """BatchNorm of the core set, which gives what it saved for a gradient as well."""
    return [layers.batch_norm(shape, x, mean, var, weight, bias, False, momentum, eps)]


def layer_norm(
    shape: Shape,
    x: object,
    over: Any,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> NodeSpec:
    """LayerNorm."""
    return functions.layer_norm(shape, x, over, weight, bias, eps)


def layer_norm_core(
    shape: Shape, x: object, over: Any, weight: object, bias: object, eps: float
) -> list[NodeSpec]:
    """LayerNorm of the core set."""
    return [functions.layer_norm(activation(x).shape, x, over, weight, bias, eps)]


def group_norm(
    shape: Shape,
    x: object,
    groups: int,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> NodeSpec:
    """GroupNorm."""
    return functions.group_norm(shape, x, groups, weight, bias, eps)


def group_norm_core(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    samples: int,
    channels: int,
    places: int,
    groups: int,
    eps: float,
) -> list[NodeSpec]:
    """GroupNorm of the core set, which gives its statistics as well."""
    return [functions.group_norm(activation(x).shape, x, groups, weight, bias, eps)]


def instance_norm(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    mean: object,
    var: object,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn: bool = True,
) -> NodeSpec:
    """InstanceNorm, weights before statistics."""
    return functions.instance_norm(
        shape, x, mean, var, weight, bias, use_input_stats, momentum, eps
    )


def elu(
    shape: Shape, x: object, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> NodeSpec:
    """ELU; with another scale it is SELU."""
    if (scale, input_scale) != (1, 1):
        raise Refused(f"an ELU with scale {scale} and input scale {input_scale}")
    return functions.elu(shape, x, alpha)


def typed(form: NodeMaker, shape: Shape, x: object, *over: Any, dtype: object = None) -> Any:
    """A mean or a sum over axes, of a type that is given perhaps."""
    float32(dtype)
    return form(shape, x, *over)


def index(shape: Shape, x: object, indices: Any) -> NodeSpec:
    """Rows of places on axes; None leaves an axis as it is."""
    return movement.getitem(shape, x, tuple(slice(None) if i is None else i for i in indices))


def slice_(
    shape: Shape,
    x: object,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> NodeSpec:
    """Places of an axis; ``x[:, ...]`` is one of all samples first."""
    if step == 1 and shape == activation(x).shape:
        return movement.identity(shape, x)
    picked = [slice(None)] * len(shape)
    picked[dim] = slice(start, end, step)
    return movement.getitem(shape, x, tuple(picked))


def pad(mode: str, shape: Shape, x: object, widths: Any, value: float = 0) -> NodeSpec:
    """A padding of the core set."""
    return resizing.pad(shape, x, widths, mode, value)


def upsample(shape: Shape, x: object, size: Any, scales: Any = None, *more: Any) -> NodeSpec:
    """Each place repeated, to a size or by factors."""
    return resizing.upsample(shape, x, size, _factors(scales, more))


def _factors(scales: Any, more: tuple[Any, ...]) -> Any:
    """One an axis: as a list, or as arguments of their own."""
    return scales if scales is None or isinstance(scales, list | tuple) else [scales, *more]


def between(
    mode: str,
    shape: Shape,
    x: object,
    size: Any,
    align_corners: bool,
    scales: Any = None,
    *more: Any,
) -> NodeSpec:
    """Places between places, to a size or by factors."""
    return resizing.upsample(shape, x, size, _factors(scales, more), mode, align_corners)


def identity(shape: Shape, x: object, *to: object, **options: object) -> NodeSpec:
    """The value itself; where type or layout are given, they have to be what everything has.

    Tokens may become whole numbers, which they are.
    """
    for value in (*to, *options.values()):
        if value in (torch.int64, torch.int32):
            return sequences.whole(shape, x)
        if isinstance(value, torch.dtype):
            float32(value)
    return movement.identity(shape, x)


def embedding(shape: Shape, weight: object, x: object, *options: object) -> NodeSpec:
    """A row of a table for each token, the table first."""
    return sequences.embedding(shape, x, weight)


def softmax(
    function: Callable[..., Tensor], shape: Shape, x: object, dim: int, dtype: object = None
) -> NodeSpec:
    """A softmax or its logarithm; the core set has a flag in the place of the type."""
    if isinstance(dtype, torch.dtype):
        float32(dtype)
    return functions.softmax(function, shape, x, dim)


def float32(dtype: object) -> None:
    """Refuse numbers of another type."""
    if dtype not in (None, torch.float32):
        raise Refused(f"numbers of type {dtype}")

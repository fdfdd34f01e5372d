"""Layers with weights: convolutions and matrices.

Shape:
    Convolutions ``[B, C, *N] -> [B, D, *M]`` with one to three axes; matrices ``[B, *, F] ->
    [B, *, G]``.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.graph.operations.base import (
    A,
    Attributes,
    Compute,
    Op,
    Role,
    Shape,
    Silence,
    Size,
    Tensors,
    TensorShapes,
    Wholes,
    Window,
    one_an_axis,
    windows,
)
from snnconv.graph.operations.work import Work


class Conv(Attributes):
    """Attributes of a convolution."""

    stride: Window = Field(description="steps between windows, one number an axis")
    padding: Wholes = Field(description="zeros on either side of each axis")
    dilation: Window = Field(description="steps between taps, one number an axis")
    groups: Size = Field(description="groups of channels that do not see each other")


class ConvTranspose(Conv):
    """Attributes of a transposed convolution."""

    output_padding: Wholes = Field(description="places more at the end of each axis")


_ByRank = Mapping[int, Callable[..., Tensor]]
_CONV: _ByRank = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE: _ByRank = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv(attrs: Conv, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    weight = tensors["weight"]
    window = (tuple(attrs.stride), tuple(attrs.padding), tuple(attrs.dilation))
    return _CONV[weight.dim() - 2](inputs[0], weight, tensors.get("bias"), *window, attrs.groups)


def _conv_transpose(attrs: ConvTranspose, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    weight = tensors["weight"]
    return _CONV_TRANSPOSE[weight.dim() - 2](
        inputs[0],
        weight,
        tensors.get("bias"),
        tuple(attrs.stride),
        tuple(attrs.padding),
        tuple(attrs.output_padding),
        attrs.groups,
        tuple(attrs.dilation),
    )


def _linear(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.linear(inputs[0], tensors["weight"], tensors.get("bias"))


def _with_ones(value: Compute[A]) -> Compute[A]:
    def wiring(attrs: A, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
        ones = torch.ones_like(tensors["weight"], dtype=inputs[0].dtype)
        return value(attrs, {"weight": ones}, inputs)

    return wiring


def _fits_bias(tensors: Tensors, outputs: int) -> str | None:
    if "bias" in tensors and tensors["bias"].shape != (outputs,):
        return f"a bias of shape {list(tensors['bias'].shape)} for {outputs} outputs"
    return None


def _fits_channels(given: Shape, wanted: Shape, weight: Shape) -> str | None:
    if given != wanted:
        return f"{list(given)} channels for a weight of shape {list(weight)}"
    return None


def _fits_matrix(attrs: Attributes, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    weight = tuple(tensors["weight"].shape)
    wrong = _fits_channels(shapes[0][-1:], weight[1:], weight)
    return wrong or _fits_bias(tensors, weight[0])


def _fits_window(attrs: Conv, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    """Say what is wrong with a convolution's channels, groups, or numbers for each axis, if any."""
    shape, weight, groups = shapes[0], tuple(tensors["weight"].shape), attrs.groups
    values = {"stride": attrs.stride, "padding": attrs.padding, "dilation": attrs.dilation}
    transposed = isinstance(attrs, ConvTranspose)
    if isinstance(attrs, ConvTranspose):
        values["output_padding"] = attrs.output_padding
    if wrong := one_an_axis(shape, **values):
        return wrong
    if len(weight) != len(shape) + 1 or weight[0] % groups:
        return f"a weight of shape {list(weight)} in {groups} groups"
    wanted = weight[:1] if transposed else (weight[1] * groups,)
    outputs = weight[1] * groups if transposed else weight[0]
    return _fits_channels(shape[:1], wanted, weight) or _fits_bias(tensors, outputs)


def _taps_of_outputs(
    attrs: Attributes, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count a slice ``weight[k]`` of taps for every output."""
    return Work(weights=math.prod(output) * math.prod(tensors["weight"][1:]))


def _taps_of_inputs(
    attrs: Attributes, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count a slice ``weight[k]`` of taps for every input."""
    return Work(weights=math.prod(inputs[0]) * math.prod(tensors["weight"][1:]))


def _conv_shape(attrs: Conv, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape of the windows, if every axis has one."""
    outputs, _, *kernel = tensors["weight"]
    axes = zip(inputs[0][1:], kernel, attrs.stride, attrs.padding, attrs.dilation, strict=True)
    found = tuple(windows(*axis) for axis in axes)
    return (outputs, *found) if kernel and min(outputs, *kernel, *found) > 0 else None


def _conv_transpose_shape(
    attrs: ConvTranspose, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the shape of what places are spread over, if every axis has a place."""
    _, outputs, *kernel = tensors["weight"]
    axes = zip(
        *(inputs[0][1:], kernel, attrs.stride, attrs.padding, attrs.dilation),
        attrs.output_padding,
        strict=True,
    )
    found = []
    for size, taps, stride, padding, dilation, more in axes:
        if more >= max(stride, dilation):
            return None
        found.append((size - 1) * stride - 2 * padding + dilation * (taps - 1) + more + 1)
    fits = kernel and min(outputs, *kernel, *found) > 0
    return (outputs * attrs.groups, *found) if fits else None


def _linear_shape(
    attrs: Attributes, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the shape with the matrix's outputs on the last axis."""
    weight = tensors["weight"]
    return (*inputs[0][:-1], weight[0]) if inputs[0] and len(weight) == 2 else None


OPERATIONS = (
    Op(
        name="conv",
        role=Role.SYNAPSE,
        attributes=Conv,
        value=_conv,
        wiring=_with_ones(_conv),
        rule=_fits_window,
        work=_taps_of_outputs,
        silence=Silence.NOWHERE,
        required=("weight",),
        optional=("bias",),
        shape=_conv_shape,
    ),
    Op(
        name="conv_transpose",
        role=Role.SYNAPSE,
        attributes=ConvTranspose,
        value=_conv_transpose,
        wiring=_with_ones(_conv_transpose),
        rule=_fits_window,
        work=_taps_of_inputs,
        silence=Silence.NOWHERE,
        required=("weight",),
        optional=("bias",),
        shape=_conv_transpose_shape,
    ),
    Op(
        name="linear",
        role=Role.SYNAPSE,
        attributes=Attributes,
        value=_linear,
        wiring=_with_ones(_linear),
        rule=_fits_matrix,
        work=_taps_of_outputs,
        silence=Silence.NOWHERE,
        required=("weight",),
        optional=("bias",),
        shape=_linear_shape,
    ),
)

"""Resize: repeat each place, or interpolate between places, linearly or by splines.

Both are linear in the values at the places, so the mean over time passes.

Shape:
    ``[B, C, *N] -> [B, C, *size]``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.graph.operations.base import (
    Attributes,
    Flag,
    Op,
    Role,
    Shape,
    Silence,
    Tensors,
    TensorShapes,
    Window,
    one_an_axis,
)
from snnconv.graph.operations.work import Work, no_work


class Upsample(Attributes):
    """Attributes of a repetition of places."""

    size: Window = Field(description="places along each axis behind the channels")


class Interpolate(Upsample):
    """Attributes of an interpolation."""

    mode: Literal["linear", "bilinear", "trilinear", "bicubic"] = Field(
        description="lines, or cubic splines"
    )
    align_corners: Flag = Field(description="whether the first and last places stay where they are")


def _upsample(attrs: Upsample, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.interpolate(inputs[0], tuple(attrs.size), mode="nearest")


def _interpolate(attrs: Interpolate, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.interpolate(
        inputs[0], tuple(attrs.size), mode=attrs.mode, align_corners=attrs.align_corners
    )


_NONE = 1e-9  # a weight that is 0 but for rounding


def _wiring(attrs: Interpolate, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the wiring, axis by axis: a weight is a product of one for each axis."""
    (x,) = inputs
    mode = "bicubic" if attrs.mode == "bicubic" else "bilinear"
    for axis, out in enumerate(attrs.size, start=2):
        # [1, n, 1, n]: every place by itself
        each = torch.eye(x.shape[axis], dtype=torch.float64)[None, :, None]
        lines = F.interpolate(each, (1, out), mode=mode, align_corners=attrs.align_corners)
        weights = lines[0, :, 0]
        x = torch.tensordot(x, (weights.abs() > _NONE).to(x), dims=([axis], [0])).movedim(-1, axis)
    return x


_AXES = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
_TAPS = {"linear": 2, "bilinear": 4, "trilinear": 8, "bicubic": 16}


def _interpolate_work(
    attrs: Interpolate, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count a product for each place that a value is made of."""
    return Work(macs=math.prod(output) * _TAPS[attrs.mode])


def _interpolate_recomputed(attrs: Interpolate, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    """Return the products with places that have changed."""
    return _wiring(attrs, tensors, changed)


def _fits(attrs: Upsample, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    return one_an_axis(shapes[0], size=attrs.size)


def _resized(attrs: Upsample, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape of the places, if the mode is one of as many axes."""
    axes = _AXES[attrs.mode] if isinstance(attrs, Interpolate) else len(attrs.size)
    return (inputs[0][0], *attrs.size) if axes == len(attrs.size) else None


OPERATIONS = (
    Op(
        name="upsample",
        role=Role.LINEAR,
        attributes=Upsample,
        value=_upsample,
        wiring=_upsample,
        rule=_fits,
        work=no_work,
        silence=Silence.KEPT,
        shape=_resized,
    ),
    Op(
        name="interpolate",
        role=Role.LINEAR,
        attributes=Interpolate,
        value=_interpolate,
        wiring=_wiring,
        rule=_fits,
        work=_interpolate_work,
        silence=Silence.KEPT,
        recomputed=_interpolate_recomputed,
        shape=_resized,
    ),
)

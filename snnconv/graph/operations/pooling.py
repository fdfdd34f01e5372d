"""Pooling: the largest or the average of windows, of bins, or of whole axes; and running sums.

Shape:
    ``[B, C, *N] -> [B, C, *M]`` with one to three axes; a mean or a running sum over any axes of
    the samples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.graph.operations.base import (
    Along,
    Attributes,
    Axes,
    Flag,
    Op,
    Role,
    Shape,
    Silence,
    Tensors,
    TensorShapes,
    Wholes,
    Window,
    any_shape,
    kept_along,
    one_an_axis,
    passed,
    windows,
)
from snnconv.graph.operations.work import Work, an_average


class Pool(Attributes):
    """Attributes of a window that moves."""

    kernel: Window = Field(description="places of the window along each axis")
    stride: Window = Field(description="steps between windows, one number an axis")
    padding: Wholes = Field(description="places that are added on either side of each axis")
    ceil_mode: Flag = Field(description="whether a last window may reach beyond the end")


class MaxPool(Pool):
    """Attributes of a max pooling."""

    dilation: Window = Field(description="steps between places of the window")


class AvgPool(Pool):
    """Attributes of an average pooling."""

    count_include_pad: Flag = Field(description="whether the padding counts in the average")


class Adaptive(Attributes):
    """Attributes of a pooling to a size."""

    output: Window = Field(description="bins along each axis behind the channels")


class Mean(Attributes):
    """Attributes of a mean over axes."""

    dims: Axes = Field(description="axes that it goes over; 0 is the batch, so never 0")
    keepdim: Flag = Field(description="whether they stay, with one place each")


_ByRank = Mapping[int, Callable[..., Tensor]]
_MAX: _ByRank = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVG: _ByRank = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE_AVG: _ByRank = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_ADAPTIVE_MAX: _ByRank = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}


def _window(attrs: Pool) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return tuple(attrs.kernel), tuple(attrs.stride), tuple(attrs.padding)


def _max_pool(attrs: MaxPool, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    dilation = tuple(attrs.dilation)
    return _MAX[x.dim() - 2](x, *_window(attrs), dilation, ceil_mode=attrs.ceil_mode)


def _avg_pool(attrs: AvgPool, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return _AVG[x.dim() - 2](x, *_window(attrs), attrs.ceil_mode, attrs.count_include_pad)


def _sum_pool(attrs: AvgPool, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    (kernel, stride, padding), ceil_mode = _window(attrs), attrs.ceil_mode
    if x.dim() == 3:  # avg_pool1d knows no divisor_override: a row of height one instead
        row = x.unsqueeze(2)
        window = (1, *kernel), (1, *stride), (0, *padding)
        return F.avg_pool2d(row, *window, ceil_mode, divisor_override=1).squeeze(2)
    return _AVG[x.dim() - 2](x, kernel, stride, padding, ceil_mode, divisor_override=1)


def _fits_window(attrs: Pool, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    values = {"kernel": attrs.kernel, "stride": attrs.stride, "padding": attrs.padding}
    if isinstance(attrs, MaxPool):
        values["dilation"] = attrs.dilation
    return one_an_axis(shapes[0], **values)


def _places(attrs: Pool, inputs: Sequence[Shape], output: Shape) -> float:
    """Count the values that windows take in, including padding."""
    return math.prod(output) * math.prod(attrs.kernel)


def _max_pool_work(
    attrs: MaxPool, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count comparisons with the first value of each window."""
    return Work(additions=_places(attrs, inputs, output) - math.prod(output))


def _avg_pool_work(
    attrs: AvgPool, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    return an_average(_places(attrs, inputs, output), output)


def _binned(attrs: Adaptive, shape: Shape) -> int:
    """Count the values that bins take in; some values are in two bins."""
    taken = shape[0]
    for size, out in zip(shape[1:], attrs.output, strict=True):
        taken *= sum(-(-(k + 1) * size // out) - k * size // out for k in range(out))
    return taken


def _adaptive_max_pool_work(
    attrs: Adaptive, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    return Work(additions=_binned(attrs, inputs[0]) - math.prod(output))


def _adaptive_avg_pool_work(
    attrs: Adaptive, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    return an_average(_binned(attrs, inputs[0]), output)


def _mean_work(
    attrs: Mean, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    return an_average(math.prod(inputs[0]), output)


def _adaptive_avg_pool(attrs: Adaptive, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return _ADAPTIVE_AVG[x.dim() - 2](x, tuple(attrs.output))


def _adaptive_max_pool(attrs: Adaptive, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return _ADAPTIVE_MAX[x.dim() - 2](x, tuple(attrs.output))


def _adaptive_sum_pool(attrs: Adaptive, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    for axis, out in enumerate(attrs.output, start=2):
        size = x.shape[axis]
        position, window = torch.arange(size), torch.arange(out)[:, None]
        start = window * size // out
        stop = -(-(window + 1) * size // out)  # ceil((i + 1) * size / out)
        inside = (position >= start) & (position < stop)
        x = torch.tensordot(x, inside.to(x), dims=([axis], [1])).movedim(-1, axis)
    return x


def _fits_bins(attrs: Adaptive, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    return one_an_axis(shapes[0], output=attrs.output)


def _mean(attrs: Mean, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].mean(tuple(attrs.dims), keepdim=attrs.keepdim)


def _sum_over(attrs: Mean, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].sum(tuple(attrs.dims), keepdim=attrs.keepdim)


def _cumsum(attrs: Along, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].cumsum(attrs.dim)


def _cumsum_work(
    attrs: Along, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count an addition for each place but the first of the axis."""
    values = math.prod(output)
    return Work(additions=values - values // output[attrs.dim - 1])


def _cumsum_recomputed(attrs: Along, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    """Return the sums from the first place on that has changed."""
    return changed[0].cummax(attrs.dim).values


def _pool_shape(attrs: Pool, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape of the windows, each of which lies inside the image or its padding."""
    channels, *sizes = inputs[0]
    dilations = attrs.dilation if isinstance(attrs, MaxPool) else [1] * len(sizes)
    axes = zip(sizes, attrs.kernel, attrs.stride, attrs.padding, dilations, strict=True)
    found = []
    for size, kernel, stride, padding, dilation in axes:
        if dilation * (kernel - 1) >= size or 2 * padding > kernel:
            return None
        found.append(windows(size, kernel, stride, padding, dilation, ceil=attrs.ceil_mode))
    return (channels, *found)


def _adaptive_shape(
    attrs: Adaptive, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the shape of the bins."""
    return (inputs[0][0], *attrs.output)


def _mean_shape(attrs: Mean, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape without the axes, or with one place in each."""
    shape, dims = inputs[0], set(attrs.dims)
    if len(dims) != len(attrs.dims) or max(dims) > len(shape):
        return None
    places = enumerate(shape, start=1)
    return tuple(
        1 if axis in dims else n for axis, n in places if attrs.keepdim or axis not in dims
    )


OPERATIONS: tuple[Op[Any], ...] = (
    Op(
        name="max_pool",
        role=Role.MAX,
        attributes=MaxPool,
        value=_max_pool,
        wiring=passed,
        rule=_fits_window,
        work=_max_pool_work,
        silence=Silence.WINDOW,
        recomputed=_max_pool,
        shape=_pool_shape,
    ),
    Op(
        name="adaptive_max_pool",
        role=Role.MAX,
        attributes=Adaptive,
        value=_adaptive_max_pool,
        wiring=passed,
        rule=_fits_bins,
        work=_adaptive_max_pool_work,
        silence=Silence.NOWHERE,
        recomputed=_adaptive_max_pool,
        shape=_adaptive_shape,
    ),
    Op(
        name="avg_pool",
        role=Role.LINEAR,
        attributes=AvgPool,
        value=_avg_pool,
        wiring=_sum_pool,
        rule=_fits_window,
        work=_avg_pool_work,
        silence=Silence.WINDOW,
        recomputed=_sum_pool,
        averages=True,
        shape=_pool_shape,
    ),
    Op(
        name="adaptive_avg_pool",
        role=Role.LINEAR,
        attributes=Adaptive,
        value=_adaptive_avg_pool,
        wiring=_adaptive_sum_pool,
        rule=_fits_bins,
        work=_adaptive_avg_pool_work,
        silence=Silence.NOWHERE,
        recomputed=_adaptive_sum_pool,
        averages=True,
        shape=_adaptive_shape,
    ),
    Op(
        name="mean",
        role=Role.LINEAR,
        attributes=Mean,
        value=_mean,
        wiring=_sum_over,
        rule=any_shape,
        work=_mean_work,
        silence=Silence.KEPT,
        recomputed=_sum_over,
        averages=True,
        shape=_mean_shape,
    ),
    Op(
        name="cumsum",
        role=Role.LINEAR,
        attributes=Along,
        value=_cumsum,
        wiring=_cumsum,
        rule=any_shape,
        work=_cumsum_work,
        silence=Silence.NOWHERE,
        recomputed=_cumsum_recomputed,
        shape=kept_along,
    ),
)

"""Pooling: windows, bins, and whole images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.arithmetic import line
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Extent,
    Lowering,
    NodeMaker,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    batched,
    by_rank,
    sizes,
)
from snnconv.frontends.lowering.windows import Window, window, zeros
from snnconv.graph.operations.pooling import Adaptive, AvgPool, MaxPool
from snnconv.graph.ops import OPS


def max_pool(
    rank: int,
    shape: Shape,
    x: object,
    kernel_size: Extent,
    stride: Extent | None = None,
    padding: Extent = 0,
    dilation: Extent = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> NodeSpec:
    """Lower max pooling."""
    if return_indices:
        raise Refused("max pooling that returns indices", "call it without return_indices")
    kernel = sizes(kernel_size, rank)
    attrs = MaxPool(
        kernel=kernel,
        stride=_stride(rank, stride, kernel),
        padding=sizes(padding, rank),
        dilation=sizes(dilation, rank),
        ceil_mode=bool(ceil_mode),
    )
    return NodeSpec("max_pool", [batched(x, rank)], attrs)


def avg_pool(
    rank: int,
    shape: Shape,
    x: object,
    kernel_size: Extent,
    stride: Extent | None = None,
    padding: Extent = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> NodeSpec:
    """Average pooling."""
    kernel = sizes(kernel_size, rank)
    attrs = AvgPool(
        kernel=kernel,
        stride=_stride(rank, stride, kernel),
        padding=sizes(padding, rank),
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
    )
    pooled = NodeSpec("avg_pool", [batched(x, rank)], attrs)
    if divisor_override is None:
        return pooled
    ones = torch.ones(1, 1, *batched(x, rank).shape[2:])
    average = OPS["avg_pool"]
    counts = average.wire(attrs, {}, [ones]) / average.run(attrs, {}, [ones])
    scale = counts[0] / divisor_override  # of each place: windows at a border may hold fewer
    uniform = bool((scale == scale.flatten()[0]).all())
    return line(pooled, scale.flatten()[:1] if uniform else scale)


def _stride(rank: int, stride: Extent | None, kernel: list[int]) -> list[int]:
    """Return the steps between windows; if none are given, windows lie side by side."""
    return kernel if stride is None or stride in ((), []) else sizes(stride, rank)


def adaptive_avg_pool(rank: int, shape: Shape, x: object, output_size: object) -> NodeSpec:
    """Average pooling to a given size."""
    return NodeSpec("adaptive_avg_pool", [batched(x, rank)], Adaptive(output=list(shape[2:])))


def adaptive_max_pool(
    rank: int, shape: Shape, x: object, output_size: object, return_indices: bool = False
) -> NodeSpec:
    """Lower max pooling to a given size."""
    if return_indices:
        raise Refused("max pooling that returns indices")
    return NodeSpec("adaptive_max_pool", [batched(x, rank)], Adaptive(output=list(shape[2:])))


def first(make: NodeMaker) -> NodeMaker:
    """Return a maker for an operator that gives further values after the first."""

    def made(rank: int, shape: Shape, x: object, *arguments: Any) -> list[NodeSpec]:
        found = make(rank, shape, x, *arguments)
        return found if isinstance(found, list) else [found]

    return made


def onnx_max_pool(call: Call) -> NodeSpec:
    """Lower max pooling; padding is never the largest, so only the windows' first places matter."""
    if call.read > 1:
        raise Refused("max pooling that gives indices")
    x, w = _pooled(call)

    def made(padding: list[int], ceil_mode: bool) -> NodeSpec:
        return max_pool(w.rank, (), x, w.kernel, w.stride, padding, w.dilation, ceil_mode)

    return _as_many(made, w, _places(call, w, x.shape[2:]))


def onnx_avg_pool(call: Call) -> NodeSpec:
    """Average pooling; zeros that count get a node of their own if PyTorch would pad otherwise."""
    x, w = _pooled(call)
    if w.dilation != [1] * w.rank:
        raise Refused("average pooling with dilation")
    counted = bool(call.number("count_include_pad", 0))
    halves = all(2 * b <= k for b, k in zip(w.begin, w.kernel, strict=True))
    places = _places(call, w, x.shape[2:])
    source: Activation | NodeSpec = x
    if counted and not (w.even and halves):
        none = [0] * w.rank
        source, w = zeros(x, w.begin, w.end), replace(w, begin=none, end=none)

    def made(padding: list[int], ceil_mode: bool) -> NodeSpec:
        pool = avg_pool(w.rank, (), x, w.kernel, w.stride, padding, ceil_mode, counted)
        return replace(pool, sources=[source])

    return _as_many(made, w, places)


def _pooled(call: Call) -> tuple[Activation, Window]:
    kernel = call.numbers("kernel_shape") or []
    if not 1 <= len(kernel) <= 3:
        raise Refused(f"pooling over {len(kernel)} axes")
    x = batched(call.x, len(kernel))
    return x, window(call, kernel, x.shape[2:])


def _places(call: Call, w: Window, extent: Sequence[int]) -> list[int]:
    """Return how many windows there are along each axis, by ONNX's rule."""
    ceil_mode = bool(call.number("ceil_mode", 0))
    found = []
    for n, k, s, d, b, e in zip(
        extent, w.kernel, w.stride, w.dilation, w.begin, w.end, strict=True
    ):
        room = n + b + e - (d * (k - 1) + 1)
        count = (-(-room // s) if ceil_mode else room // s) + 1
        begins_in_padding = ceil_mode and (count - 1) * s >= n + b
        found.append(count - 1 if begins_in_padding else count)
    return found


def _as_many(made: Callable[[list[int], bool], NodeSpec], w: Window, places: list[int]) -> NodeSpec:
    """Return a pooling with a given number of windows, from PyTorch's with the same first places.

    PyTorch pads both sides alike. If the end needs more padding, ``ceil_mode`` may do, or padding
    by some more strides; surplus windows are cut off.
    """
    axes = list(zip(w.begin, w.end, w.stride, strict=True))
    ahead = [max(-(-(e - b) // s), 0) for b, e, s in axes]  # strides
    wider = [b + k * s for (b, _, s), k in zip(axes, ahead, strict=True)]
    for padding, first in ((w.begin, [0] * w.rank), (wider, ahead)):
        for ceil_mode in (False, True):
            pool = made(padding, ceil_mode)
            try:
                found = shape_of(pool)[2:]
            except Refused:  # padding beyond half of the window
                continue
            last = [n - k - wanted for n, k, wanted in zip(found, first, places, strict=True)]
            if min(last) >= 0:
                cut = [[-n for n in side] for side in (first, last)]
                return zeros(pool, *cut) if any(first + last) else pool
    raise Refused(f"padding by {w.begin} and {w.end} of windows {w.kernel}")


def onnx_global_avg_pool(call: Call) -> NodeSpec:
    """Lower the average over all places."""
    x = call.x
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        raise Refused(f"pooling over {rank} axes")
    return adaptive_avg_pool(rank, (*x.shape[:2], *[1] * rank), x, 1)


def onnx_global_max_pool(call: Call) -> NodeSpec:
    """Lower the largest over all places."""
    x = call.x
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        raise Refused(f"pooling over {rank} axes")
    return max_pool(rank, (), x, list(x.shape[2:]))


LOWERINGS = (
    *by_rank(
        max_pool,
        BatchAxis.FIRST,
        modules=(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
        attributes=(
            *("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
        ),
        functions=(
            (F.max_pool1d, F.max_pool2d, F.max_pool3d),
            (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d),
        ),
        aten=("max_pool#d",),
        onnx={"MaxPool": Onnx(onnx_max_pool)},
    ),
    *by_rank(first(max_pool), BatchAxis.FIRST, aten=("max_pool#d_with_indices",)),
    *by_rank(
        avg_pool,
        BatchAxis.FIRST,
        modules=(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        attributes=(
            *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
            "divisor_override",
        ),
        functions=((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),),
        aten=("avg_pool#d",),
        onnx={"AveragePool": Onnx(onnx_avg_pool)},
    ),
    *by_rank(
        adaptive_avg_pool,
        BatchAxis.FIRST,
        modules=(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        attributes=("output_size",),
        functions=((F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),),
        aten=("adaptive_avg_pool#d",),
        onnx={"GlobalAveragePool": Onnx(onnx_global_avg_pool)},
    ),
    *(
        Lowering(
            make=partial(adaptive_avg_pool, rank),
            batch_axis=BatchAxis.FIRST,
            aten=(f"_adaptive_avg_pool{rank}d",),
        )
        for rank in (2, 3)
    ),
    *by_rank(
        adaptive_max_pool,
        BatchAxis.FIRST,
        modules=(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        attributes=("output_size", "return_indices"),
        functions=((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d),),
        onnx={"GlobalMaxPool": Onnx(onnx_global_max_pool)},
    ),
    *by_rank(first(adaptive_max_pool), BatchAxis.FIRST, aten=("adaptive_max_pool#d",)),
)

"""Reorder axes; repeat, reverse or shuffle places."""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.batch_axis import Result, moved, of_more_samples
from snnconv.frontends.lowering.call import Call, as_moved
from snnconv.frontends.lowering.contract import (
    BATCH,
    Activation,
    BatchAxis,
    Extent,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    activation,
    batched,
    sizes,
)
from snnconv.graph.network import LARGEST_VALUE
from snnconv.graph.operations.wiring import Pad, Permute, Shaped, Take
from snnconv.graph.remedies import BATCH_FIRST


def permute(shape: Shape, x: object, *dims: Any) -> NodeSpec:
    """Lower a permutation of axes."""
    source = activation(x)
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    order = [int(d) % len(source.shape) for d in given]
    if order[0] != 0:
        raise Refused("a permutation that moves the batch", BATCH_FIRST)
    return NodeSpec("permute", [source], Permute(dims=order[1:]))


def transpose(shape: Shape, x: object, dim0: int, dim1: int) -> NodeSpec:
    """Lower the swap of two axes."""
    order = list(range(len(shape)))
    first, second = dim0 % len(shape), dim1 % len(shape)
    order[first], order[second] = second, first
    return permute(shape, x, order)


def reversed_axes(shape: Shape, x: object) -> NodeSpec:
    """Lower the reversal of all axes, which swaps the two axes of a matrix."""
    return permute(shape, x, *range(len(shape))[::-1])


def matrices_transposed(shape: Shape, x: object) -> NodeSpec:
    """Lower the swap of the last two axes; real numbers are their own conjugates."""
    return transpose(shape, x, -2, -1)


def movedim(shape: Shape, x: object, source: Extent, destination: Extent) -> NodeSpec:
    """Move some axes to other places; the other axes keep their order."""
    rank = len(shape)
    taken, put = ([int(d) % rank for d in sizes(dims, 1)] for dims in (source, destination))
    order = [axis for axis in range(rank) if axis not in taken]
    for place, axis in sorted(zip(put, taken, strict=True)):
        order.insert(place, axis)
    return permute(shape, x, order)


def rearranged(shape: Shape, x: object, *how: object, **named: object) -> NodeSpec:
    """Repeat, reverse or move places: the translator runs the call to see what it does."""
    raise Refused("a move that mixes samples", BATCH_FIRST)


def channel_shuffle(shape: Shape, x: object, groups: int) -> NodeSpec:
    """Lower a shuffle: the first channel of each group, then the second of each, and so on."""
    source = activation(x)
    channels, *places = source.shape[1:]
    apart = NodeSpec("reshape", [source], Shaped(shape=[groups, channels // groups, *places]))
    order = [2, 1, *range(3, len(places) + 3)]
    turned = NodeSpec("permute", [apart], Permute(dims=order))
    return NodeSpec("reshape", [turned], Shaped(shape=[channels, *places]))


def pixel_shuffle(shape: Shape, x: object, upscale_factor: int) -> NodeSpec:
    """Turn channels into places: each group of channels gives a block of places."""
    height, width = batched(x, 2).shape[2:]
    r, (left, high, wide) = upscale_factor, shape[1:]
    apart = NodeSpec("reshape", [activation(x)], Shaped(shape=[left, r, r, height, width]))
    turned = NodeSpec("permute", [apart], Permute(dims=[1, 4, 2, 5, 3]))
    return NodeSpec("reshape", [turned], Shaped(shape=[left, high, wide]))


def pixel_unshuffle(shape: Shape, x: object, downscale_factor: int) -> NodeSpec:
    """Lower places to channels, the inverse of channels to places."""
    channels, height, width = batched(x, 2).shape[1:]
    r = downscale_factor
    blocks = [channels, height // r, r, width // r, r]
    apart = NodeSpec("reshape", [activation(x)], Shaped(shape=blocks))
    turned = NodeSpec("permute", [apart], Permute(dims=[1, 3, 5, 2, 4]))
    return NodeSpec("reshape", [turned], Shaped(shape=list(shape[1:])))


def unfold(
    shape: Shape,
    x: object,
    kernel_size: Extent,
    dilation: Extent = 1,
    padding: Extent = 0,
    stride: Extent = 1,
) -> NodeSpec:
    """Lower patches, which may overlap: each patch is a column of its channels' places."""
    source = batched(x, 2)
    channels, *extent = source.shape[1:]
    given = (kernel_size, dilation, padding, stride)
    kernel, apart, around, steps = (tuple(sizes(n, 2)) for n in given)
    widths = [around[1], around[1], around[0], around[0]]
    more = Pad(pad=widths, mode="constant")
    padded = NodeSpec("pad", [source], more) if any(widths) else source
    high, wide = (n + 2 * side for n, side in zip(extent, around, strict=True))
    flat = NodeSpec("reshape", [padded], Shaped(shape=[channels, high * wide]))
    numbers = torch.arange(high * wide, dtype=torch.float64).view(1, 1, high, wide)
    places = F.unfold(numbers, kernel, apart, 0, steps).long().flatten().tolist()
    taken = NodeSpec("take", [flat], Take(dim=2, places=places))
    return NodeSpec("reshape", [taken], Shaped(shape=list(shape[1:])))


def onnx_transpose(call: Call) -> NodeSpec:
    """Lower ``Transpose``, a permutation of axes."""
    x, rank = call.x, len(call.x.shape)
    order = [int(axis) % rank for axis in call.numbers("perm") or range(rank)[::-1]]
    if order[0] != 0:
        raise Refused("a permutation that moves the batch", BATCH_FIRST)
    return NodeSpec("permute", [x], Permute(dims=order[1:]))


def onnx_expand(call: Call) -> NodeSpec:
    """Lower ``Expand``, which repeats axes of size 1; a literal batch counts as the batch."""
    x, sizes = call.x, call.numbers("shape", 1) or []
    sizes = [1] * (len(x.shape) - len(sizes)) + [int(n) for n in sizes]
    if len(sizes) > len(x.shape) or sizes[0] not in {1, BATCH, call.batch}:
        raise Refused("an expansion that mixes samples", BATCH_FIRST)
    shape = list(torch.broadcast_shapes(x.shape[1:], tuple(sizes[1:])))
    return NodeSpec("expand", [x], Shaped(shape=shape))


def moved_expand(call: Call) -> Result | list[Any]:
    """Expand a value whose batch is any axis, and may share it with places of a sample."""
    x, sizes = as_moved(call.operand(0)), [int(n) for n in call.numbers("shape", 1) or []]
    for meant in of_more_samples(sizes, range(len(sizes)), call.batch or 1):
        try:
            return moved(x, partial(torch.mul, other=torch.ones(meant, dtype=torch.int64)))
        except (Refused, RuntimeError):  # sizes that do not fit, or that mix samples
            continue
    raise Refused("an expansion that mixes samples", BATCH_FIRST)


def onnx_tile(call: Call) -> NodeSpec:
    """Repeat each axis by its own factor."""
    x, times = call.x, [int(n) for n in call.numbers("repeats", 1) or []]
    if len(times) != len(x.shape) or times[0] != 1:
        raise Refused(f"a repetition of the batch ({times})", BATCH_FIRST)
    if min(times) < 1 or math.prod(x.shape) * math.prod(times) > BATCH * LARGEST_VALUE:
        raise Refused(f"a repetition of {list(x.shape[1:])} by {times[1:]}")
    value: Activation | NodeSpec = x
    for axis, n in enumerate(times):
        if n != 1:
            places = [*range(x.shape[axis])] * n
            value = NodeSpec("take", [value], Take(dim=axis, places=places))
    return value if isinstance(value, NodeSpec) else NodeSpec("identity", [value])


def onnx_depth_to_space(call: Call) -> NodeSpec:
    """Lower channels to places: a block's place stands before the channels, or behind them."""
    x, r = batched(call.x, 2), call.number("blocksize", 1)
    _, channels, height, width = x.shape
    left = channels // r**2
    if call.attrs.get("mode", "DCR") == "CRD":
        return pixel_shuffle((x.shape[0], left, height * r, width * r), x, r)
    apart = NodeSpec("reshape", [x], Shaped(shape=[r, r, left, height, width]))
    turned = NodeSpec("permute", [apart], Permute(dims=[3, 4, 1, 5, 2]))
    return NodeSpec("reshape", [turned], Shaped(shape=[left, height * r, width * r]))


def onnx_space_to_depth(call: Call) -> NodeSpec:
    """Lower places to channels: a block's place stands before the channels."""
    x, r = batched(call.x, 2), call.number("blocksize", 1)
    _, channels, height, width = x.shape
    apart = NodeSpec("reshape", [x], Shaped(shape=[channels, height // r, r, width // r, r]))
    turned = NodeSpec("permute", [apart], Permute(dims=[3, 5, 1, 2, 4]))
    return NodeSpec("reshape", [turned], Shaped(shape=[channels * r**2, height // r, width // r]))


LOWERINGS = (
    Lowering(
        make=permute,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.permute,),
        methods=("permute",),
        aten=("permute",),
        onnx={"Transpose": Onnx(onnx_transpose)},
    ),
    Lowering(
        make=transpose,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.transpose, torch.swapaxes, torch.swapdims),
        methods=("transpose", "swapaxes", "swapdims"),
        aten=("transpose.int", "swapaxes"),
    ),
    Lowering(
        make=reversed_axes,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.t,),
        methods=("t", "T", "H"),
        aten=("t", "numpy_T", "matrix_H"),
    ),
    Lowering(
        make=matrices_transposed,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.adjoint,),
        methods=("adjoint", "mT", "mH"),
        aten=("adjoint", "mT", "mH"),
    ),
    Lowering(
        make=movedim,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.movedim, torch.moveaxis),
        methods=("movedim", "moveaxis"),
        aten=("movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist"),
    ),
    Lowering(
        make=rearranged,
        batch_axis=BatchAxis.MOVES,
        functions=(
            *(torch.roll, torch.flip, torch.rot90, torch.fliplr, torch.flipud, torch.tile),
            *(torch.repeat_interleave, torch.broadcast_to),
        ),
        methods=(
            *("roll", "flip", "rot90", "fliplr", "flipud", "tile", "repeat", "repeat_interleave"),
            *("expand", "expand_as", "broadcast_to", "unfold"),
        ),
        aten=(
            *("roll", "flip", "rot90", "tile", "repeat", "repeat_interleave.self_int"),
            *("expand", "expand_as", "broadcast_to", "unfold"),
        ),
        onnx={"Expand": Onnx(onnx_expand, moved=moved_expand), "Tile": Onnx(onnx_tile)},
    ),
    Lowering(
        make=channel_shuffle,
        batch_axis=BatchAxis.FIRST,
        modules={nn.ChannelShuffle: ("groups",)},
        functions=(torch.channel_shuffle, F.channel_shuffle),
        aten=("channel_shuffle",),
    ),
    Lowering(
        make=pixel_shuffle,
        batch_axis=BatchAxis.FIRST,
        modules={nn.PixelShuffle: ("upscale_factor",)},
        functions=(torch.pixel_shuffle, F.pixel_shuffle),
        aten=("pixel_shuffle",),
        onnx={"DepthToSpace": Onnx(onnx_depth_to_space)},
    ),
    Lowering(
        make=pixel_unshuffle,
        batch_axis=BatchAxis.FIRST,
        modules={nn.PixelUnshuffle: ("downscale_factor",)},
        functions=(torch.pixel_unshuffle, F.pixel_unshuffle),
        aten=("pixel_unshuffle",),
        onnx={"SpaceToDepth": Onnx(onnx_space_to_depth)},
    ),
    Lowering(
        make=unfold,
        batch_axis=BatchAxis.FIRST,
        modules={nn.Unfold: ("kernel_size", "dilation", "padding", "stride")},
        functions=(F.unfold,),
        aten=("im2col",),
    ),
)

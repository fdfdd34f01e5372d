"""Convolutions, transposed ones among them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch.nn.functional as F
from torch import nn

from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    Extent,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    batched,
    by_rank,
    sizes,
    stored,
    weights,
)
from snnconv.frontends.lowering.windows import halves, window, zeros
from snnconv.graph.operations.weighted import Conv, ConvTranspose
from snnconv.graph.operations.wiring import Pad


def conv(
    rank: int,
    shape: Shape,
    x: object,
    weight: object,
    bias: object = None,
    stride: Extent = 1,
    padding: Extent | str = 0,
    dilation: Extent = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> NodeSpec:
    """Lower a convolution."""
    if padding_mode != "zeros":
        raise Refused(
            f"padding mode '{padding_mode}'",
            "pad before it, by nn.ReflectionPad2d, nn.ReplicationPad2d or nn.CircularPad2d",
        )
    taken, dilation = stored("weight", weight), sizes(dilation, rank)
    before, more = _same(padding, taken.value.shape[2:], dilation)
    attrs = Conv(stride=sizes(stride, rank), padding=before, dilation=dilation, groups=groups)
    source: Activation | NodeSpec = batched(x, rank)
    if any(more):
        widths = [n for size in more[::-1] for n in (0, size)]  # the last axis first
        source = NodeSpec("pad", [source], Pad(pad=widths, mode="constant"))
    return NodeSpec("conv", [source], attrs, weights(weight=weight, bias=bias))


def _same(
    padding: Extent | str, kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the padding on both sides of each axis, and what 'same' needs more at the end."""
    none = [0] * len(kernel)
    if not isinstance(padding, str):
        return sizes(padding, len(kernel)), none
    if padding == "valid":
        return none, none
    if padding != "same":
        raise Refused(f"padding '{padding}'", "give numbers, 'same' or 'valid'")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return [n // 2 for n in total], [n % 2 for n in total]


def conv_transpose(
    rank: int,
    shape: Shape,
    x: object,
    weight: object,
    bias: object = None,
    stride: Extent = 1,
    padding: Extent = 0,
    output_padding: Extent = 0,
    groups: int = 1,
    dilation: Extent = 1,
) -> NodeSpec:
    """Lower a transposed convolution."""
    attrs = ConvTranspose(
        stride=sizes(stride, rank),
        padding=sizes(padding, rank),
        output_padding=sizes(output_padding, rank),
        dilation=sizes(dilation, rank),
        groups=groups,
    )
    return NodeSpec("conv_transpose", [batched(x, rank)], attrs, weights(weight=weight, bias=bias))


def aten_convolution(
    shape: Shape,
    x: object,
    weight: object,
    bias: object,
    stride: Extent,
    padding: Extent,
    dilation: Extent,
    transposed: bool,
    output_padding: Extent,
    groups: int,
) -> NodeSpec:
    """Lower a convolution of ATen's core set."""
    rank = stored("weight", weight).value.dim() - 2
    if transposed:
        window = (stride, padding, output_padding, groups, dilation)
        return conv_transpose(rank, shape, x, weight, bias, *window)
    return conv(rank, shape, x, weight, bias, stride, padding, dilation, groups)


def _kernel(call: Call) -> list[int]:
    """Return what a convolution's weight spans."""
    kernel = list(call.tensor(1, "weight").value.shape[2:])
    if not 1 <= len(kernel) <= 3:
        raise Refused(f"a convolution over {len(kernel)} axes")
    return kernel


def onnx_conv(call: Call) -> NodeSpec:
    """Lower a convolution; if one side has more padding, a node of its own adds it."""
    kernel = _kernel(call)
    x = batched(call.x, len(kernel))
    w = window(call, kernel, x.shape[2:])
    weight, bias = call.tensor(1, "weight"), call.optional(2, "bias")
    padding = w.begin if w.even else [0] * w.rank
    groups = call.number("group", 1)
    made = conv(w.rank, (), x, weight, bias, w.stride, padding, w.dilation, groups)
    return made if w.even else replace(made, sources=[zeros(x, w.begin, w.end)])


def onnx_conv_transpose(call: Call) -> NodeSpec:
    """Lower a transposed convolution; a crop does what PyTorch's padding can't express."""
    kernel = _kernel(call)
    x = batched(call.x, len(kernel))
    w = window(call, kernel, x.shape[2:])
    extra = call.numbers("output_padding") or [0] * w.rank
    begin, end = w.begin, w.end
    auto = call.attrs.get("auto_pad", "NOTSET")
    wanted = call.numbers("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], w.stride, strict=True)]
    if wanted is not None:
        axes = zip(x.shape[2:], w.stride, w.dilation, kernel, extra, strict=True)
        full = [s * (n - 1) + d * (k - 1) + 1 + e for n, s, d, k, e in axes]
        total = [f - n for f, n in zip(full, wanted[-w.rank :], strict=True)]
        extra = [e + max(-t, 0) for e, t in zip(extra, total, strict=True)]
        begin, end = halves([max(t, 0) for t in total], auto)
    weight, bias = call.tensor(1, "weight"), call.optional(2, "bias")
    groups = call.number("group", 1)

    def made(padding: list[int], output_padding: list[int]) -> NodeSpec:
        window_ = (w.stride, padding, output_padding, groups, w.dilation)
        return conv_transpose(w.rank, (), x, weight, bias, *window_)

    limits = [max(s, d) for s, d in zip(w.stride, w.dilation, strict=True)]
    if any(o >= n for o, n in zip(extra, limits, strict=True)):
        raise Refused(f"output padding {extra} with stride {w.stride}")
    uneven = [o + b - e for o, b, e in zip(extra, begin, end, strict=True)]
    if min(begin) >= 0 and all(0 <= o < n for o, n in zip(uneven, limits, strict=True)):
        return made(begin, uneven)
    return zeros(made([0] * w.rank, extra), [-n for n in begin], [-n for n in end])


_WINDOW = ("weight", "bias", "stride", "padding")

LOWERINGS = (
    *by_rank(
        conv,
        BatchAxis.FIRST,
        modules=(nn.Conv1d, nn.Conv2d, nn.Conv3d),
        attributes=(*_WINDOW, "dilation", "groups", "padding_mode"),
        functions=((F.conv1d, F.conv2d, F.conv3d),),
        aten=("conv#d", "conv#d.padding"),
        onnx={"Conv": Onnx(onnx_conv)},
    ),
    *by_rank(
        conv_transpose,
        BatchAxis.FIRST,
        modules=(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        attributes=(*_WINDOW, "output_padding", "groups", "dilation"),
        functions=((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),),
        onnx={"ConvTranspose": Onnx(onnx_conv_transpose)},
    ),
    *(
        Lowering(make=partial(conv_transpose, rank), batch_axis=BatchAxis.FIRST, aten=(name,))
        for rank, name in enumerate(
            ("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input"), start=1
        )
    ),
    Lowering(
        make=aten_convolution,
        batch_axis=BatchAxis.FIRST,
        aten=("convolution",),
    ),
)

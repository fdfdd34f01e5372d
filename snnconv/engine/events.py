"""Event-driven convolution: what fired is listed once, and only its weights are added up.

For each place of the output and each block of output channels, the weight rows of the inputs that
fired within its window are added in registers. Silent inputs cost nothing, padding neither.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.compiled import compiled, split
from snnconv.engine.vectors import LANES, add_rows

Floats = NDArray[np.float32]
Pair = tuple[int, int]

_WIDEST = 4  # vectors of sums that fit into AVX2's sixteen registers, with room for a row


@compiled
def _convolve(
    start: int,
    stop: int,
    values: Floats,
    weights: Floats,
    bias: Floats,
    out: Floats,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """Images ``start`` to ``stop``.

    Values ``[N, H, W, C]``, weights ``[blocks, taps, C, width]``, out ``[N, H_out, W_out, C_out]``.
    """
    height, width, channels = values.shape[1:]
    out_height, out_width, out_channels = out.shape[1:]
    lanes = weights.shape[3]
    inputs = height * width * channels
    rows, amounts = np.empty(inputs, np.int64), np.empty(inputs, np.float32)
    first = np.empty(height * width + 1, np.int64)
    runs = np.empty(3 * kernel[0] * kernel[1], np.int64)
    r, k, a = runs.ctypes.data, rows.ctypes.data, amounts.ctypes.data
    flat = values.reshape(-1)
    for n in range(start, stop):
        events, at = 0, n * inputs
        for place in range(height * width):
            first[place] = events
            for channel in range(channels):
                # written always and kept where not zero: no branch to mispredict
                rows[events] = channel * lanes * 4
                amounts[events] = flat[at]
                events += flat[at] != 0
                at += 1
        first[height * width] = events
        for block in range(out_channels // lanes):
            w, b = weights[block].ctypes.data, bias.ctypes.data + block * lanes * 4
            o = out[n].ctypes.data + block * lanes * 4
            for i in range(out_height):
                for j in range(out_width):
                    last = 0
                    for dy in range(kernel[0]):
                        y = i * stride[0] + dy * dilation[0] - padding[0]
                        if y < 0 or y >= height:
                            continue
                        for dx in range(kernel[1]):
                            x = j * stride[1] + dx * dilation[1] - padding[1]
                            if x < 0 or x >= width:
                                continue
                            place = y * width + x
                            runs[last] = first[place]
                            runs[last + 1] = first[place + 1]
                            runs[last + 2] = (dy * kernel[1] + dx) * channels * lanes * 4
                            last += 3
                    if lanes == 16:
                        add_rows(1, r, last // 3, k, a, w, b, o)
                    elif lanes == 32:
                        add_rows(2, r, last // 3, k, a, w, b, o)
                    else:
                        add_rows(4, r, last // 3, k, a, w, b, o)
                    o += out_channels * 4


def convolve(
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    """A convolution of sparse values, without groups.

    Each output is ``bias + sum of weight * value``, added in the order of taps, then channels,
    rounded after each multiplication and each addition: the same whatever stands beside it in the
    batch, and whatever the number of threads.

    Args:
        values: ``[N, C, H, W]``, mostly zeros.
        weight: ``[C_out, C, kh, kw]``, ``C_out`` a multiple of 16.
        bias: ``[C_out]``.
        stride: of the window.
        padding: zeros on each side.
        dilation: of the window.
    """
    number, channels, height, width = values.shape
    out_channels, _, *kernel = weight.shape
    if out_channels % LANES or weight.shape[1] != channels:
        raise ValueError(f"no event-driven convolution of {channels} with {tuple(weight.shape)}")
    vectors = next(v for v in (_WIDEST, 2, 1) if out_channels % (v * LANES) == 0)
    lanes = vectors * LANES
    taps = kernel[0] * kernel[1]
    rows = weight.permute(2, 3, 1, 0).reshape(taps, channels, out_channels // lanes, lanes)
    out_height, out_width = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip((height, width), kernel, stride, padding, dilation, strict=True)
    )
    out = torch.empty(number, out_height, out_width, out_channels)
    if bias is None:
        bias = torch.zeros(out_channels)
    split(
        _convolve,
        number,
        taps * out_height * out_width * out_channels,
        values.permute(0, 2, 3, 1).contiguous().numpy(),
        rows.permute(2, 0, 1, 3).contiguous().numpy(),
        bias.contiguous().numpy(),
        out.numpy(),
        tuple(kernel),
        stride,
        padding,
        dilation,
    )
    return out.permute(0, 3, 1, 2)

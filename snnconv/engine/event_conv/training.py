"""A convolution of spikes in training: by events, as is the gradient of its weights.

That gradient is :mod:`snnconv.engine.event_conv.scatter` with its operands exchanged: what a spike
would add its weights to is added to its weights, from the gradient of the output. PyTorch computes
the gradient of the input, which is no sparser than that of the output.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory; weights
    ``[C_out, C/groups, kh, kw]``.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnconv.core.jit import compiled, parallel_slices
from snnconv.engine.event_conv.bits import WORD, fired, lowest
from snnconv.engine.event_conv.events import Window, laid_out, operands, reaches
from snnconv.engine.event_conv.scatter import add_run, runs
from snnconv.engine.rows import LANES, Floats, Ints

_PARTS = 16  # of the images, each with sums of its own, at most


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, window: Window, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        return laid_out(weight, bias, window)(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_w, _, of_bias = ctx.needs_input_grad
        w = ctx.window
        rest = (w.stride, w.padding, w.dilation, False, (0, 0), w.groups)
        of_input, _, bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, [len(weight)], *rest, (of_x, False, of_bias)
        )
        return of_input, of_weight(weight.shape, w, x, gradient) if of_w else None, None, bias


def convolve(x: Tensor, weight: Tensor, window: Window, bias: Tensor | None) -> Tensor:
    """PyTorch's ``conv2d``, by events.

    Args:
        x: ``[N, C, H, W]``, mostly zeros.
        weight: ``[C_out, C/groups, kh, kw]``.
        window: of the convolution.
        bias: ``[C_out]``.
    """
    found: Tensor = _Convolve.apply(x, weight, window, bias)
    return found


def of_weight(
    shape: torch.Size,
    window: Window,
    values: Tensor,
    gradient: Tensor,
    partial: int = 1 << 18,
    cached: int = 1 << 16,
) -> Tensor:
    """The gradient of a convolution's weight.

    Images and channels of the input are divided as their shape says, and threads take what was
    divided: the same bits whatever their number. A gradient that is no number reaches the weights
    of what fired, where a dense one reaches all.

    Args:
        shape: of the weight, ``[C_out, C/groups, kh, kw]``.
        window: of the convolution.
        values: ``[N, C, H, W]``, mostly zeros.
        gradient: of the output, ``[N, C_out, H_out, W_out]``.
        partial: floats of the parts' sums, at most; a megabyte.
        cached: floats of weights that stay in the second-level cache.
    """
    outputs, group, *kernel = shape
    groups = window.groups
    size, array, _ = operands(values)
    number, height, width, channels = size
    lanes, taps = outputs // groups, math.prod(kernel)
    depth = min(channels, WORD if taps * lanes * WORD <= cached else LANES)
    parts = max(1, min(number, _PARTS, partial // (channels * taps * lanes)))
    chunks = -(-channels // depth)
    sums = torch.zeros(parts, channels, *kernel, lanes)
    places, below, _ = operands(gradient)
    reached = reaches((height, width), tuple(kernel), window)
    given = (size, array, below.reshape(places), sums.numpy(), *reached, group, depth)
    parallel_slices(add_up, parts * chunks, number * height * width * depth * taps // parts, *given)
    total = sums[0]
    for part in sums[1:]:
        total += part
    found: Tensor = total.unflatten(0, (groups, -1)).permute(0, 4, 1, 2, 3).flip(-2, -1)
    return found.flatten(0, 1)


@compiled
def add_up(
    start: int,
    stop: int,
    shape: tuple[int, int, int, int],
    values: Floats,
    gradient: Floats,
    sums: Floats,
    rows: Ints,
    columns: Ints,
    group: int,
    depth: int,
) -> None:
    """Parts of the images and chunks of ``depth`` channels, numbers ``start`` to ``stop`` of all.

    Shape is ``N, H, W, C``, gradient ``[N, H_out, W_out, C_out]``, sums ``[parts, C, kh, kw,
    C_out/groups]`` with both windows reversed, changed in place; rows, columns and group are those
    of :func:`snnconv.engine.event_conv.scatter.scatter`.
    """
    images, height, width, channels = shape
    _, _, out_width, out_channels = gradient.shape
    parts, _, taps, wide, lanes = sums.shape
    inputs, tall, across = width * channels, wide * lanes, out_width * out_channels
    at = runs(columns, channels, group, out_channels, (taps, wide, lanes))
    below, image = gradient.reshape(-1), gradient[0].size
    chunks = (channels + depth - 1) // depth
    # all channels of a line lie side by side, some of them do so at each place alone
    segments, length = (1, inputs) if chunks == 1 else (width, depth)
    given = values.ctypes.data
    for number in range(start, stop):
        part, chunk = number // chunks, number % chunks
        w = sums[part].reshape(-1)
        for n in range(images * part // parts, images * (part + 1) // parts):
            begin = n * image
            for y in range(height):
                for segment in range(segments):
                    first = segment * channels + chunk * depth
                    last = min(first + length, (segment + 1) * channels if chunks > 1 else inputs)
                    for low in range(first, last, WORD):
                        place = (n * height + y) * inputs + low
                        word = fired(given, place, min(WORD, last - low), False)
                        while word != 0:
                            i = lowest(word)
                            word &= word - 1
                            amount = values[place + i]
                            for j in range(rows.shape[1]):
                                row, dy, lines = rows[y, j]
                                o, v = begin + row * across, dy * tall
                                for c in range(at.shape[1]):
                                    to, of, floats = at[low + i, c]
                                    of_run = (below, o + to, amount, floats, lines, tall, across)
                                    add_run(w, v + of, *of_run)

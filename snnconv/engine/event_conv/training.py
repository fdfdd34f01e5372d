"""A convolution of spikes in training: it goes by events, and so may its weights' gradient.

That gradient is :mod:`snnconv.engine.event_conv.scatter` with its operands exchanged: in the
forward pass a spike adds weights to the output, and here it adds the output's gradient to the
weights. PyTorch computes the gradient of the input, which is as dense as that of the output.

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
from snnconv.engine.event_conv.events import laid_out, operands, reaches
from snnconv.engine.event_conv.scatter import add_run, runs
from snnconv.engine.event_conv.values import Window
from snnconv.engine.rows import LANES, Floats, Ints

_PARTS = 16  # at most so many parts of the images, each with sums of its own


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, window: Window, bias: Tensor | None, sparse: bool
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window, ctx.sparse = window, sparse
        return laid_out(weight, bias, window)(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_w, _, of_bias, _ = ctx.needs_input_grad
        w = ctx.window
        rest = (w.stride, w.padding, w.dilation, False, (0, 0), w.groups)
        dense = of_w and not ctx.sparse
        of_input, of_weights, bias = torch.ops.aten.convolution_backward(
            gradient, x, weight, [len(weight)], *rest, (of_x, dense, of_bias)
        )
        if of_w and ctx.sparse:
            of_weights = of_weight(weight.shape, w, x, gradient)
        return of_input, of_weights, None, bias, None


def convolve(
    x: Tensor, weight: Tensor, window: Window, bias: Tensor | None, sparse: bool = True
) -> Tensor:
    """Compute PyTorch's ``conv2d`` by events, for an input that is mostly zeros.

    ``sparse`` says whether the gradient of the weight goes by events, too.
    """
    found: Tensor = _Convolve.apply(x, weight, window, bias, sparse)
    return found


def of_weight(
    shape: torch.Size,
    window: Window,
    values: Tensor,
    gradient: Tensor,
    partial: int = 1 << 18,
    cached: int = 1 << 16,
) -> Tensor:
    """Return the gradient of a convolution's weight.

    The shape alone decides how images and channels are divided, and threads take these parts, so
    the bits do not depend on the number of threads. A NaN in the output's gradient reaches only the
    weights of inputs that fired; in a dense convolution it reaches all weights.

    Args:
        shape: the weight's shape, ``[C_out, C/groups, kh, kw]``.
        window: the convolution's window.
        values: ``[N, C, H, W]``, mostly zeros.
        gradient: the output's gradient, ``[N, C_out, H_out, W_out]``.
        partial: the most floats that the sums of all parts may have: a megabyte.
        cached: the most floats of weights that stay in the second-level cache.
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
    """Add up numbers ``start`` to ``stop`` of all pairs of a part and a chunk of channels.

    A part is some of the images, a chunk has ``depth`` channels. Shape is ``N, H, W, C``, gradient
    ``[N, H_out, W_out, C_out]``; sums are ``[parts, C, kh, kw, C_out/groups]`` with both windows
    reversed, and changed in place. Rows, columns and group are those of
    :func:`snnconv.engine.event_conv.scatter.scatter`.
    """
    images, height, width, channels = shape
    _, _, out_width, out_channels = gradient.shape
    parts, _, taps, wide, lanes = sums.shape
    inputs, tall, across = width * channels, wide * lanes, out_width * out_channels
    at = runs(columns, channels, group, out_channels, (taps, wide, lanes))
    below, image = gradient.reshape(-1), gradient[0].size
    chunks = (channels + depth - 1) // depth
    # all channels of a line lie side by side; some of the channels do so only within a place
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

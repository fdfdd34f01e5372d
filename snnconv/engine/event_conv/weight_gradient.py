"""The gradient of a convolution's weights, by events: silent inputs have no share in it.

It is :mod:`snnconv.engine.event_conv.scatter` with its operands exchanged: what a spike would add
its weights
to is added to its weights, from the gradient of the output.

Shape:
    ``[N, C, H, W], [N, C_out, H_out, W_out] -> [C_out, C/groups, kh, kw]``, float32; images in
    channels-last memory.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.jit import compiled, parallel_slices
from snnconv.engine.event_conv.bits import WORD, fired, lowest, value
from snnconv.engine.event_conv.events import Window, operands, reaches
from snnconv.engine.event_conv.scatter import add_run, runs
from snnconv.engine.simd import LANES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_PARTS = 16  # of the images, each with sums of its own, at most


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
    inputs, tall = width * channels, wide * lanes * 4
    pixel, across = out_channels * 4, out_width * out_channels * 4
    at = runs(columns, channels, group, pixel, (taps, wide, lanes))
    chunks = (channels + depth - 1) // depth
    # all channels of a line lie side by side, some of them do so at each place alone
    segments, length = (1, inputs) if chunks == 1 else (width, depth)
    given = values.ctypes.data
    for number in range(start, stop):
        part, chunk = number // chunks, number % chunks
        w = sums[part].ctypes.data
        for n in range(images * part // parts, images * (part + 1) // parts):
            begin = gradient[n].ctypes.data
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
                            amount = value(given + (place + i) * 4)
                            for j in range(rows.shape[1]):
                                row, dy, lines = rows[y, j]
                                o, v = begin + row * across, w + dy * tall
                                for c in range(at.shape[1]):
                                    to, of, floats = at[low + i, c]
                                    add_run(v + of, o + to, amount, floats, lines, tall, across)

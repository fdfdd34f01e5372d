"""Event-driven convolution: it adds up the weights of active inputs only.

Silent inputs and padding cost nothing. There are two ways, with the same bits: outputs gather the
active inputs of their window, or active inputs scatter to the outputs that they reach.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory; or packed spikes
    ``[T, B, C, H, W]``, which are ``N = T*B`` images.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.core.jit import Pieces, parallel_for
from snnconv.engine.event_conv.bits import WORD
from snnconv.engine.event_conv.gather import gather
from snnconv.engine.event_conv.grouped_row_sum import WIDEST
from snnconv.engine.event_conv.scatter import arrivals, joined, scatter
from snnconv.engine.event_conv.values import Images, Packed, Pair, Window
from snnconv.engine.rows import LANES, Bytes, Floats, Ints

Operands = tuple[tuple[int, int, int, int], Floats, Bytes]
"""The input of a kernel: ``N, H, W, C``, and as many values, or bits."""

Way = Literal["gather", "scatter"]
"""Whether outputs gather or inputs scatter."""


@dataclass(frozen=True)
class Convolution:
    """A convolution of sparse values, with its weights in the order that its kernel reads.

    Each output is ``bias + sum of weight * value``, added in the order of taps, then channels, and
    rounded after each multiplication and each addition. It does not depend on the other samples of
    the batch, nor on the number of threads.

    Attributes:
        shape: the weight's shape, ``[C_out, C/groups, kh, kw]``.
        window: the convolution's window.
        way: gather or scatter.
        weights: in the order of that way.
        bias: ``[C_out]``.
        packed: whether it takes spikes in bits. Their amplitudes are then in the weights.
    """

    shape: tuple[int, ...]
    window: Window
    way: Way
    weights: Floats
    bias: Floats
    packed: bool = False

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return self.shape[0]

    def places(self, size: Pair) -> Pair:
        """Return ``H, W`` of the output for an input of this ``H, W``."""
        return self.window.places(size, self.shape[2:])

    def __call__(self, values: Tensor | Packed) -> Tensor:
        """Convolve ``[N, C, H, W] -> [N, C_out, H_out, W_out]``."""
        run, given = self._run(values), operands(values)
        number, *size, _ = given[0]
        lines, wide = self.places((size[0], size[1]))
        out = torch.empty(number, lines, wide, self.shape[0])
        array = out.numpy()

        def go(pieces: Pieces) -> None:
            for low, high, top, bottom in line_ranges(pieces, lines, number):
                # images are passed as steps of one sample, because a tile takes many steps
                run(0, 1, top, high - low, array[low:high, top:bottom], part(given, low, high))

        work = self.shape[2] * self.shape[3] * math.prod(out.shape[2:])
        parallel_for(go, number * lines, work, lines)
        return Tensor.permute(out, 0, 3, 1, 2)

    def images(self, values: Tensor | Packed) -> Images:
        """Return the function that computes samples of a batch of ``steps * B`` images.

        See :data:`Images`; its ``out`` is ``[steps*(stop-start), lines, W_out, C_out]``.

        Args:
            values: ``[steps*B, C, H, W]``, mostly zeros, or packed.
        """
        found: Images = self._run(values)
        return found

    def _run(self, values: Tensor | Packed) -> Callable[..., None]:
        """Return the same function, which also takes other images of the same size."""
        assert isinstance(values, Packed) == self.packed  # amplitudes are in the weights, or not
        every = operands(values)
        _, height, width, channels = every[0]
        w, kernel = self.window, (self.shape[2], self.shape[3])
        if channels != self.shape[1] * w.groups:
            raise ValueError(f"{channels} channels for {self.shape} in {w.groups} groups")
        if self.way == "gather":
            how: tuple[Any, ...] = (gather, kernel, w.stride, w.padding, w.dilation)
        else:
            how = (scatter, *reaches((height, width), kernel, w), self.shape[1])

        def run(
            start: int, stop: int, above: int, steps: int, out: Floats, given: Operands = every
        ) -> None:
            how[0](start, stop, above, steps, *given, self.weights, self.bias, out, *how[1:])

        return run


def operands(values: Tensor | Packed) -> Operands:
    """Return what a kernel reads of values ``[N, C, H, W]``, or of packed spikes.

    Raises:
        TypeError: the values are not float32, which kernels read.
    """
    if isinstance(values, Packed):
        T, B, C, H, W = values.shape
        return (T * B, H, W, C), np.empty(0, np.float32), values.bits.reshape(-1)
    if values.dtype is not torch.float32:
        raise TypeError(f"events are float32, and these are {values.dtype}")
    array: Floats = values.detach().permute(0, 2, 3, 1).contiguous().numpy()
    N, H, W, C = array.shape
    return (N, H, W, C), array.reshape(-1), np.empty(0, np.uint8)


def line_ranges(pieces: Pieces, lines: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield ranges ``(first, last, top, bottom)`` of images and of their lines.

    A range of several images contains whole images.

    Args:
        pieces: ranges of lines, counted over all images.
        lines: the number of lines of an image.
        most: the most images in a range.
    """
    for at, stop in pieces:
        while at < stop:
            image, top = divmod(at, lines)
            if top or stop < at + lines:
                bottom = min(lines, top + stop - at)
                yield image, image + 1, top, bottom
                at += bottom - top
            else:
                many = min(most, (stop - at) // lines)
                yield image, image + many, 0, lines
                at += many * lines


def part(given: Operands, start: int, stop: int) -> Operands:
    """Return images ``start`` to ``stop``."""
    (_, H, W, C), values, bits = given
    low, high = start * H * W * C, stop * H * W * C
    return (stop - start, H, W, C), values[low:high], bits[low // 8 : high // 8]


def laid_out(
    weight: Tensor,
    bias: Tensor | None,
    window: Window,
    amplitude: Tensor | None = None,
    way: Way | None = None,
) -> Convolution:
    """Lay out a convolution for events.

    Args:
        weight: ``[C_out, C/groups, kh, kw]``.
        bias: ``[C_out]``.
        window: the convolution's window.
        amplitude: for packed spikes, the value of a bit in each channel, ``[C]``.
        way: gather or scatter; by default the faster one. Outputs can gather only if there is one
            group and the output's channels fill whole vectors.
    """
    groups = window.groups
    if len(weight) % groups:
        raise ValueError(f"no convolution to {len(weight)} channels in {groups} groups")
    way = way or _faster(weight.shape, window)
    if amplitude is not None:  # one multiplication here gives the same bits as one at each spike
        each = amplitude.reshape(groups, 1, -1, 1, 1)
        weight = (weight.unflatten(0, (groups, -1)) * each).flatten(0, 1)
    rows = _tiles(weight) if way == "gather" else _reversed(weight, groups)
    start = torch.zeros(len(weight)) if bias is None else bias
    weights, first = (operand.detach().contiguous().numpy() for operand in (rows, start))
    return Convolution(tuple(weight.shape), window, way, weights, first, amplitude is not None)


def _faster(shape: tuple[int, ...], window: Window) -> Way:
    """Return the way that was measured as faster: gathering pays if many inputs fire together."""
    outputs, inputs = shape[:2]
    if window.groups > 1 or outputs % LANES:
        return "scatter"
    return "gather" if inputs >= 64 or window.stride != (1, 1) else "scatter"


def _tiles(weight: Tensor) -> Tensor:
    """Reorder ``[C_out, C, kh, kw] -> [chunks, taps, blocks, channels, width]``; pad with 0."""
    outputs, channels, *kernel = weight.shape
    width, depth = min(WIDEST * LANES, outputs), min(WORD, channels)
    filled = F.pad(weight, (0, 0, 0, 0, 0, -channels % depth, 0, -outputs % width))
    parts = filled.permute(2, 3, 1, 0).reshape(math.prod(kernel), -1, depth, len(filled))
    tiles: Tensor = parts.unflatten(-1, (-1, width)).permute(3, 0, 1, 2, 4)
    return tiles


def _reversed(weight: Tensor, groups: int) -> Tensor:
    """Reorder ``[C_out, C/groups, kh, kw] -> [C, kh, kw, C_out/groups]``, the last tap first."""
    parts: Tensor = weight.unflatten(0, (groups, -1)).flip(-2, -1)
    return parts.permute(0, 2, 3, 4, 1).flatten(0, 1)


@functools.lru_cache(maxsize=256)
def reaches(size: Pair, kernel: tuple[int, ...], window: Window) -> tuple[Ints, Ints]:
    """Return :func:`.scatter.arrivals` of the rows and columns of an input of this ``H, W``."""
    w, places = window, window.places(size, kernel)
    lines = zip(size, places, kernel, w.stride, w.padding, w.dilation, strict=True)
    rows, columns = (arrivals(*line) for line in lines)
    if w.stride[0] == w.dilation[0] == 1:
        rows = joined(rows)
    if w.stride[1] == w.dilation[1] == w.groups == 1:
        columns = joined(columns)
    return rows, columns

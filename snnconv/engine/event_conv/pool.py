"""Average pools of spikes: what fired is added up where it lies, as values or as bits.

Means are those of PyTorch's ``avg_pool2d``, bit by bit: a window is added up line by line from
zero, and divided once.

Shape:
    ``[N, C, H, W] -> [N, C, H_out, W_out]``, float32 in channels-last memory; or packed spikes
    ``[T, B, C, H, W]``, of ``N = T*B`` images.
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.jit import compiled, parallel_slices
from snnconv.engine.event_conv.bit_spikes import Packed
from snnconv.engine.event_conv.bits import add_where
from snnconv.engine.event_conv.events import operands
from snnconv.engine.simd import LANES, add_multiple
from snnconv.graph.operations.pooling import AvgPool

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Pool:
    """An average pool; as PyTorch's ``avg_pool2d`` has it.

    Attributes:
        kernel: of its windows.
        stride: of its windows.
        padding: zeros on each side.
        ceil: whether a last window may end outside.
        padded: whether zeros of the padding count.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    ceil: bool
    padded: bool

    @classmethod
    def of(cls, attrs: AvgPool) -> "Pool":
        """The pool that a node's attributes describe."""
        kernel, stride, padding = (
            cast("Pair", tuple(each)) for each in (attrs.kernel, attrs.stride, attrs.padding)
        )
        return cls(kernel, stride, padding, attrs.ceil_mode, attrs.count_include_pad)

    def __call__(self, values: Tensor | Packed) -> Tensor:
        """``[N, C, H, W] -> [N, C, H_out, W_out]``."""
        shape, array, bits = operands(values)
        number, *size, channels = shape
        lines = zip(size, self.kernel, self.stride, self.padding, strict=True)
        rows, columns = (windows(*line, self.ceil, self.padded) for line in lines)
        out = torch.empty(number, len(rows), len(columns), channels)
        amplitude = values.amplitude if isinstance(values, Packed) else np.empty(0, np.float32)
        given = (shape, array, bits, amplitude, out.numpy(), rows, columns)
        parallel_slices(pool, number, math.prod(self.kernel) * math.prod(out.shape[1:]), *given)
        return Tensor.permute(out, 0, 3, 1, 2)


def windows(size: int, kernel: int, stride: int, padding: int, ceil: bool, padded: bool) -> Ints:
    """``[out, 3]``: of each window of a line where it begins, where it ends, how much it counts."""
    last = size + 2 * padding - kernel
    out = (last + (stride - 1) * ceil) // stride + 1
    if (out - 1) * stride >= size + padding:  # it would lie in the padding as a whole
        out -= 1
    start = np.arange(out) * stride - padding
    stop = np.minimum(start + kernel, size + padding)
    first, end = np.maximum(start, 0), np.minimum(stop, size)
    return np.stack([first, end, stop - start if padded else end - first], 1).astype(np.int64)


@compiled
def pool(
    start: int,
    stop: int,
    shape: tuple[int, int, int, int],
    values: Floats,
    bits: Bytes,
    amplitude: Floats,
    out: Floats,
    rows: Ints,
    columns: Ints,
) -> None:
    """Images ``start`` to ``stop``.

    Shape is ``N, H, W, C``, of values, or of bits, which stand for amplitudes ``[C]``; out ``[N,
    H_out, W_out, C]``, rows and columns of :func:`windows`.
    """
    _, height, width, channels = shape
    packed = len(bits) > 0
    amounts, given = amplitude.ctypes.data, values.ctypes.data
    fired = bits.ctypes.data
    for n in range(start, stop):
        for i in range(len(rows)):
            top, bottom, tall = rows[i]
            for j in range(len(columns)):
                left, right, wide = columns[j]
                mean = out[n, i, j]
                mean[:] = np.float32(0)
                to = mean.ctypes.data
                for y in range(top, bottom):
                    for x in range(left, right):
                        place = ((n * height + y) * width + x) * channels
                        if not packed:
                            one = np.float32(1)
                            add_multiple(0, to, given + 4 * place, one, channels, 1, 0, 0)
                            continue
                        for channel in range(0, channels, LANES):
                            of = fired + (place + channel) // 8
                            add_where(to + 4 * channel, of, amounts + 4 * channel)
                mean /= np.float32(tall * wide)

"""What is made of packed spikes, compiled: see :mod:`snnconv.engine.packed`.

Shape:
    ``[T, B, C, H, W]`` in channels-last order, C a multiple of :data:`LANES`.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled
from snnconv.engine.bits import add_where
from snnconv.engine.vectors import LANES

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Pair = tuple[int, int]


@compiled
def add_spikes(start: int, stop: int, bits: Bytes, amplitude: Floats, rows: Floats) -> None:
    """Of neurons ``start`` to ``stop`` to ``[T, stop-start]``; both bounds are whole channels."""
    channels = len(amplitude)
    amounts = amplitude.ctypes.data
    for t in range(len(bits)):
        to, fired = rows[t].ctypes.data, bits[t].ctypes.data + start // 8
        for place in range((stop - start) // channels):
            for channel in range(0, channels, LANES):
                i = place * channels + channel
                add_where(to + 4 * i, fired + i // 8, amounts + 4 * channel)


@compiled
def pool_spikes(
    start: int,
    stop: int,
    bits: Bytes,
    amplitude: Floats,
    out: Floats,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    padded: bool,
) -> None:
    """Images ``start`` to ``stop`` of bits ``[N, bytes]`` to out ``[N, H_out, W_out, C]``."""
    height, width = size
    channels = len(amplitude)
    amounts = amplitude.ctypes.data
    for n in range(start, stop):
        image = bits[n].ctypes.data
        for i in range(out.shape[1]):
            top = i * stride[0] - padding[0]
            bottom = min(top + kernel[0], height + padding[0])
            for j in range(out.shape[2]):
                left = j * stride[1] - padding[1]
                right = min(left + kernel[1], width + padding[1])
                mean = out[n, i, j]
                mean[:] = np.float32(0)
                to = mean.ctypes.data
                above, below = max(top, 0), min(bottom, height)
                before, after = max(left, 0), min(right, width)
                for y in range(above, below):
                    for x in range(before, after):
                        place = (y * width + x) * channels
                        for channel in range(0, channels, LANES):
                            fired = image + (place + channel) // 8
                            add_where(to + 4 * channel, fired, amounts + 4 * channel)
                number = (below - above) * (after - before)
                if padded:
                    number = (bottom - top) * (right - left)
                mean /= np.float32(number)

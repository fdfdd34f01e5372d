"""What is made of packed spikes, compiled: see :mod:`snnconv.engine.event_conv.bit_spikes`.

Shape:
    ``[T, B, C, H, W]`` in channels-last order, C a multiple of :data:`LANES`.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled
from snnconv.engine.event_conv.bits import add_where
from snnconv.engine.simd import LANES

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


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

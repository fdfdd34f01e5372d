"""Scattering by places: all that fired at a place of the input adds to what it reaches at once.

As :mod:`snnconv.engine.scatter`, but the sums of up to 64 floats of the output stay in registers
while the weight rows of all events of a place are added: for many channels, of which several fire.
What fires at a place at one step fires there at others, so a place takes all steps together, while
their weights are in the cache.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled
from snnconv.engine.bits import WORD, bits, lowest, value
from snnconv.engine.rows import add_events
from snnconv.engine.vectors import copy

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@compiled
def scatter_places(
    start: int,
    stop: int,
    steps: int,
    values: Floats,
    weights: Floats,
    bias: Floats,
    out: Floats,
    rows: Ints,
    columns: Ints,
) -> None:
    """Samples ``start`` to ``stop`` of each of ``steps`` parts of the batch.

    As :func:`snnconv.engine.scatter.scatter`, in one group, to a multiple of 16 channels.
    """
    height, width, channels = values.shape[1:]
    _, out_width, out_channels = out.shape[1:]
    taps, places = weights.shape[1] * weights.shape[2], out[0].size // out_channels
    # bytes from one place, one line of the output, one line of taps, one step to the next
    pixel = out_channels * 4
    across, tall = out_width * pixel, weights.shape[2] * pixel
    batch, samples = len(values) // steps, stop - start
    before, after = values[0].size * 4 * batch, places * pixel * samples
    offsets, amounts = np.empty(steps * channels, np.int64), np.empty(steps * channels, np.float32)
    ends = np.zeros(steps + 1, np.int64)  # of each step's events
    k, a = offsets.ctypes.data, amounts.ctypes.data
    w, b = weights.ctypes.data, bias.ctypes.data
    for number in range(steps * samples):
        for place in range(places):
            copy(out[number].ctypes.data + place * pixel, b, out_channels)
    for sample in range(samples):
        source, begin = values[start + sample].ctypes.data, out[sample].ctypes.data
        for y in range(height):
            for x in range(width):
                events = 0
                for t in range(steps):
                    at = source + t * before + (y * width + x) * channels * 4
                    for low in range(0, channels, WORD):
                        word = bits(at + low * 4, min(WORD, channels - low))
                        while word != 0:
                            channel = low + lowest(word)
                            word &= word - 1
                            offsets[events] = channel * taps * pixel
                            amounts[events] = value(at + channel * 4)
                            events += 1
                    ends[t + 1] = events
                if events == 0:
                    continue
                for i in range(rows.shape[1]):
                    row, dy, lines = rows[y, i]
                    for j in range(columns.shape[1]):
                        column, dx, tapped = columns[x, j]
                        to = begin + row * across + column * pixel
                        of = w + dy * tall + dx * pixel
                        floats = tapped * out_channels
                        for line in range(lines):
                            for done in range(0, floats, 64):
                                size = min(64, floats - done)
                                here = to + line * across + done * 4
                                there = of + line * tall + done * 4
                                for t in range(steps):
                                    if ends[t] < ends[t + 1]:
                                        goal = here + t * after
                                        add_events(size, ends[t], ends[t + 1], k, a, there, goal)

"""Scattering by places: all that fired at a place of the input adds to what it reaches at once.

As :mod:`snnconv.engine.scatter`, but the sums of up to 64 floats of the output stay in registers
while the weight rows of all events of a place are added: for many channels, of which several fire.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled, inlined
from snnconv.engine.bits import WORD, bits, lowest, value
from snnconv.engine.vectors import add_rows, copy

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@inlined
def add_events(floats: int, run: int, offsets: int, amounts: int, weights: int, out: int) -> None:
    """Add a run of events to so many floats that lie side by side, a multiple of 16."""
    done = 0
    while floats - done >= 64:
        to = out + done * 4
        add_rows(4, run, 1, offsets, amounts, weights + done * 4, to, to)
        done += 64
    to = out + done * 4
    if floats - done >= 48:
        add_rows(3, run, 1, offsets, amounts, weights + done * 4, to, to)
    elif floats - done >= 32:
        add_rows(2, run, 1, offsets, amounts, weights + done * 4, to, to)
    elif floats - done >= 16:
        add_rows(1, run, 1, offsets, amounts, weights + done * 4, to, to)


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
    # bytes from one place, one line of the output, one line of taps to the next
    pixel = out_channels * 4
    across, tall = out_width * pixel, weights.shape[2] * pixel
    offsets, amounts = np.empty(channels, np.int64), np.empty(channels, np.float32)
    run = np.zeros(3, np.int64)
    r, k, a = run.ctypes.data, offsets.ctypes.data, amounts.ctypes.data
    w, b = weights.ctypes.data, bias.ctypes.data
    batch, samples = len(values) // steps, stop - start
    for number in range(steps * samples):
        at = values[number // samples * batch + start + number % samples].ctypes.data
        begin = out[number].ctypes.data
        for place in range(places):
            copy(begin + place * pixel, b, out_channels)
        for y in range(height):
            for x in range(width):
                events = 0
                for low in range(0, channels, WORD):
                    word = bits(at + low * 4, min(WORD, channels - low))
                    while word != 0:
                        channel = low + lowest(word)
                        word &= word - 1
                        offsets[events] = channel * taps * pixel
                        amounts[events] = value(at + channel * 4)
                        events += 1
                at += channels * 4
                if events == 0:
                    continue
                run[1] = events
                for i in range(rows.shape[1]):
                    row, dy, lines = rows[y, i]
                    for j in range(columns.shape[1]):
                        column, dx, tapped = columns[x, j]
                        to = begin + row * across + column * pixel
                        of = w + dy * tall + dx * pixel
                        for line in range(lines):
                            floats = tapped * out_channels
                            add_events(floats, r, k, a, of + line * tall, to + line * across)

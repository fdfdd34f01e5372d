"""Event-driven convolution by inputs: a spike adds its weights to all outputs that it reaches.

Outputs that lie side by side have weights that lie side by side, so a spike costs one run of
additions for each row of its window.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

import numpy as np

from snnconv.core.jit import compiled, inlined
from snnconv.engine.event_conv.bits import WORD, fired, lowest
from snnconv.engine.rows import LANES, Bytes, Floats, Ints, Place, add_multiple, copy


@compiled
def scatter(
    start: int,
    stop: int,
    above: int,
    steps: int,
    shape: tuple[int, int, int, int],
    values: Floats,
    bits: Bytes,
    weights: Floats,
    bias: Floats,
    out: Floats,
    rows: Ints,
    columns: Ints,
    group: int,
) -> None:
    """Compute samples ``start`` to ``stop`` at each of ``steps`` steps.

    Shape is ``steps*B, H, W, C``, the shape of values, or of bits, which stand for ones. Weights
    are ``[C, kh, kw, C_out/groups]`` with both windows reversed. Out is ``[steps*(stop-start),
    lines, W_out, C_out]``: some lines of the output, with ``above`` lines above them. Rows ``[H, kh
    or 1, 3]`` and columns ``[W, kw or 1, 3]`` are those of :func:`arrivals`, and ``group`` is the
    number of channels of a group.
    """
    images, height, width, channels = shape
    own = within(rows, above, above + out.shape[1])
    _, out_width, out_channels = out.shape[1:]
    _, taps, wide, lanes = weights.shape
    places, inputs = out[0].size // out_channels, width * channels
    tall, across = wide * lanes, out_width * out_channels  # from a row to the next
    at = runs(columns, channels, group, out_channels, (taps, wide, lanes))
    single = at.shape[1] == 1 and own.shape[1] == 1  # all that an input reaches lies side by side
    w, o = weights.reshape(-1), out.reshape(-1)
    batch, samples = images // steps, stop - start
    packed = len(bits) > 0
    given = bits.ctypes.data if packed else values.ctypes.data
    for k in range(steps * samples):
        n = k // samples * batch + start + k % samples
        begin = k * places * out_channels
        for place in range(places):
            copy(o, Place(begin + place * out_channels), bias, Place(0), Place(out_channels))
        for y in range(height):
            if own[y, :, 2].sum() == 0:  # it reaches none of these lines
                continue
            line = (n * height + y) * inputs
            row, dy, lines = own[y, 0]
            top, tap = begin + row * across, dy * tall
            for low in range(0, inputs, WORD):
                word = fired(given, line + low, min(WORD, inputs - low), packed)
                while word != 0:
                    i = low + lowest(word)
                    word &= word - 1
                    amount = np.float32(1) if packed else values[Place(line + i)]
                    if single:
                        to, of, floats = at[i, 0]
                        add_run(o, top + to, w, tap + of, amount, floats, lines, across, tall)
                        continue
                    for j in range(own.shape[1]):
                        row, dy, lines = own[y, j]
                        a, b = begin + row * across, dy * tall
                        for c in range(at.shape[1]):
                            to, of, floats = at[i, c]
                            add_run(o, a + to, w, b + of, amount, floats, lines, across, tall)


@inlined
def runs(columns: Ints, channels: int, group: int, pixel: int, tile: tuple[int, int, int]) -> Ints:
    """Return ``[W*C, kw or 1, 3]``: three numbers for each run of an input's window in a line.

    They are where the run begins in the output's line, where it begins in the weights, and its
    number of floats. Columns are those of :func:`arrivals`, ``pixel`` is the number of floats of a
    place of the output, and ``tile`` is ``kh, kw, C_out/groups``.
    """
    tall, wide, lanes = tile
    found = np.empty((len(columns) * channels, columns.shape[1], 3), np.int64)
    for x in range(len(columns)):
        for channel in range(channels):
            for c in range(columns.shape[1]):
                column, dx, taps = columns[x, c]
                run = found[x * channels + channel, c]
                run[0] = column * pixel + channel // group * lanes
                run[1] = (channel * tall * wide + dx) * lanes
                run[2] = taps * lanes
    return found


@inlined
def add_run(
    out: Floats,
    to: int,
    rows: Floats,
    of: int,
    amount: np.float32,
    floats: int,
    lines: int,
    across: int,
    tall: int,
) -> None:
    """Add a multiple of some lines to others, whose starts are ``tall`` and ``across`` apart."""
    for line in range(lines):
        a, b = Place(to + line * across), Place(of + line * tall)
        if floats == 3 * LANES:  # three taps of 16 channels, or of 32: LLVM unrolls the loop
            add_multiple(out, a, rows, b, amount, Place(3 * LANES))
        elif floats == 6 * LANES:
            add_multiple(out, a, rows, b, amount, Place(6 * LANES))
        else:
            add_multiple(out, a, rows, b, amount, Place(floats))


@inlined
def within(lists: Ints, start: int, stop: int) -> Ints:
    """Return the lists of :func:`arrivals` for outputs ``start`` to ``stop``, from ``start``."""
    found = np.zeros_like(lists)
    for i in range(lists.shape[0]):
        for j in range(lists.shape[1]):
            place, tap, taps = lists[i, j]
            first, last = max(place, start), min(place + taps, stop)
            if first < last:
                found[i, j, 0] = first - start
                found[i, j, 1] = tap + first - place
                found[i, j, 2] = last - first
    return found


def arrivals(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Ints:
    """Return ``[size, kernel, 3]``: the outputs that each input of a line reaches.

    The three numbers are the output, the tap, and the number of taps, 0 behind the end of a list.
    Taps are counted from the last one, so that they rise with the outputs.
    """
    found = np.zeros((size, kernel, 3), np.int64)
    for place in range(size):
        last = 0
        for tap in range(kernel):
            to, rest = divmod(place + padding - (kernel - 1 - tap) * dilation, stride)
            if rest == 0 and 0 <= to < out:
                found[place, last] = to, tap, 1
                last += 1
    return found


def joined(lists: Ints) -> Ints:
    """Return ``[size, 1, 3]``: :func:`arrivals` if an input's outputs lie side by side."""
    runs = lists[:, :1].copy()
    runs[:, 0, 2] = lists[:, :, 2].sum(1)
    return runs

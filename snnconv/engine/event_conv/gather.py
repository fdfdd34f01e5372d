"""Event-driven convolution by outputs: each gathers the active inputs of its window.

Weights are cut into tiles of one tap, 64 input channels and 64 output channels, which fit into the
first-level cache. A place that is active at one step is active at others, so a tile takes all steps
of a few places of the output, whose sums are in that cache as well.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled, inlined
from snnconv.engine.event_conv.bits import WORD, fired, lowest, number
from snnconv.engine.event_conv.grouped_row_sum import SIZES, add_groups
from snnconv.engine.rows import LANES, Bytes, Floats, Ints, Place, copy

Shorts = NDArray[np.uint16]
Pair = tuple[int, int]

STEPS = 32  # at once: of 64 channels they are 8 KB of sums
_SUMS = 2 * STEPS * WORD  # at once, of some places
SCRATCH = 1 << 25  # bytes of all lists: of windows as wide as they get, these are fewer steps
_LISTED = 1 << 18  # bytes of the lists of some lines of the output, a fifth of all firing


@inlined
def enlist(
    word: int,
    packed: bool,
    values: Floats,
    first_value: int,
    to: int,
    row: int,
    numbers: Ints,
    groups: Shorts,
    rows: Shorts,
    amounts: Floats,
) -> None:
    """Put what fired at a place, of up to a word of channels, on its lists.

    The first value is that of the word's first channel; bits have none, and stand for ones. To is
    the byte of the step's sums, row the bytes of a row of weights; numbers count groups of each
    size, and events. Groups are made from the largest to the smallest, so channels stay in their
    order. No branch asks what would often be guessed wrong: a group is written in any case, and
    counted if it is there.
    """
    many, first = number(word), numbers[4]
    event = first
    while word != 0:
        for i in range(8):
            channel = lowest(word) % WORD
            word &= word - 1
            rows[event + i] = channel * row
            if not packed:
                amounts[event + i] = values[first_value + channel]
        event += 8
    for i in range(max(1, many >> 3)):
        groups[0, numbers[0] + i, 0] = to
        groups[0, numbers[0] + i, 1] = first + i * 8
    for k in range(1, 4):
        groups[k, numbers[k], 0] = to
        groups[k, numbers[k], 1] = first + (many >> (4 - k) << (4 - k))
    numbers[0] += many >> 3
    numbers[1] += many >> 2 & 1
    numbers[2] += many >> 1 & 1
    numbers[3] += many & 1
    numbers[4] = first + many


@inlined
def enlist_line(
    values: Floats,
    given: int,
    packed: bool,
    line: int,
    after: int,
    steps: int,
    wanted: NDArray[np.bool_],
    channels: int,
    depth: int,
    row: int,
    numbers: Ints,
    groups: Shorts,
    rows: Shorts,
    amounts: Floats,
) -> None:
    """List a line of the input, whose lists lie one behind the other, step by step as it lies.

    Given is the address of all values, or of their bits; line is the first step's first value,
    after how many there are to the next step's.
    """
    blocks = (channels + depth - 1) // depth
    numbers[:] = 0
    for t in range(steps):
        for x in range(len(wanted)):
            if wanted[x]:
                for block in range(blocks):
                    k, low = x * blocks + block, block * depth
                    place = line + t * after + x * channels + low
                    word = fired(given, place, min(depth, channels - low), packed)
                    lists = (numbers[k], groups[k], rows[k], amounts[k])
                    enlist(word, packed, values, place, t * row, row, *lists)


@inlined
def seen(
    size: int, first: int, out: int, kernel: int, stride: int, padding: int, dilation: int
) -> Ints:
    """``[out, kernel]``: the input that each output from the first on looks at, or -1."""
    found = np.empty((out, kernel), np.int64)
    for place in range(out):
        for tap in range(kernel):
            at = (first + place) * stride + tap * dilation - padding
            found[place, tap] = at if 0 <= at < size else -1
    return found


@inlined
def lists_at_once(steps: int, lists: int, depth: int) -> int:
    """Steps at once, as many as go into :data:`SCRATCH`, if all channels fired."""
    each = lists * (depth * 6 + (depth // 8 + 1) * 16)
    return max(1, min(steps, STEPS, SCRATCH // each))


@inlined
def among(places: Ints, size: int) -> NDArray[np.bool_]:
    """``[size]``: which inputs of a line are looked at."""
    found = np.zeros(size, np.bool_)
    for at in places.flat:
        if at >= 0:
            found[at] = True
    return found


@inlined
def spread(
    out: Floats, to: int, apart: int, times: int, rows: Floats, of: int, after: int, floats: int
) -> None:
    """Copy some times, to places so far apart, from places so far apart."""
    for k in range(times):
        copy(out, Place(to + k * apart), rows, Place(of + k * after), Place(floats))


@inlined
def empty_lists(
    number: int, steps: int, depth: int, packed: bool
) -> tuple[Ints, Shorts, Shorts, Floats]:
    """Of so many places and words of channels: numbers, groups, rows, and amounts of values."""
    groups, most = steps * (depth // 8 + 1) + 1, steps * depth + SIZES[0]
    return (
        np.empty((number, len(SIZES) + 1), np.int64),
        np.empty((number, len(SIZES), groups, 2), np.uint16),
        np.empty((number, most), np.uint16),
        np.empty((number, 1 if packed else most), np.float32),
    )


@inlined
def add_listed(
    packed: bool,
    vectors: int,
    numbers: Ints,
    groups: Shorts,
    rows: Shorts,
    amounts: Floats,
    weights: int,
    out: int,
) -> None:
    """Add the rows on the lists of a place; weights and out are addresses."""
    n, g, r, a = numbers.ctypes.data, groups.ctypes.data, rows.ctypes.data, amounts.ctypes.data
    if packed:
        add_groups(1, vectors, n, g, groups.strides[0], r, a, weights, out)
    else:
        add_groups(0, vectors, n, g, groups.strides[0], r, a, weights, out)


@compiled
def gather(
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
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """Samples ``start`` to ``stop`` of each of ``steps`` parts of the batch.

    Shape is ``steps*B, H, W, C``, of values, or of bits, which stand for ones; weights ``[chunks,
    taps, blocks, channels, width]``: tiles, out ``[steps*(stop-start), lines, W_out, C_out]``: so
    many lines of the output, the first of which has ``above`` above it.
    """
    images, height, width, channels = shape
    out_height, out_width, out_channels = out.shape[1:]
    chunks, _, blocks, depth, lanes = weights.shape
    row, tile = lanes * 4, depth * lanes * 4  # bytes
    batch, samples = images // steps, stop - start
    image, after = height * width * channels, out[0].size * samples
    least = (kernel[0] - 1) * dilation[0] + 1  # lines under a window
    at_once = lists_at_once(steps, least * width * blocks, depth)
    abreast = max(1, min(out_width, _SUMS // (at_once * lanes)))  # places of the output
    listed = width * channels * at_once * 6 // 5 * stride[0]  # bytes of a line's lists
    band = 1 if chunks == 1 else max(1, min(out_height, _LISTED // listed))
    lines = min(height, (band - 1) * stride[0] + least)  # listed
    packed = len(bits) > 0
    given = bits.ctypes.data if packed else values.ctypes.data
    numbers, groups, rows, amounts = empty_lists(lines * width * blocks, at_once, depth, packed)
    sums, holds = np.empty((abreast, at_once, lanes), np.float32), np.empty(lines, np.int64)
    w, total = weights.ctypes.data, sums.ctypes.data
    added, goal = sums.reshape(-1), out.reshape(-1)
    ys = seen(height, above, out_height, kernel[0], stride[0], padding[0], dilation[0])
    xs = seen(width, 0, out_width, kernel[1], stride[1], padding[1], dilation[1])
    wanted = among(xs, width)
    for part in range(samples * ((steps + at_once - 1) // at_once)):
        sample, begin = part % samples, part // samples * at_once
        now = min(at_once, steps - begin)
        first = (begin * batch + start + sample) * image
        first_out = (begin * samples + sample) * out[0].size
        holds[:] = -1  # which line of the input
        for top in range(0, out_height, band):
            bottom = min(top + band, out_height)
            for y in ys[top:bottom].flat:
                if y >= 0 and holds[y % lines] != y:
                    holds[y % lines] = y
                    own = slice(y % lines * width * blocks, (y % lines + 1) * width * blocks)
                    enlist_line(
                        values,
                        given,
                        packed,
                        int(first + y * width * channels),
                        image * batch,
                        now,
                        wanted,
                        channels,
                        depth,
                        row,
                        numbers[own],
                        groups[own],
                        rows[own],
                        amounts[own],
                    )
            for chunk in range(chunks):
                floats = min(lanes, out_channels - chunk * lanes)
                for i in range(top, bottom):
                    for left in range(0, out_width, abreast):
                        size = min(abreast, out_width - left)
                        spread(added, 0, lanes, size * at_once, bias, chunk * lanes, 0, floats)
                        for tap in range(kernel[0] * kernel[1]):
                            y, dx = ys[i, tap // kernel[1]], tap % kernel[1]
                            by = w + (chunk * kernel[0] * kernel[1] + tap) * blocks * tile
                            for block in range(blocks):
                                for j in range(size):
                                    x = xs[left + j, dx]
                                    if x < 0 or y < 0:
                                        continue
                                    k = (y % lines * width + x) * blocks + block
                                    lists = (numbers[k], groups[k], rows[k], amounts[k])
                                    to = (by + block * tile, total + j * at_once * row)
                                    add_listed(packed, floats // LANES, *lists, *to)
                        for j in range(size):
                            place = (i * out_width + left + j) * out_channels + chunk * lanes
                            given_back = (goal, first_out + place, after, now)
                            spread(*given_back, added, j * at_once * lanes, lanes, floats)

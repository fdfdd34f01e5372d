"""Event-driven convolution by outputs: each gathers the active inputs of its window.

Weights are cut into tiles of one tap, 64 input channels and 64 output channels, which fit into the
first-level cache. A place that is active at one step is often active at others, so a tile takes all
steps of a few places of the output, whose sums are in that cache, too.

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

Lists = tuple[Ints, Shorts, Shorts, Floats]
"""What fired at one place or at several: how many groups there are of each size, and how many
events; the groups; and the events' rows and amounts. See :mod:`.grouped_row_sum`."""

STEPS = 32  # the most steps at once: with 64 channels they have 8 KB of sums
_SUMS = 2 * STEPS * WORD  # the most sums at once, for some places of the output
SCRATCH = 1 << 25  # the most bytes of all lists; very wide windows take fewer steps at once
_LISTED = 1 << 18  # bytes of the lists for some lines of the output, if a fifth of inputs fires


@inlined
def enlist(
    word: int,
    packed: bool,
    values: Floats,
    first_value: int,
    to: int,
    row: int,
    lists: Lists,
) -> None:
    """Put the channels that fired at a place, of up to a word of them, on its lists.

    ``first_value`` is the place of the word's first channel among the values; bits have no values,
    and stand for ones. ``to`` is the byte of the step's sums, and ``row`` the number of bytes of a
    row of weights. Groups are made from the largest to the smallest, so channels stay in their
    order. A branch would often be predicted wrong, so a group is written in any case, and counted
    only if it is there.
    """
    numbers, groups, rows, amounts = lists
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
    source: tuple[Floats, int, bool],
    line: int,
    after: int,
    steps: int,
    wanted: NDArray[np.bool_],
    channels: int,
    depth: int,
    row: int,
    lists: Lists,
) -> None:
    """Fill the lists of a line of the input, which lie one behind the other, step by step.

    ``source`` is all values, the address of them or of their bits, and whether they are bits.
    ``line`` is the line's first value at the first step, and ``after`` the number of values from
    there to the next step.
    """
    (values, given, packed), (numbers, groups, rows, amounts) = source, lists
    blocks = (channels + depth - 1) // depth
    numbers[:] = 0
    for t in range(steps):
        for x in range(len(wanted)):
            if wanted[x]:
                for block in range(blocks):
                    k, low = x * blocks + block, block * depth
                    place = line + t * after + x * channels + low
                    word = fired(given, place, min(depth, channels - low), packed)
                    own = (numbers[k], groups[k], rows[k], amounts[k])
                    enlist(word, packed, values, place, t * row, row, own)


@inlined
def seen(
    size: int, first: int, out: int, kernel: int, stride: int, padding: int, dilation: int
) -> Ints:
    """Return ``[out, kernel]``: the input that each tap reads, for outputs from ``first`` on."""
    found = np.empty((out, kernel), np.int64)
    for place in range(out):
        for tap in range(kernel):
            at = (first + place) * stride + tap * dilation - padding
            found[place, tap] = at if 0 <= at < size else -1
    return found


@inlined
def lists_at_once(steps: int, lists: int, depth: int) -> int:
    """Return how many steps' lists fit into :data:`SCRATCH` if all channels fire."""
    each = lists * (depth * 6 + (depth // 8 + 1) * 16)
    return max(1, min(steps, STEPS, SCRATCH // each))


@inlined
def among(places: Ints, size: int) -> NDArray[np.bool_]:
    """Return ``[size]``: which inputs of a line are read."""
    found = np.zeros(size, np.bool_)
    for at in places.flat:
        if at >= 0:
            found[at] = True
    return found


@inlined
def spread(
    out: Floats, to: int, apart: int, times: int, rows: Floats, of: int, after: int, floats: int
) -> None:
    """Copy ``floats`` numbers ``times`` times; ``apart`` and ``after`` lie between the starts."""
    for k in range(times):
        copy(out, Place(to + k * apart), rows, Place(of + k * after), Place(floats))


@inlined
def empty_lists(number: int, steps: int, depth: int, packed: bool) -> Lists:
    """Return lists for so many places and words of channels."""
    groups, most = steps * (depth // 8 + 1) + 1, steps * depth + SIZES[0]
    return (
        np.empty((number, len(SIZES) + 1), np.int64),
        np.empty((number, len(SIZES), groups, 2), np.uint16),
        np.empty((number, most), np.uint16),
        np.empty((number, 1 if packed else most), np.float32),
    )


@inlined
def add_listed(packed: bool, vectors: int, lists: Lists, weights: int, out: int) -> None:
    """Add the rows on the lists of a place; weights and out are addresses."""
    numbers, groups, rows, amounts = lists
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
    """Compute samples ``start`` to ``stop`` at each of ``steps`` steps.

    Shape is ``steps*B, H, W, C``, the shape of values, or of bits, which stand for ones. Weights
    are tiles, ``[chunks, taps, blocks, channels, width]``. Out is ``[steps*(stop-start), lines,
    W_out, C_out]``: some lines of the output, with ``above`` lines above them.
    """
    images, height, width, channels = shape
    out_height, out_width, out_channels = out.shape[1:]
    chunks, _, blocks, depth, lanes = weights.shape
    row, tile = lanes * 4, depth * lanes * 4  # bytes
    batch, samples = images // steps, stop - start
    image, after = height * width * channels, out[0].size * samples
    least = (kernel[0] - 1) * dilation[0] + 1  # lines that a window covers
    at_once = lists_at_once(steps, least * width * blocks, depth)
    abreast = max(1, min(out_width, _SUMS // (at_once * lanes)))  # places of the output
    listed = width * channels * at_once * 6 // 5 * stride[0]  # bytes of a line's lists
    band = 1 if chunks == 1 else max(1, min(out_height, _LISTED // listed))
    lines = min(height, (band - 1) * stride[0] + least)  # whose lists are held
    packed = len(bits) > 0
    source = (values, bits.ctypes.data if packed else values.ctypes.data, packed)
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
        holds[:] = -1  # the line of the input whose lists are held
        for top in range(0, out_height, band):
            bottom = min(top + band, out_height)
            for y in ys[top:bottom].flat:
                if y >= 0 and holds[y % lines] != y:
                    holds[y % lines] = y
                    own = slice(y % lines * width * blocks, (y % lines + 1) * width * blocks)
                    lists = (numbers[own], groups[own], rows[own], amounts[own])
                    line, apart = int(first + y * width * channels), image * batch
                    enlist_line(source, line, apart, now, wanted, channels, depth, row, lists)
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
                                    add_listed(packed, floats // LANES, lists, *to)
                        for j in range(size):
                            place = (i * out_width + left + j) * out_channels + chunk * lanes
                            given_back = (goal, first_out + place, after, now)
                            spread(*given_back, added, j * at_once * lanes, lanes, floats)

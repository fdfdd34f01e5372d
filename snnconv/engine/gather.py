"""Event-driven convolution, seen from the output: sums stay in registers until all are in.

For each place of the output and each block of output channels, the weight rows of the inputs that
fired within its window are added up.

Shape:
    ``[N, C, H, W] -> [N, C_out, H_out, W_out]``, float32, in channels-last memory.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled
from snnconv.engine.bits import WORD, bits, lowest, value
from snnconv.engine.rows import add_rows

Floats = NDArray[np.float32]
Pair = tuple[int, int]


@compiled
def gather(
    start: int,
    stop: int,
    steps: int,
    values: Floats,
    weights: Floats,
    bias: Floats,
    out: Floats,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """Samples ``start`` to ``stop`` of each of ``steps`` parts of the batch.

    Values ``[steps*B, H, W, C]``, weights ``[blocks, taps, C, width]``, out ``[steps*(stop-start),
    H_out, W_out, C_out]``.
    """
    height, width, channels = values.shape[1:]
    out_height, out_width, out_channels = out.shape[1:]
    lanes = weights.shape[3]
    inputs = height * width * channels
    rows, amounts = np.empty(inputs, np.int64), np.empty(inputs, np.float32)
    first = np.empty(height * width + 1, np.int64)
    tap = channels * lanes * 4  # bytes of the weights of one
    step = kernel[1] if dilation[1] == 1 else 1  # places side by side have taps side by side
    runs = np.empty(3 * kernel[0] * kernel[1], np.int64)
    r, k, a = runs.ctypes.data, rows.ctypes.data, amounts.ctypes.data
    batch, samples = len(values) // steps, stop - start
    for number in range(steps * samples):
        n = number // samples * batch + start + number % samples
        events, image = 0, values[n].ctypes.data
        for place in range(height * width):
            first[place] = events
            at, across = image + place * channels * 4, place % width * tap
            for low in range(0, channels, WORD):
                word = bits(at + low * 4, min(WORD, channels - low))
                while word != 0:
                    channel = low + lowest(word)
                    word &= word - 1
                    rows[events] = across + channel * lanes * 4
                    amounts[events] = value(at + channel * 4)
                    events += 1
        first[height * width] = events
        for block in range(out_channels // lanes):
            w, b = weights[block].ctypes.data, bias.ctypes.data + block * lanes * 4
            o = out[number].ctypes.data + block * lanes * 4
            for i in range(out_height):
                for j in range(out_width):
                    last = 0
                    for dy in range(kernel[0]):
                        y = i * stride[0] + dy * dilation[0] - padding[0]
                        if y < 0 or y >= height:
                            continue
                        for dx in range(0, kernel[1], step):
                            x = j * stride[1] + dx * dilation[1] - padding[1]
                            left, right = max(x, 0), min(x + step, width)
                            if left >= right:
                                continue
                            runs[last] = first[y * width + left]
                            runs[last + 1] = first[y * width + right]
                            runs[last + 2] = (dy * kernel[1] + dx - x) * tap
                            last += 3
                    if lanes == 16:
                        add_rows(1, r, last // 3, k, a, w, b, o)
                    elif lanes == 32:
                        add_rows(2, r, last // 3, k, a, w, b, o)
                    else:
                        add_rows(4, r, last // 3, k, a, w, b, o)
                    o += out_channels * 4

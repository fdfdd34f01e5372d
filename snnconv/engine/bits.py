"""What fired, as the bits of a word: whoever wants to know looks at what fired alone.

Shape:
    Addresses of contiguous float32 memory; nothing is checked here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import inlined
from snnconv.engine.vectors import WORD, lowest, nonzero, value


@inlined
def bits(address: int, count: int) -> int:
    """As :func:`nonzero`, of fewer values than a word has bits."""
    if count == WORD:
        found: int = nonzero(address)
        return found
    word: Any = 0
    for i in range(count):
        word |= np.int64(value(address + 4 * i) != 0) << i
    return int(word)


@inlined
def listed(address: int, count: int, found: NDArray[np.int64]) -> int:
    """Write down which of ``count`` values are not zero, and return how many."""
    last = 0
    for block in range(0, count, WORD):
        word = bits(address + 4 * block, min(WORD, count - block))
        while word != 0:
            found[last] = block + lowest(word)
            last += 1
            word &= word - 1
    return last

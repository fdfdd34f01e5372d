"""What fired, as the bits of a word: whoever wants to know looks at what fired alone.

Shape:
    Addresses of contiguous float32 memory; nothing is checked here.
"""

import numpy as np

from snnconv.compiled import inlined
from snnconv.engine.vectors import WORD, nonzero, value


@inlined
def bits(address: int, count: int) -> int:
    """As :func:`nonzero`, of fewer values than a word has bits."""
    if count == WORD:
        return nonzero(address)
    word = 0
    for i in range(count):
        word |= np.int64(value(address + 4 * i) != 0) << i
    return word

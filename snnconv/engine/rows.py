"""Rows of float32 in compiled code: multiples that are added to each other, and new memory.

LLVM makes vectors of these loops. It compares no addresses before them, since it is told that the
arrays of an inlined function do not overlap (:func:`snnconv.core.jit.inlined`), and places count
from 0 up, so none of them is looked at for its sign.

Shape:
    Rows are parts of arrays ``[n]``, and begin at a place of them.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import inlined

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Place = np.uint64

LANES = 16  # of a vector: one register of AVX-512, two of AVX2, four of NEON


@inlined
def add_multiple(
    out: Floats, to: Place, rows: Floats, of: Place, amount: np.float32, n: Place
) -> None:
    """``out += amount * row``, of n numbers."""
    for i in range(n):
        out[to + i] += amount * rows[of + i]


@inlined
def copy(out: Floats, to: Place, rows: Floats, of: Place, n: Place) -> None:
    """``out = row``, of n numbers."""
    for i in range(n):
        out[to + i] = rows[of + i]


@inlined
def zeros(rows: int, columns: int) -> Floats:
    """A new matrix of zeros that begins where a line of the cache does."""
    memory = np.zeros(rows * columns + LANES, np.float32)
    first = (LANES - memory.ctypes.data // 4 % LANES) % LANES
    return memory[first : first + rows * columns].reshape((rows, columns))

"""Operations on rows of float32 in compiled code.

LLVM vectorises these loops. It compares no addresses before them, because arrays of an inlined
function do not overlap (:func:`snnconv.core.jit.inlined`), and it checks no sign of a place,
because places are unsigned.

Shape:
    Rows are parts of arrays ``[n]``. Each begins at a place of its array.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import inlined

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Arrays = tuple[Floats, ...]
Place = np.uint64

LANES = 16  # numbers in a vector: one register of AVX-512, two of AVX2, four of NEON


@inlined
def add_multiple(
    out: Floats, to: Place, rows: Floats, of: Place, amount: np.float32, n: Place
) -> None:
    """Add a multiple: ``out += amount * row``, for n numbers."""
    for i in range(n):
        out[to + i] += amount * rows[of + i]


@inlined
def copy(out: Floats, to: Place, rows: Floats, of: Place, n: Place) -> None:
    """Copy ``out = row``, for n numbers."""
    for i in range(n):
        out[to + i] = rows[of + i]


@inlined
def zeros(rows: int, columns: int) -> Floats:
    """Return a new matrix of zeros that starts at a line of the cache."""
    memory = np.zeros(rows * columns + LANES, np.float32)
    first = (LANES - memory.ctypes.data // 4 % LANES) % LANES
    return memory[first : first + rows * columns].reshape((rows, columns))

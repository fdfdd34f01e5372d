"""Scans over time for training, compiled: potentials are kept, and gradients go back through them.

Operations are those of :mod:`snnconv.engine.fused`, in the same order.

Shape:
    Currents ``[1 or T, n]``, keep ``[T, n]`` or none, theta and potential ``[n]``, all else
    ``[T, n]``, float32 and contiguous. What is computed is written in place.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled
from snnconv.engine.vectors import copy

Floats = NDArray[np.float32]

_BLOCK = 512  # neurons: seven arrays of them fit into the smallest first-level cache

_0, _1 = np.float32(0), np.float32(1)


@compiled
def forth_if(
    start: int,
    stop: int,
    currents: Floats,
    keep: Floats | None,
    theta: Floats,
    potential: Floats,
    befores: Floats,
    counts: Floats,
    values: Floats,
) -> None:
    """IF neurons ``start`` to ``stop``; befores are their potentials before firing."""
    work = np.empty(6 * _BLOCK, np.float32)
    at = work.ctypes.data
    c, v, th, s, x, b = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK, 5 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(at + 4 * v, potential.ctypes.data + 4 * low, n)
        copy(at + 4 * th, theta.ctypes.data + 4 * low, n)
        for t in range(len(counts)):
            row = t if len(currents) > 1 else 0
            copy(at + 4 * c, currents[row].ctypes.data + 4 * low, n)
            for i in range(n):
                before = work[v + i] + work[c + i]
                fired = _1 if before >= work[th + i] else _0
                work[b + i] = before
                work[s + i] = fired
            if keep is not None:
                copy(at + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
            for i in range(n):
                work[x + i] = work[s + i] * work[th + i]
                work[v + i] = work[b + i] - work[x + i]
            copy(befores[t].ctypes.data + 4 * low, at + 4 * b, n)
            copy(counts[t].ctypes.data + 4 * low, at + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, at + 4 * x, n)
        copy(potential.ctypes.data + 4 * low, at + 4 * v, n)


@compiled
def back_if(
    start: int,
    stop: int,
    befores: Floats,
    keep: Floats | None,
    theta: Floats,
    of_counts: Floats | None,
    of_values: Floats | None,
    later: Floats,
    gradient: Floats,
) -> None:
    """Gradients by the currents of IF neurons ``start`` to ``stop``.

    ``later [n]`` holds the gradient by the potential after the last step.
    """
    work = np.empty(5 * _BLOCK, np.float32)
    at = work.ctypes.data
    b, th, g, r, o = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(at + 4 * th, theta.ctypes.data + 4 * low, n)
        copy(at + 4 * g, later.ctypes.data + 4 * low, n)
        for k in range(len(befores)):
            t = len(befores) - 1 - k
            copy(at + 4 * b, befores[t].ctypes.data + 4 * low, n)
            if of_values is not None:
                copy(at + 4 * o, of_values[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[r + i] = (work[o + i] - work[g + i]) * work[th + i]
            else:
                for i in range(n):
                    work[r + i] = -work[g + i] * work[th + i]
            if of_counts is not None:
                copy(at + 4 * o, of_counts[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[r + i] = work[r + i] + work[o + i]
            if keep is not None:
                copy(at + 4 * o, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[r + i] = work[r + i] * work[o + i]
            for i in range(n):
                distance = abs((work[b + i] - work[th + i]) / work[th + i])
                slope = (_1 - distance) / work[th + i]
                slope = slope if distance < _1 else _0
                work[g + i] = work[g + i] + work[r + i] * slope
            copy(gradient[t].ctypes.data + 4 * low, at + 4 * g, n)

"""Scans over time, compiled: a block of neurons takes all its steps while it is in the cache.

What a line computes is stated in the neuron's own file, whose ``step`` these follow operation by
operation, in the same order.

Shape:
    Currents ``[1 or T, n]`` (one row: they are constant over time), keep ``[T, n]`` or none, theta
    ``[1, 1 or n]``, states ``[n]``, values ``[T, n]``, counts too, or ``[0, n]`` where nobody asks
    for them; all float32 and contiguous. States are changed in place.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled, inlined
from snnconv.elementary_compiled import exp as _exp
from snnconv.elementary_compiled import log1p as _log1p
from snnconv.engine.vectors import copy, mix

Floats = NDArray[np.float32]
Constants = tuple[np.float32, ...]

_BLOCK = 512  # neurons: nine arrays of them fit into the smallest first-level cache

_0, _1 = np.float32(0), np.float32(1)


@inlined
def at(given: Floats, t: int, low: int) -> int:
    """The address of a neuron's place in a step's row, or in the only row."""
    row = t if len(given) > 1 else 0
    return given.ctypes.data + 4 * (row * given.shape[1] + low)


@inlined
def load(work: Floats, place: int, given: Floats, t: int, low: int, n: int) -> None:
    """Put a step's row there; the only number where there is one, 0 where nothing is given."""
    if len(given) > 0 and given.shape[1] > 1:
        copy(work.ctypes.data + 4 * place, at(given, t, low), n)
        return
    number = _0
    if len(given) > 0:
        number = given[t if len(given) > 1 else 0, 0]
    for i in range(n):
        work[place + i] = number


@compiled
def scan_if(
    start: int,
    stop: int,
    currents: Floats,
    keep: Floats | None,
    theta: Floats,
    potential: Floats,
    counts: Floats,
    values: Floats,
) -> None:
    """IF neurons ``start`` to ``stop``."""
    work = np.empty(5 * _BLOCK, np.float32)
    base = work.ctypes.data
    c, v, th, s, x = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(base + 4 * v, potential.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        for t in range(len(counts)):
            row = t if len(currents) > 1 else 0
            copy(base + 4 * c, currents[row].ctypes.data + 4 * low, n)
            for i in range(n):
                before = work[v + i] + work[c + i]
                fired = _1 if before >= work[th + i] else _0
                work[s + i] = fired
                work[x + i] = fired * work[th + i]
                work[v + i] = before
            if keep is not None:
                copy(base + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
                    work[x + i] = work[s + i] * work[th + i]
            for i in range(n):
                work[v + i] = work[v + i] - work[x + i]
            copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, base + 4 * x, n)
        copy(potential.ctypes.data + 4 * low, base + 4 * v, n)


@compiled
def scan_msat(
    start: int,
    stop: int,
    currents: Floats,
    keep: Floats | None,
    theta: Floats,
    before: Floats,
    after: Floats,
    mean: Floats,
    counts: Floats,
    values: Floats,
    steps: int,
    dtt: Constants | None,
    det: Constants | None,
    sees_input: bool,
    thresholds: Floats | None,
) -> None:
    """MSAT neurons ``start`` to ``stop``, which have done ``steps`` steps.

    Thresholds ``[T, n]`` are written where they are wanted. ``dtt`` holds ``1/k_i, tau_mp*k_a,
    tau_mp*alpha, tau_mp*v_t``, ``det`` holds ``-1/c, tau_rd``; none where it is switched off.
    """
    work = np.empty(9 * _BLOCK, np.float32)
    base = work.ctypes.data
    c, V, v, m, th = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK
    s, x, d, r = 5 * _BLOCK, 6 * _BLOCK, 7 * _BLOCK, 8 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(base + 4 * V, before.ctypes.data + 4 * low, n)
        copy(base + 4 * v, after.ctypes.data + 4 * low, n)
        copy(base + 4 * m, mean.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        for t in range(len(counts)):
            row = t if len(currents) > 1 else 0
            copy(base + 4 * c, currents[row].ctypes.data + 4 * low, n)
            for i in range(n):
                potential = work[v + i] + work[c + i]
                work[r + i] = work[c + i] if sees_input else potential - work[V + i]
                work[V + i] = potential
                work[x + i] = work[th + i]  # the threshold, if nothing adapts it
            if steps + t > 0 and (dtt is not None or det is not None):
                # a loop for each function: its few operations overlap over many neurons, where
                # one loop of all of them waits for each result
                for i in range(n):
                    work[d + i] = _0
                if dtt is not None:
                    for i in range(n):
                        work[x + i] = (work[v + i] - work[m + i]) / work[th + i]
                        work[s + i] = _exp(-abs(work[x + i] * dtt[0]))
                    for i in range(n):
                        scaled = work[x + i] * dtt[0]
                        work[s + i] = (_0 if scaled < _0 else scaled) + _log1p(work[s + i])
                        work[d + i] = work[s + i] * dtt[1] + work[x + i] * dtt[2] + dtt[3]
                if det is not None:
                    for i in range(n):
                        work[s + i] = _exp(work[r + i] / work[th + i] * det[0]) * det[1]
                        work[d + i] = work[d + i] + work[s + i]
                for i in range(n):
                    work[x + i] = work[th + i] / (_exp(-work[d + i]) + _1)
            if thresholds is not None:
                copy(thresholds[t].ctypes.data + 4 * low, base + 4 * x, n)
            for i in range(n):
                work[s + i] = _1 if work[V + i] >= work[x + i] else _0
            if keep is not None:
                copy(base + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
            for i in range(n):
                work[x + i] = work[s + i] * work[x + i]
                work[v + i] = work[V + i] - work[x + i]
            if dtt is not None:
                share = np.float32(1 / (steps + t + 1))
                for i in range(n):
                    work[m + i] = work[m + i] + (work[v + i] - work[m + i]) * share
            copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, base + 4 * x, n)
        copy(before.ctypes.data + 4 * low, base + 4 * V, n)
        copy(after.ctypes.data + 4 * low, base + 4 * v, n)
        copy(mean.ctypes.data + 4 * low, base + 4 * m, n)


@compiled
def scan_levels(
    start: int,
    stop: int,
    seen: Floats,
    omega: Floats,
    keep: Floats | None,
    unit: Floats,
    potential: Floats,
    counts: Floats,
    values: Floats,
    retention: Floats,
    levels: np.float32,
) -> None:
    """L-level neurons ``start`` to ``stop``.

    ``seen [1 or S, n]`` are the currents that Omega ``[T, S]`` mixes; retention ``[T]``.
    """
    work = np.empty(6 * _BLOCK, np.float32)
    base = work.ctypes.data
    c, v, u, s, x, m = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK, 5 * _BLOCK
    sees, row = omega.shape[1], 4 * seen.shape[1] if len(seen) > 1 else 0
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(base + 4 * v, potential.ctypes.data + 4 * low, n)
        load(work, u, unit, 0, low, n)
        for t in range(len(counts)):
            weights = omega.ctypes.data + 4 * sees * t
            mix(base + 4 * m, seen.ctypes.data + 4 * low, row, sees, weights, 4, n)
            kept = retention[t]
            for i in range(n):
                work[v + i] = kept * work[v + i] + work[m + i]
                count = np.floor(work[v + i] / work[u + i])
                count = _0 if count < _0 else count
                work[s + i] = levels if count > levels else count
            if keep is not None:
                copy(base + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
            for i in range(n):
                work[x + i] = work[s + i] * work[u + i]
                work[v + i] = work[v + i] - work[x + i]
            copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, base + 4 * x, n)
        copy(potential.ctypes.data + 4 * low, base + 4 * v, n)


@compiled
def scan_lm_h(
    start: int,
    stop: int,
    currents: Floats,
    keep: Floats | None,
    theta: Floats,
    dendrite: Floats,
    soma: Floats,
    counts: Floats,
    values: Floats,
    scalars: Floats,
) -> None:
    """LM-H neurons ``start`` to ``stop``; scalars ``[T, 4]``: mu_D, mu_S, lambda_S, lambda_D."""
    work = np.empty(6 * _BLOCK, np.float32)
    base = work.ctypes.data
    c, d, v, th, s, x = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK, 5 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(base + 4 * d, dendrite.ctypes.data + 4 * low, n)
        copy(base + 4 * v, soma.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        for t in range(len(counts)):
            row = t if len(currents) > 1 else 0
            copy(base + 4 * c, currents[row].ctypes.data + 4 * low, n)
            mu_d, mu_s, lambda_s, lambda_d = scalars[t]
            for i in range(n):
                work[d + i] = mu_d * work[d + i] + mu_s * work[v + i] + work[c + i]
                before = lambda_s * work[v + i] + lambda_d * work[d + i]
                work[s + i] = _1 if before >= work[th + i] else _0
                work[v + i] = before
            if keep is not None:
                copy(base + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
            for i in range(n):
                work[x + i] = work[s + i] * work[th + i]
                work[v + i] = work[v + i] - work[x + i]
            copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, base + 4 * x, n)
        copy(dendrite.ctypes.data + 4 * low, base + 4 * d, n)
        copy(soma.ctypes.data + 4 * low, base + 4 * v, n)

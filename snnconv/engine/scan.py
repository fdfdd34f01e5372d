"""Scans over time, compiled: a block of neurons takes all its steps while it is in the cache.

What a line computes is stated in the neuron's own file, whose ``step`` these follow operation by
operation, in the same order.

Shape:
    Currents ``[1 or T, m]`` of the neurons from ``first`` on (one row: they are constant over
    time), keep ``[T, n]`` or none, theta ``[1]`` or ``[n]``, states ``[n]``, values ``[T, n]``, counts too, or
    ``[0, n]`` where nobody counts, all float32 and contiguous. States are changed in place.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled, inlined
from snnconv.elementary_compiled import exp as _exp
from snnconv.elementary_compiled import log1p as _log1p
from snnconv.engine.bits import bits
from snnconv.engine.vectors import WORD, copy, lowest

Floats = NDArray[np.float32]
Constants = tuple[np.float32, ...]

_BLOCK = 512  # neurons: nine arrays of them fit into the smallest first-level cache

_0, _1, _2, _HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
_LN2 = np.float32(0.6931471)  # below it
_LEFT, _RIGHT = np.float32(0.25), np.float32(0.19)  # slopes: sigmoid(2) = 0.5 + 2*0.1904
_SLACK = np.float32(1e-4)


@inlined
def spread(to: Floats, theta: Floats, low: int) -> None:
    """The thresholds of the neurons from ``low`` on."""
    if len(theta) == 1:
        to[:] = theta[0]
    else:
        to[:] = theta[low : low + len(to)]


@inlined
def floor(
    deviation: np.float32, rise: np.float32, dtt: Constants | None, det: Constants | None
) -> np.float32:
    """A number below MSAT's threshold over theta, for a few operations.

    ``ln(1 + e^z) >= max(z, ln(2) + z/2, 0)``, a maximum of tangents; ``e^z >= max(1 + z, 0)``; the
    sigmoid is above its tangent at 0 on the left, on the right above its chord to 2, which gives
    ``0.19 z``, and rises. The slack is for rounding, here and there.
    """
    drive = slack = _0
    if dtt is not None:
        scaled = deviation * dtt[0]
        bend = _HALF * scaled + _LN2
        bend = scaled if scaled > bend else bend
        bend = _0 if bend < _0 else bend
        drive = bend * dtt[1] + deviation * dtt[2] + dtt[3]
        slack = bend * dtt[1] + abs(deviation * dtt[2]) + abs(dtt[3])
    if det is not None:
        evoked = _1 + rise * det[0]
        evoked = (_0 if evoked < _0 else evoked) * det[1]
        drive, slack = drive + evoked, slack + evoked
    drive = drive - slack * _SLACK
    drive = _2 if drive > _2 else drive
    return _HALF + drive * (_LEFT if drive < _0 else _RIGHT) - _SLACK


@compiled
def scan_if(
    start: int,
    stop: int,
    currents: Floats,
    first: int,
    keep: Floats | None,
    theta: Floats,
    potential: Floats,
    counts: Floats,
    values: Floats,
) -> None:
    """IF neurons ``start`` to ``stop``."""
    work = np.empty(5 * _BLOCK, np.float32)
    at = work.ctypes.data
    c, v, th, s, x = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(at + 4 * v, potential.ctypes.data + 4 * low, n)
        spread(work[th : th + n], theta, low)
        for t in range(len(values)):
            row = t if len(currents) > 1 else 0
            copy(at + 4 * c, currents[row].ctypes.data + 4 * (low - first), n)
            for i in range(n):
                before = work[v + i] + work[c + i]
                fired = _1 if before >= work[th + i] else _0
                work[s + i] = fired
                work[x + i] = fired * work[th + i]
                work[v + i] = before
            if keep is not None:
                copy(at + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
                    work[x + i] = work[s + i] * work[th + i]
            for i in range(n):
                work[v + i] = work[v + i] - work[x + i]
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, at + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, at + 4 * x, n)
        copy(potential.ctypes.data + 4 * low, at + 4 * v, n)


@compiled
def scan_msat(
    start: int,
    stop: int,
    currents: Floats,
    first: int,
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
) -> None:
    """MSAT neurons ``start`` to ``stop``, which have done ``steps`` steps.

    ``dtt`` holds ``1/k_i, tau_mp*k_a, tau_mp*alpha, tau_mp*v_t``, ``det`` holds ``-1/c, tau_rd``;
    none where it is switched off. Only neurons that may fire have their threshold computed.
    """
    adapts = dtt is not None or det is not None
    work, near = np.empty(13 * _BLOCK, np.float32), np.empty(_BLOCK, np.int64)
    at = work.ctypes.data
    c, V, v, m, th = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK
    s, x, r = 5 * _BLOCK, 6 * _BLOCK, 7 * _BLOCK
    e, q, d, u, w = 8 * _BLOCK, 9 * _BLOCK, 10 * _BLOCK, 11 * _BLOCK, 12 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(at + 4 * V, before.ctypes.data + 4 * low, n)
        copy(at + 4 * v, after.ctypes.data + 4 * low, n)
        copy(at + 4 * m, mean.ctypes.data + 4 * low, n)
        spread(work[th : th + n], theta, low)
        for i in range(n):
            work[w + i] = _1 / work[th + i]
        for t in range(len(values)):
            row = t if len(currents) > 1 else 0
            copy(at + 4 * c, currents[row].ctypes.data + 4 * (low - first), n)
            for i in range(n):
                potential = work[v + i] + work[c + i]
                work[r + i] = work[c + i] if sees_input else potential - work[V + i]
                work[V + i] = potential
            if steps + t == 0 or not adapts:
                for i in range(n):
                    work[s + i] = _1 if work[V + i] >= work[th + i] else _0
                    work[x + i] = work[s + i] * work[th + i]
            else:
                for i in range(n):
                    deviation = (work[v + i] - work[m + i]) * work[w + i]
                    least = floor(deviation, work[r + i] * work[w + i], dtt, det) * work[th + i]
                    work[x + i] = _0
                    work[s + i] = _0 if work[V + i] < least else _1
                found = 0
                for block in range(0, n, WORD):
                    word = bits(at + 4 * (s + block), min(WORD, n - block))
                    while word != 0:
                        near[found] = block + lowest(word)
                        found += 1
                        word &= word - 1
                # a loop for each function: its few operations overlap over many neurons, where
                # one loop of all of them waits for each result
                for k in range(found):
                    i = near[k]
                    work[e + k] = (work[v + i] - work[m + i]) / work[th + i]
                    work[q + k] = work[r + i] / work[th + i]
                    work[d + k] = _0
                if dtt is not None:
                    for k in range(found):
                        work[u + k] = _exp(-abs(work[e + k] * dtt[0]))
                    for k in range(found):
                        scaled = work[e + k] * dtt[0]
                        work[u + k] = (_0 if scaled < _0 else scaled) + _log1p(work[u + k])
                        work[d + k] = work[u + k] * dtt[1] + work[e + k] * dtt[2] + dtt[3]
                if det is not None:
                    for k in range(found):
                        work[u + k] = _exp(work[q + k] * det[0]) * det[1]
                        work[d + k] = work[d + k] + work[u + k]
                for k in range(found):
                    work[u + k] = _exp(-work[d + k]) + _1
                for k in range(found):
                    i = near[k]
                    threshold = work[th + i] / work[u + k]
                    fired = _1 if work[V + i] >= threshold else _0
                    work[s + i] = fired
                    work[x + i] = fired * threshold
            if keep is not None:
                copy(at + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
                    work[x + i] = work[x + i] * work[c + i]
            for i in range(n):
                work[v + i] = work[V + i] - work[x + i]
            if dtt is not None:
                share = np.float32(1 / (steps + t + 1))
                for i in range(n):
                    work[m + i] = work[m + i] + (work[v + i] - work[m + i]) * share
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, at + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, at + 4 * x, n)
        copy(before.ctypes.data + 4 * low, at + 4 * V, n)
        copy(after.ctypes.data + 4 * low, at + 4 * v, n)
        copy(mean.ctypes.data + 4 * low, at + 4 * m, n)


@compiled
def scan_levels(
    start: int,
    stop: int,
    currents: Floats,
    first: int,
    keep: Floats | None,
    unit: Floats,
    potential: Floats,
    counts: Floats,
    values: Floats,
    omega: Floats,
    before: Floats,
    retention: Floats,
    levels: np.float32,
) -> None:
    """L-level neurons ``start`` to ``stop``.

    Omega ``[T, T]`` or less of both, retention ``[T]``; before: what steps of an earlier call add
    to each step's current, ``[T, n]`` or ``[0, n]``.
    """
    steps, rows = len(values), len(currents)
    block = max(64, min(_BLOCK, 8 * _BLOCK // rows))
    work = np.empty((5 + rows) * block, np.float32)
    at = work.ctypes.data
    m, v, u, s, x = 0, block, 2 * block, 3 * block, 4 * block
    c = 5 * block
    for low in range(start, stop, block):
        n = min(block, stop - low)
        copy(at + 4 * v, potential.ctypes.data + 4 * low, n)
        spread(work[u : u + n], unit, low)
        for row in range(rows):
            to = at + 4 * (c + row * block)
            copy(to, currents[row].ctypes.data + 4 * (low - first), n)
        for t in range(steps):
            if len(before) > 0:
                copy(at + 4 * m, before[t].ctypes.data + 4 * low, n)
            else:
                for i in range(n):
                    work[m + i] = _0
            for j in range(omega.shape[1]):
                share, row = omega[t, j], c + (j if rows > 1 else 0) * block
                for i in range(n):
                    work[m + i] = work[m + i] + share * work[row + i]
            kept = retention[t]
            for i in range(n):
                work[v + i] = kept * work[v + i] + work[m + i]
                count = np.floor(work[v + i] / work[u + i])
                count = _0 if count < _0 else count
                work[s + i] = levels if count > levels else count
            if keep is not None:
                copy(at + 4 * m, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[m + i]
            for i in range(n):
                work[x + i] = work[s + i] * work[u + i]
                work[v + i] = work[v + i] - work[x + i]
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, at + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, at + 4 * x, n)
        copy(potential.ctypes.data + 4 * low, at + 4 * v, n)


@compiled
def scan_lm_h(
    start: int,
    stop: int,
    currents: Floats,
    first: int,
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
    at = work.ctypes.data
    c, d, v, th, s, x = 0, _BLOCK, 2 * _BLOCK, 3 * _BLOCK, 4 * _BLOCK, 5 * _BLOCK
    for low in range(start, stop, _BLOCK):
        n = min(_BLOCK, stop - low)
        copy(at + 4 * d, dendrite.ctypes.data + 4 * low, n)
        copy(at + 4 * v, soma.ctypes.data + 4 * low, n)
        spread(work[th : th + n], theta, low)
        for t in range(len(values)):
            row = t if len(currents) > 1 else 0
            copy(at + 4 * c, currents[row].ctypes.data + 4 * (low - first), n)
            mu_d, mu_s, lambda_s, lambda_d = scalars[t]
            for i in range(n):
                work[d + i] = mu_d * work[d + i] + mu_s * work[v + i] + work[c + i]
                before = lambda_s * work[v + i] + lambda_d * work[d + i]
                work[s + i] = _1 if before >= work[th + i] else _0
                work[v + i] = before
            if keep is not None:
                copy(at + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
            for i in range(n):
                work[x + i] = work[s + i] * work[th + i]
                work[v + i] = work[v + i] - work[x + i]
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, at + 4 * s, n)
            copy(values[t].ctypes.data + 4 * low, at + 4 * x, n)
        copy(dendrite.ctypes.data + 4 * low, at + 4 * d, n)
        copy(soma.ctypes.data + 4 * low, at + 4 * v, n)

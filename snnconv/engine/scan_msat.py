"""The scan of MSAT neurons: thresholds only of those that may fire.

A threshold takes three exponentials, and at most steps most neurons are far below it. So a number
that is surely smaller is computed first, for a few operations; neurons below that are done. The
others go through the operations of the neuron's own file, in the same order: the same spikes, bit
by bit.

Shape:
    As in :mod:`snnconv.engine.scan`.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.compiled import compiled, inlined
from snnconv.elementary_compiled import exp as _exp
from snnconv.elementary_compiled import log1p as _log1p
from snnconv.engine.bits import listed
from snnconv.engine.scan import BLOCK, Sums, add_up, load, weigh
from snnconv.engine.vectors import copy

Floats = NDArray[np.float32]
Constants = tuple[np.float32, ...]

_0, _1, _2, _HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)
_LN2 = np.float32(0.6931471)  # a little less than that
_LEFT, _RIGHT = np.float32(0.25), np.float32(0.19)  # slopes: sigmoid(2) is 0.5 + 2*0.1904
_SLACK = np.float32(1e-4)


@inlined
def below(
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
    steps: int,
    dtt: Constants | None,
    det: Constants | None,
    sees_input: bool,
    thresholds: Floats,
    counts: Floats,
    values: Floats,
    weights: Floats,
    piece: int,
    sums: Sums,
) -> None:
    """MSAT neurons ``start`` to ``stop``, which have done ``steps`` steps.

    ``dtt`` holds ``1/k_i, tau_mp*k_a, tau_mp*alpha, tau_mp*v_t``, ``det`` holds ``-1/c, tau_rd``;
    none where it is switched off. Thresholds ``[T, n]``, or ``[0, n]`` if nobody wants them: then
    only neurons that may fire have theirs computed.
    """
    wanted = len(thresholds) > 0
    adapts = dtt is not None or det is not None
    work = np.empty((13 + len(weights)) * BLOCK, np.float32)
    near = np.empty(BLOCK, np.int64)
    base = work.ctypes.data
    c, V, v, m, th = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK
    s, x, r = 5 * BLOCK, 6 * BLOCK, 7 * BLOCK
    e, q, d, u, w = 8 * BLOCK, 9 * BLOCK, 10 * BLOCK, 11 * BLOCK, 12 * BLOCK
    g = 13 * BLOCK
    for low in range(start, stop, BLOCK):
        n = min(BLOCK, stop - low)
        copy(base + 4 * V, before.ctypes.data + 4 * low, n)
        copy(base + 4 * v, after.ctypes.data + 4 * low, n)
        copy(base + 4 * m, mean.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        weigh(work, g, s, weights, low, n)
        for i in range(n):
            work[w + i] = _1 / work[th + i]
        for t in range(len(values)):
            row = t if len(currents) > 1 else 0
            copy(base + 4 * c, currents[row].ctypes.data + 4 * (low - first), n)
            for i in range(n):
                potential = work[v + i] + work[c + i]
                work[r + i] = work[c + i] if sees_input else potential - work[V + i]
                work[V + i] = potential
            if steps + t == 0 or not adapts:
                for i in range(n):
                    work[s + i] = _1 if work[V + i] >= work[th + i] else _0
                    work[x + i] = work[s + i] * work[th + i]
                if wanted:
                    copy(thresholds[t].ctypes.data + 4 * low, base + 4 * th, n)
            else:
                for i in range(n):
                    deviation = (work[v + i] - work[m + i]) * work[w + i]
                    least = below(deviation, work[r + i] * work[w + i], dtt, det) * work[th + i]
                    work[x + i] = _0
                    work[s + i] = _0 if work[V + i] < least and not wanted else _1
                found = listed(base + 4 * s, n, near)
                for k in range(found):
                    i = near[k]
                    work[e + k] = (work[v + i] - work[m + i]) / work[th + i]
                    work[q + k] = work[r + i] / work[th + i]
                for k in range(found):
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
                    work[u + k] = threshold
                    fired = _1 if work[V + i] >= threshold else _0
                    work[s + i] = fired
                    work[x + i] = fired * threshold
                if wanted:  # so all are near
                    copy(thresholds[t].ctypes.data + 4 * low, base + 4 * u, n)
            if keep is not None:
                copy(base + 4 * c, keep[t].ctypes.data + 4 * low, n)
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
                copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            add_up(sums, t, work, g, s, piece)
            copy(values[t].ctypes.data + 4 * low, base + 4 * x, n)
        copy(before.ctypes.data + 4 * low, base + 4 * V, n)
        copy(after.ctypes.data + 4 * low, base + 4 * v, n)
        copy(mean.ctypes.data + 4 * low, base + 4 * m, n)

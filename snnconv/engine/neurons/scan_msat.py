"""The scan of MSAT neurons: thresholds only of those that may fire.

A threshold takes three exponentials, and at most steps most neurons are far below it. So a number
that is surely smaller is computed first (:mod:`snnconv.engine.neurons.adapting`); neurons below
that are
done. The others go through the operations of the neuron's own file, in the same order: the same
spikes, bit by bit.

Shape:
    As in :mod:`snnconv.engine.neurons.scan`.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled
from snnconv.engine.event_conv.bits import AHEAD, listed
from snnconv.engine.neurons.adapting import look, settle
from snnconv.engine.neurons.scan import BLOCK, Sums, add_up, load, weigh
from snnconv.engine.simd import LANES, copy
from snnconv.neurons.exact_math_kernel import exp as _exp
from snnconv.neurons.exact_math_kernel import log1p as _log1p

Floats = NDArray[np.float32]
Constants = tuple[np.float32, ...]

WHOLE = 2 * LANES  # no loop over these ends in single numbers

_0, _1 = np.float32(0), np.float32(1)


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
    counting = len(counts) > 0 or len(weights) > 0
    slow = dtt if dtt is not None else (_0, _0, _0, _0)
    fast = det if det is not None else (_0, _0)
    work = np.zeros((15 + len(weights)) * BLOCK, np.float32)
    near, may = np.empty(BLOCK + AHEAD, np.uint64), np.zeros(BLOCK // 8 + 8, np.uint8)
    base, bits = work.ctypes.data, may.ctypes.data
    c, V, v, m, th = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK
    s, x, r, w = 5 * BLOCK, 6 * BLOCK, 7 * BLOCK, 8 * BLOCK
    e, q, h, p = 9 * BLOCK, 10 * BLOCK, 11 * BLOCK, 12 * BLOCK
    d, u, g = 13 * BLOCK, 14 * BLOCK, 15 * BLOCK
    # an index that may be negative takes longer
    V_, v_, m_, th_ = np.uint64(V), np.uint64(v), np.uint64(m), np.uint64(th)
    s_, x_, r_ = np.uint64(s), np.uint64(x), np.uint64(r)
    states = (base + 4 * v, base + 4 * V, base + 4 * m, base + 4 * th, base + 4 * w, base + 4 * r)
    for low in range(start, stop, BLOCK):
        n = min(BLOCK, stop - low)
        vectors, whole = (n + LANES - 1) // LANES, n % LANES == 0  # else others lie behind
        copy(base + 4 * V, before.ctypes.data + 4 * low, n)
        copy(base + 4 * v, after.ctypes.data + 4 * low, n)
        copy(base + 4 * m, mean.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        weigh(work, g, s, weights, low, n)
        for i in range(n):
            work[w + i] = _1 / work[th + i]
        for t in range(len(values)):
            c_at = currents[t if len(currents) > 1 else 0].ctypes.data + 4 * (low - first)
            if not whole:
                copy(base + 4 * c, c_at, n)
                c_at = base + 4 * c
            look(vectors, c_at, *states, bits, sees_input, slow, fast)
            if steps + t == 0 or not adapts:
                for i in range(n):
                    work[s + i] = _1 if work[V + i] >= work[th + i] else _0
                    work[x + i] = work[s + i] * work[th + i]
                if wanted:
                    copy(thresholds[t].ctypes.data + 4 * low, base + 4 * th, n)
            else:
                if wanted:
                    may[:] = 255
                found = listed(bits, n, near)
                for k in range(found):
                    i = near[k]
                    work[e + k] = work[v_ + i] - work[m_ + i]
                    work[q + k] = work[r_ + i]
                    work[h + k] = work[th_ + i]
                    work[p + k] = work[V_ + i]
                # whole vectors: what is behind is not read
                some = (found + WHOLE - 1) // WHOLE * WHOLE
                for k in range(some):
                    work[d + k] = _0
                if dtt is not None:
                    for k in range(some):
                        work[e + k] = work[e + k] / work[h + k]
                        work[u + k] = _exp(-abs(work[e + k] * dtt[0]))
                    for k in range(some):
                        scaled = work[e + k] * dtt[0]
                        work[u + k] = (_0 if scaled < _0 else scaled) + _log1p(work[u + k])
                        work[d + k] = work[u + k] * dtt[1] + work[e + k] * dtt[2] + dtt[3]
                if det is not None:
                    for k in range(some):
                        work[u + k] = _exp(work[q + k] / work[h + k] * det[0]) * det[1]
                        work[d + k] = work[d + k] + work[u + k]
                for k in range(some):
                    threshold = work[h + k] / (_exp(-work[d + k]) + _1)
                    work[u + k] = threshold
                    work[d + k] = _1 if work[p + k] >= threshold else _0
                    work[e + k] = work[d + k] * threshold
                for k in range(found):
                    work[x_ + near[k]] = work[e + k]
                if counting:
                    for k in range(found):
                        work[s_ + near[k]] = work[d + k]
                if wanted:  # so all are near
                    copy(thresholds[t].ctypes.data + 4 * low, base + 4 * u, n)
            if keep is not None:
                copy(base + 4 * c, keep[t].ctypes.data + 4 * low, n)
                for i in range(n):
                    work[s + i] = work[s + i] * work[c + i]
                    work[x + i] = work[x + i] * work[c + i]
            share = np.float32(1 / (steps + t + 1)) if dtt is not None else _0
            to = values[t].ctypes.data + 4 * low
            x_at = to if whole else base + 4 * c
            settle(vectors, base + 4 * V, base + 4 * x, base + 4 * v, base + 4 * m, share, x_at)
            if not whole:
                copy(to, x_at, n)
            if counting:
                if len(counts) > 0:
                    copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
                add_up(sums, t, work, g, s, piece)
                work[s : s + BLOCK] = _0
        copy(before.ctypes.data + 4 * low, base + 4 * V, n)
        copy(after.ctypes.data + 4 * low, base + 4 * v, n)
        copy(mean.ctypes.data + 4 * low, base + 4 * m, n)

"""Scans over time, compiled: a block of neurons takes all its steps while it is in the cache.

What a line computes is stated in the neuron's own file, whose ``step`` these follow operation by
operation, in the same order.

Shape:
    Currents ``[1 or T, m]`` of the neurons from ``first`` on (one row: they are constant over
    time), keep ``[T, n]`` or none, theta ``[1, 1 or n]``, states ``[n]``, values ``[T, n]``,
    counts too, or ``[0, n]`` where nobody wants them, weights ``[k, N]`` of the N neurons of a
    sample, all float32 and contiguous; bits ``[T, n/8]``, or ``[0, 0]`` where values are no bits.
    States are changed in place. Sums ``[T, k]`` int64 are added to.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled, inlined
from snnconv.engine.event_conv.bits import pack
from snnconv.engine.neurons.firing import fire
from snnconv.engine.neurons.levels import rise
from snnconv.engine.simd import LANES, copy, dot, mix

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Sums = NDArray[np.int64]
BLOCK = 512  # neurons: nine arrays of them fit into the smallest first-level cache
LEAST = 2 * LANES  # products that can be added up

_0, _1 = np.float32(0), np.float32(1)


@inlined
def at(given: Floats, t: int, low: int) -> int:
    """The address of a neuron's place in a step's row, or in the only row."""
    row = t if len(given) > 1 else 0
    return int(given.ctypes.data + 4 * (row * given.shape[1] + low))


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


@inlined
def weigh(work: Floats, place: int, s: int, weights: Floats, low: int, n: int) -> None:
    """Put the weights of a block there, one set behind the other.

    Where the block has few neurons, zeros follow its weights and its spikes: it is added up whole.
    """
    neurons = weights.shape[1]
    for k in range(len(weights)):
        to, of = place + k * BLOCK, weights.ctypes.data + 4 * k * neurons
        done = 0
        while done < n:  # a block may lie in several samples
            first = (low + done) % neurons
            size = min(n - done, neurons - first)
            copy(work.ctypes.data + 4 * (to + done), of + 4 * first, size)
            done += size
        for i in range(n, BLOCK):
            work[to + i] = _0
    for i in range(n, BLOCK):
        work[s + i] = _0


@inlined
def add_up(sums: Sums, t: int, work: Floats, place: int, s: int, piece: int) -> None:
    """Add a block's spikes by weights to the sums of a step; each piece is exact in float32."""
    spikes, weights = work.ctypes.data + 4 * s, work.ctypes.data + 4 * place
    for k in range(sums.shape[1]):
        for i in range(0, BLOCK, piece):
            found = dot(spikes + 4 * i, weights + 4 * (k * BLOCK + i), piece)
            sums[t, k] += np.int64(found)


@inlined
def put(values: Floats, bits: Bytes, t: int, low: int, n: int, s: int, x: int) -> None:
    """Write a step's spikes, counts and values of which lie there: as bits, or else as values."""
    if len(bits) == 0:
        copy(values[t].ctypes.data + 4 * low, x, n)
        return
    for i in range(0, n, LANES):
        pack(bits[t].ctypes.data + (low + i) // 8, s + 4 * i)


@compiled
def scan_if(
    start: int,
    stop: int,
    currents: Floats,
    first: int,
    keep: Floats | None,
    theta: Floats,
    potential: Floats,
    bits: Bytes,
    counts: Floats,
    values: Floats,
    weights: Floats,
    piece: int,
    sums: Sums,
) -> None:
    """IF neurons ``start`` to ``stop``."""
    work = np.zeros((6 + len(weights)) * BLOCK, np.float32)
    base = work.ctypes.data
    c, v, th, s, x, k = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK
    v_at, th_at, k_at, g = base + 4 * v, base + 4 * th, base + 4 * k, 6 * BLOCK
    for low in range(start, stop, BLOCK):
        n = min(BLOCK, stop - low)
        vectors, whole = (n + LANES - 1) // LANES, n % LANES == 0  # else others lie behind
        copy(v_at, potential.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        weigh(work, g, s, weights, low, n)
        s_at = base + 4 * s if len(counts) > 0 or len(weights) > 0 else 0
        x_at = base + 4 * x if len(values) > 0 else 0
        for t in range(max(len(values), len(bits))):
            c_at = currents[t if len(currents) > 1 else 0].ctypes.data + 4 * (low - first)
            if not whole:
                copy(base + 4 * c, c_at, n)
                c_at = base + 4 * c
            elif len(values) > 0:
                x_at = values[t].ctypes.data + 4 * low
            b_at = bits[t].ctypes.data + low // 8 if len(bits) > 0 else 0
            if keep is None:
                fire(0, vectors, v_at, c_at, th_at, k_at, s_at, x_at, b_at)
            else:
                copy(k_at, keep[t].ctypes.data + 4 * low, n)
                fire(1, vectors, v_at, c_at, th_at, k_at, s_at, x_at, b_at)
            if len(values) > 0 and not whole:
                copy(values[t].ctypes.data + 4 * low, x_at, n)
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, s_at, n)
            add_up(sums, t, work, g, s, piece)
        copy(potential.ctypes.data + 4 * low, v_at, n)


@compiled
def scan_levels(
    start: int,
    stop: int,
    seen: Floats,
    first: int,
    keep: Floats | None,
    unit: Floats,
    potential: Floats,
    omega: Floats,
    retention: Floats,
    levels: np.float32,
    bits: Bytes,
    counts: Floats,
    values: Floats,
    weights: Floats,
    piece: int,
    sums: Sums,
) -> None:
    """L-level neurons ``start`` to ``stop``.

    Seen ``[1 or S, m]`` are the currents that Omega ``[T, S]`` mixes; retention ``[T]``. Values of
    one row are the mean over time.
    """
    work = np.empty((7 + len(weights)) * BLOCK, np.float32)
    base = work.ctypes.data
    m, v, u, s, x = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK
    k, total = 5 * BLOCK, 6 * BLOCK
    g = 7 * BLOCK
    mixed, row = omega.shape[1], 4 * seen.shape[1] if len(seen) > 1 else 0
    v_at, s_at, m_at, u_at = base + 4 * v, base + 4 * s, base + 4 * m, base + 4 * u
    steps, average = len(retention), len(values) < len(retention) and len(bits) == 0
    same = (omega == omega[0]).all()  # every step is given the same
    for low in range(start, stop, BLOCK):
        n = min(BLOCK, stop - low)
        vectors = (n + LANES - 1) // LANES
        direct = n % LANES == 0 and not average and len(bits) == 0
        copy(base + 4 * v, potential.ctypes.data + 4 * low, n)
        load(work, u, unit, 0, low, n)
        weigh(work, g, s, weights, low, n)
        for i in range(n):
            work[total + i] = _0
        for t in range(steps):
            if t == 0 or not same:
                shares = omega.ctypes.data + 4 * mixed * t
                mix(base + 4 * m, seen.ctypes.data + 4 * (low - first), row, mixed, shares, 4, n)
            x_at = values[t].ctypes.data + 4 * low if direct else base + 4 * x
            if keep is None:
                rise(0, vectors, v_at, m_at, u_at, 0, s_at, x_at, retention[t], levels)
            else:
                copy(base + 4 * k, keep[t].ctypes.data + 4 * low, n)
                k_at = base + 4 * k
                rise(1, vectors, v_at, m_at, u_at, k_at, s_at, x_at, retention[t], levels)
            for i in range(n, vectors * LANES):
                work[s + i] = _0  # there are no such neurons
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            add_up(sums, t, work, g, s, piece)
            if average:
                for i in range(n):
                    work[total + i] = work[total + i] + work[x + i]
            elif not direct:
                put(values, bits, t, low, n, base + 4 * s, base + 4 * x)
        if average:
            for i in range(n):
                work[total + i] = work[total + i] / np.float32(steps)
            copy(values.ctypes.data + 4 * low, base + 4 * total, n)
        copy(potential.ctypes.data + 4 * low, base + 4 * v, n)


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
    scalars: Floats,
    bits: Bytes,
    counts: Floats,
    values: Floats,
    weights: Floats,
    piece: int,
    sums: Sums,
) -> None:
    """LM-H neurons ``start`` to ``stop``; scalars ``[T, 4]``: mu_D, mu_S, lambda_S, lambda_D."""
    work = np.empty((6 + len(weights)) * BLOCK, np.float32)
    base = work.ctypes.data
    c, d, v, th, s, x = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK
    g = 6 * BLOCK
    for low in range(start, stop, BLOCK):
        n = min(BLOCK, stop - low)
        copy(base + 4 * d, dendrite.ctypes.data + 4 * low, n)
        copy(base + 4 * v, soma.ctypes.data + 4 * low, n)
        load(work, th, theta, 0, low, n)
        weigh(work, g, s, weights, low, n)
        for t in range(max(len(values), len(bits))):
            row = t if len(currents) > 1 else 0
            copy(base + 4 * c, currents[row].ctypes.data + 4 * (low - first), n)
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
            if len(counts) > 0:
                copy(counts[t].ctypes.data + 4 * low, base + 4 * s, n)
            add_up(sums, t, work, g, s, piece)
            put(values, bits, t, low, n, base + 4 * s, base + 4 * x)
        copy(dendrite.ctypes.data + 4 * low, base + 4 * d, n)
        copy(soma.ctypes.data + 4 * low, base + 4 * v, n)

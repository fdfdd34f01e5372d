"""Gradients through scans over time, compiled.

What went in and what came out is kept anyway, by the layers before and behind; so a block of
neurons goes forth once more to have its potentials, then back, while it is in the cache. Operations
are those of :mod:`snnconv.engine.neurons.fused`, in the same order. What a layer learns itself has
a
gradient that is a sum over neurons: each block gives its own, so that the sum of them hangs on no
number of threads.

Shape:
    Currents ``[1 or T, n]`` (one row: they are constant over time), what is of a neuron ``[1, 1 or
    n]`` (one number: it is that of all), all else ``[T, n]``; float32 and contiguous. What is not
    given has no row. Neurons are counted in blocks.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled, inlined
from snnconv.engine.neurons.firing_back import pass_back, recall
from snnconv.engine.neurons.levels import pass_back_levels, recall_levels
from snnconv.engine.neurons.scan import at, load
from snnconv.engine.simd import LANES, add_multiple, copy, dot, mix

Floats = NDArray[np.float32]

BLOCK = 512
"""Neurons of a block: few enough that all steps of their potentials stay in the cache."""

_0, _1 = np.float32(0), np.float32(1)


@inlined
def _slope(potential: np.float32, theta: np.float32) -> np.float32:
    """See :mod:`snnconv.neurons.surrogate`."""
    distance = abs((potential - theta) / theta)
    slope = (_1 - distance) / theta
    return slope if distance < _1 else _0


@inlined
def row_at(work: Floats, place: int, given: Floats, t: int, low: int, n: int) -> int:
    """The address of a step's row for whole vectors: its own, or that place, where it is put."""
    if len(given) > 0 and given.shape[1] > 1 and n % LANES == 0:
        return at(given, t, low)
    load(work, place, given, t, low, n)
    return int(work.ctypes.data + 4 * place)


@compiled
def back_if(
    start: int,
    stop: int,
    currents: Floats,
    values: Floats,
    potential: Floats,
    theta: Floats,
    keep: Floats,
    of_counts: Floats,
    of_values: Floats,
    of_after: Floats,
    of_before: Floats,
    gradient: Floats,
) -> None:
    """IF neurons, or MSAT's, whose thresholds ``theta [1 or T, n]`` change over time.

    ``of_after`` and ``of_before`` are the gradients by the potential after the last step's spikes,
    and before them.
    """
    steps = len(values)
    work = np.empty((7 + steps) * BLOCK, np.float32)
    base = work.ctypes.data
    c, x, v, th, o, k, g = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK, 6 * BLOCK
    befores = base + 4 * 7 * BLOCK
    for block in range(start, stop):
        low = block * BLOCK
        n = min(BLOCK, gradient.shape[1] - low)
        vectors, whole = (n + LANES - 1) // LANES, n % LANES == 0
        load(work, v, potential, 0, low, n)
        load(work, th, theta, 0, low, n)
        thetas = base + 4 * th
        for t in range(steps):
            here = befores + 4 * t * BLOCK
            current = row_at(work, c, currents, t, low, n)
            if len(theta) > 1:
                thetas = row_at(work, th, theta, t, low, n)
            if len(keep) > 0:
                of = row_at(work, x, values, t, low, n)
                recall(1, vectors, base + 4 * v, current, thetas, of, here)
            else:
                recall(0, vectors, base + 4 * v, current, thetas, 0, here)
        load(work, g, of_after, 0, low, n)
        later = base + 4 * g
        for step in range(steps):
            t = steps - 1 - step
            here = befores + 4 * t * BLOCK
            of_value = row_at(work, o, of_values, t, low, n)
            of_count = row_at(work, c, of_counts, t, low, n) if len(of_counts) > 0 else 0
            kept = row_at(work, k, keep, t, low, n) if len(keep) > 0 else 0
            if len(theta) > 1:
                thetas = row_at(work, th, theta, t, low, n)
            to = at(gradient, t, low) if whole else base + 4 * g
            pass_back(vectors, here, thetas, of_value, of_count, kept, later, to)
            if step == 0 and len(of_before) > 0:
                add_multiple(0, to, row_at(work, x, of_before, 0, low, n), _1, n, 1, 0, 0)
            if not whole:
                copy(at(gradient, t, low), to, n)
            later = to


@compiled
def back_levels(
    start: int,
    stop: int,
    seen: Floats,
    omega: Floats,
    values: Floats,
    potential: Floats,
    unit: Floats,
    retention: Floats,
    levels: np.float32,
    through: bool,
    keep: Floats,
    of_counts: Floats,
    of_values: Floats,
    of_after: Floats,
    gradient: Floats,
    of_potential: Floats,
    of_omega: Floats,
    of_retention: Floats,
) -> None:
    """L-level neurons, by what they see ``[1 or S, n]``.

    Omega ``[T, S]``, retention ``[T]``; gradients by what is seen ``[S, n]``, by the first
    potential ``[1, n]`` where they pass through, and of each block those by Omega ``[.., T, S]``
    and retention ``[.., T]``, if they are wanted.
    """
    steps, sees = omega.shape
    row = 4 * seen.shape[1] if len(seen) > 1 else 0
    work = np.empty((7 + 2 * steps) * BLOCK, np.float32)
    base = work.ctypes.data
    c, x, v, b = 0, BLOCK, 2 * BLOCK, 3 * BLOCK
    u, g, o = 4 * BLOCK, 5 * BLOCK, 6 * BLOCK
    same = (omega == omega[0]).all()  # every step is given the same
    carried, befores = 7 * BLOCK, (7 + steps) * BLOCK  # the latter give way to gradients of J
    for block in range(start, stop):
        low = block * BLOCK
        n = min(BLOCK, gradient.shape[1] - low)
        if n < BLOCK:
            work[:] = _0  # sums are those of whole blocks
        vectors = (n + LANES - 1) // LANES
        load(work, v, potential, 0, low, n)
        load(work, u, unit, 0, low, n)
        for t in range(steps):
            here, old = base + 4 * (befores + t * BLOCK), base + 4 * (carried + t * BLOCK)
            if t == 0 or not same:
                mix(base + 4 * b, at(seen, 0, low), row, sees, at(omega, t, 0), 4, n)
            of = row_at(work, x, values, t, low, n)
            recall_levels(vectors, base + 4 * v, base + 4 * b, of, old, here, retention[t])
        load(work, g, of_after, 0, low, n)
        for k in range(steps):
            t = steps - 1 - k
            here = base + 4 * (befores + t * BLOCK)
            of_value = row_at(work, o, of_values, t, low, n)
            of_count = row_at(work, c, of_counts, t, low, n) if len(of_counts) > 0 else 0
            kept = row_at(work, x, keep, t, low, n) if len(keep) > 0 else 0
            given = (vectors, here, base + 4 * u, of_value, of_count, kept, base + 4 * g)
            pass_back_levels(through, *given, levels, retention[t])
            for i in range(befores + t * BLOCK + n, befores + (t + 1) * BLOCK):
                work[i] = _0  # there are no such neurons
            if len(of_retention) > 0:
                of_retention[block, t] = dot(here, base + 4 * (carried + t * BLOCK), BLOCK)
        if through:
            copy(at(of_potential, 0, low), base + 4 * g, n)
        here = base + 4 * befores
        for j in range(sees):
            weights = omega.ctypes.data + 4 * j
            mix(at(gradient, j, low), here, 4 * BLOCK, steps, weights, 4 * sees, n)
        for j in range(sees if len(of_omega) > 0 else 0):
            copy(base + 4 * c, at(seen, j, low), n)
            for t in range(steps):
                of_omega[block, t, j] = dot(here + 4 * t * BLOCK, base + 4 * c, BLOCK)


@compiled
def back_lm_h(
    start: int,
    stop: int,
    currents: Floats,
    values: Floats,
    dendrite: Floats,
    soma: Floats,
    theta: Floats,
    scalars: Floats,
    through: bool,
    keep: Floats,
    of_counts: Floats,
    of_values: Floats,
    of_dendrite: Floats,
    of_soma: Floats,
    gradient: Floats,
    starts: Floats,
    of_scalars: Floats,
) -> None:
    """LM-H neurons; scalars ``[T, 4]``: mu_D, mu_S, lambda_S, lambda_D.

    ``starts [2, n]`` are gradients by the first potentials of dendrite and soma; of each block
    those by the scalars ``[.., T, 4]``, if they are wanted.
    """
    steps = len(values)
    work = np.empty((11 + 3 * steps) * BLOCK, np.float32)
    base = work.ctypes.data
    c, x, b, th, r = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK
    o, g, d, v = (
        5 * BLOCK,
        6 * BLOCK,
        7 * BLOCK,
        8 * BLOCK,
    )  # of d and v: gradients, on the way back
    befores, somata, dendrites = 9 * BLOCK, (9 + steps) * BLOCK, (10 + 2 * steps) * BLOCK
    for block in range(start, stop):
        low = block * BLOCK
        n = min(BLOCK, gradient.shape[1] - low)
        if n < BLOCK:
            work[:] = _0  # sums are those of whole blocks
        load(work, d, dendrite, 0, low, n)
        load(work, v, soma, 0, low, n)
        load(work, th, theta, 0, low, n)
        for t in range(steps):
            copy(base + 4 * (dendrites + t * BLOCK), base + 4 * d, n)
            copy(base + 4 * (somata + t * BLOCK), base + 4 * v, n)
            copy(base + 4 * c, at(currents, t, low), n)
            copy(base + 4 * x, at(values, t, low), n)
            mu_d, mu_s, lambda_s, lambda_d = scalars[t]
            for i in range(n):
                work[d + i] = mu_d * work[d + i] + mu_s * work[v + i] + work[c + i]
                work[b + i] = lambda_s * work[v + i] + lambda_d * work[d + i]
                work[v + i] = work[b + i] - work[x + i]
            copy(base + 4 * (befores + t * BLOCK), base + 4 * b, n)
        copy(base + 4 * (dendrites + steps * BLOCK), base + 4 * d, n)
        load(work, d, of_dendrite, 0, low, n)
        load(work, v, of_soma, 0, low, n)
        for k in range(steps):
            t = steps - 1 - k
            mu_d, mu_s, lambda_s, lambda_d = scalars[t]
            load(work, o, of_values, t, low, n)
            load(work, c, of_counts, t, low, n)
            if through:
                for i in range(n):
                    work[o + i] = work[o + i] - work[v + i]
            for i in range(n):
                work[r + i] = work[o + i] * work[th + i] + work[c + i]
            if len(keep) > 0:
                copy(base + 4 * x, at(keep, t, low), n)
                for i in range(n):
                    work[r + i] = work[r + i] * work[x + i]
            copy(base + 4 * b, base + 4 * (befores + t * BLOCK), n)
            for i in range(n):
                work[r + i] = work[v + i] + work[r + i] * _slope(work[b + i], work[th + i])
                work[g + i] = work[d + i] + lambda_d * work[r + i]
                work[d + i] = mu_d * work[g + i]
                work[v + i] = lambda_s * work[r + i] + mu_s * work[g + i]
            copy(at(gradient, t, low), base + 4 * g, n)
            if len(of_scalars) > 0:
                before, here = base + 4 * (somata + t * BLOCK), base + 4 * (dendrites + t * BLOCK)
                of_scalars[block, t, 0] = dot(base + 4 * g, here, BLOCK)
                of_scalars[block, t, 1] = dot(base + 4 * g, before, BLOCK)
                of_scalars[block, t, 2] = dot(base + 4 * r, before, BLOCK)
                of_scalars[block, t, 3] = dot(base + 4 * r, here + 4 * BLOCK, BLOCK)
        copy(at(starts, 0, low), base + 4 * d, n)
        copy(at(starts, 1, low), base + 4 * v, n)

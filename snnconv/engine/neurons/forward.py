"""A neuron's scalar step, compiled as a loop over neurons and time.

A block of neurons takes all its steps while it is in the cache. What differs between calls (masks,
counts, bits, means, sums) is decided once for each row of a block, so the loop over its neurons has
nothing in it but the step, and the compiler makes vectors of it.

Shape:
    Currents ``[1 or T, m]`` of the neurons from ``first`` on (one row: they are constant over
    time), keep ``[T, n]`` or ``[0, n]`` for none, constants ``[n]`` each, or shorter if all neurons
    have the same, schedules ``[T]`` each, states ``[n]`` each, changed in place. Omega ``[T, S]``,
    or none, mixes currents ``[1 or S, m]`` over time. Out come counts ``[T, n]`` or ``[0, n]``,
    values ``[T, n]``, ``[1, n]`` for their mean, or ``[0, n]``, bits ``[T, n/8]`` or ``[0, 0]``.
    Weights ``[k, N]`` are of the N neurons of a sample; sums ``[T, k]`` int64 are added to. All
    else is float32.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled, inlined, scalar
from snnconv.engine.event_conv.bits import pack
from snnconv.engine.neurons.tuples import at, cut, put
from snnconv.engine.simd import LANES, mix
from snnconv.neurons.kernel import Kernel

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Sums = NDArray[np.int64]
Place = np.uint64

BLOCK = 512  # neurons: nine arrays of them fit into the smallest first-level cache
HEAVIEST = 1 << 22  # weighted count of a neuron, so that a block of them adds up in int32

_NONE, _ONE = Place(0), np.float32(1)


@inlined
def mix_currents(currents: Floats, omega: Floats, t: int, low: int, out: Floats) -> None:
    """By Omega's row of step t, the currents of the neurons from ``low`` on."""
    apart = 4 * currents.shape[1] if len(currents) > 1 else 0
    rows, shares = currents.ctypes.data + 4 * low, omega.ctypes.data + 4 * omega.shape[1] * t
    mix(out.ctypes.data, rows, apart, omega.shape[1], shares, 4, len(out))


@inlined
def _add_up(sums: Sums, t: int, counts: Floats, weights: Floats, low: int) -> None:
    """Add a block's weighted counts to the sums of a step: integers, so their order is free.

    A negative spike counts as a positive one does.
    """
    neurons, done = weights.shape[1], 0
    while done < len(counts):  # a block may lie in several samples
        first = (low + done) % neurons
        size = min(len(counts) - done, neurons - first)
        spikes = counts[done : done + size]
        for k in range(len(weights)):
            by = weights[k, first : first + size]
            found = np.int32(0)
            for i in range(size):
                found += np.int32(abs(spikes[i]) * by[i])
            sums[t, k] += found
        done += size


@inlined
def _add_to(total: Floats, values: Floats) -> None:
    for i in range(len(total)):
        total[i] += values[i]


@functools.cache
def forward(kernel: Kernel, name: str) -> Callable[..., None]:
    """Compile a neuron's loop.

    Args:
        kernel: of the neuron.
        name: of the neuron, for the file that keeps the compiled code.

    Returns:
        The function ``scan`` below, for arrays of the shapes above.
    """
    step = scalar(kernel.step)

    # one loop for each kind of row; arrays are whole, with the place where the row starts

    @inlined
    def row(
        n: Place,
        currents: Floats,
        c: Place,
        constants: Any,
        now: Any,
        state: Any,
        counts: Floats,
        s: Place,
        values: Floats,
        x: Place,
    ) -> None:
        for i in range(n):
            count, value, after = step(currents[c + i], _ONE, at(constants, i), now, at(state, i))
            put(state, i, after)
            put((counts,), s + i, (count,))
            put((values,), x + i, (value,))

    @inlined
    def masked_row(
        n: Place,
        currents: Floats,
        c: Place,
        keep: Floats,
        k: Place,
        constants: Any,
        now: Any,
        state: Any,
        counts: Floats,
        s: Place,
        values: Floats,
        x: Place,
    ) -> None:
        for i in range(n):
            count, value, after = step(
                currents[c + i], keep[k + i], at(constants, i), now, at(state, i)
            )
            put(state, i, after)
            put((counts,), s + i, (count,))
            put((values,), x + i, (value,))

    def scan(
        start: int,
        stop: int,
        currents: Floats,
        first: int,
        omega: Floats | None,
        keep: Floats,
        constants: Any,
        schedule: Any,
        states: Any,
        steps: int,
        bits: Bytes,
        counts: Floats,
        values: Floats,
        weights: Floats,
        sums: Sums,
    ) -> None:
        """Neurons ``start`` to ``stop``."""
        spare = np.empty((3, BLOCK), np.float32)
        counted, averages = len(counts) > 0, len(values) == 1 and steps > 1
        valued = len(values) > 0 and not averages
        given = currents.reshape(-1) if omega is None else spare[0]
        masks = keep.reshape(-1)
        to_counts = counts.reshape(-1) if counted else spare[1]
        to_values = values.reshape(-1) if valued else spare[2]
        width = Place(counts.shape[1])
        c_up = Place(currents.shape[1]) if omega is None and len(currents) > 1 else _NONE
        s_up, x_up = width if counted else _NONE, width if valued else _NONE
        same = omega is not None and (omega == omega[0]).all()  # every step is given the same
        for low in range(start, stop, BLOCK):
            high = min(low + BLOCK, stop)
            n, k = Place(high - low), Place(low)
            c = Place(low - first) if omega is None else _NONE
            s, x = Place(low) if counted else _NONE, Place(low) if valued else _NONE
            state, constant = cut(states, low, high), cut(constants, low, high)
            for t in range(steps):
                if omega is not None and not (same and t > 0):
                    mix_currents(currents, omega, t, low - first, spare[0, : high - low])
                now = at(schedule, t)
                if len(keep) > 0:
                    masked_row(
                        n, given, c, masks, k, constant, now, state, to_counts, s, to_values, x
                    )
                else:
                    row(n, given, c, constant, now, state, to_counts, s, to_values, x)
                if averages and t == 0:
                    values[0, low:high] = spare[2, : high - low]
                elif averages:
                    _add_to(values[0, low:high], spare[2])
                if len(bits) > 0:
                    spikes, packed = to_counts[s : s + n].ctypes.data, bits[t].ctypes.data
                    for i in range(0, high - low, LANES):
                        pack(packed + (low + i) // 8, spikes + 4 * i)
                if len(weights) > 0:
                    _add_up(sums, t, to_counts[s : s + n], weights, low)
                c, k, s, x = c + c_up, k + width, s + s_up, x + x_up
            if averages:
                for i in range(low, high):
                    values[0, i] /= np.float32(steps)

    return compiled(scan, f"{name}_forward")

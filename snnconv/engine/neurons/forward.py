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
    Weights ``[k, N]`` are of the N neurons of a sample; sums ``[T, b, k]`` int64, of the samples
    in which these neurons lie, are added to. All else is float32.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

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
LEAST = 8  # weighted counts that float32 adds up: so few that a block of them fits into int32

_LINE = 16  # numbers of a line of the cache
_NONE, _ONE = Place(0), np.float32(1)


@inlined
def rows_of_a_block(number: int) -> Floats:
    """New rows ``[number, BLOCK]``, of any content, that begin where a line of the cache does."""
    memory = np.empty(number * BLOCK + _LINE, np.float32)
    first = (_LINE - memory.ctypes.data // 4 % _LINE) % _LINE
    return memory[first : first + number * BLOCK].reshape((number, BLOCK))


@inlined
def mix_currents(currents: Floats, omega: Floats, t: int, low: int, out: Floats) -> None:
    """By Omega's row of step t, the currents of the neurons from ``low`` on."""
    apart = 4 * currents.shape[1] if len(currents) > 1 else 0
    rows, shares = currents.ctypes.data + 4 * low, omega.ctypes.data + 4 * omega.shape[1] * t
    mix(out.ctypes.data, rows, apart, omega.shape[1], shares, 4, len(out))


@inlined
def _add_up(
    sums: Sums, t: int, counts: Floats, weights: Floats, low: int, first_sample: int
) -> None:
    """Add a block's weighted counts to the sums of a step: integers, so their order is free.

    A negative spike counts as a positive one does.
    """
    neurons, done = weights.shape[1], 0
    while done < len(counts):  # a block may lie in several samples
        first, sample = (low + done) % neurons, (low + done) // neurons - first_sample
        size = min(len(counts) - done, neurons - first)
        spikes = counts[done : done + size]
        for k in range(len(weights)):
            by = weights[k, first : first + size]
            found = np.int32(0)
            for i in range(size):
                found += np.int32(abs(spikes[i]) * by[i])
            sums[t, sample, k] += found
        done += size


@inlined
def _add_to(total: Floats, values: Floats, n: Place) -> None:
    for i in range(n):
        total[i] += values[i]


@inlined
def _divide(total: Floats, by: np.float32, to: Floats, x: Place, n: Place) -> None:
    for i in range(n):
        to[x + i] = total[i] / by


class _Rows(NamedTuple):
    """A step of a row of neurons, a loop for each kind of output.

    Arrays are whole, with the place where the row starts. What lies in several arrays is a tuple.
    """

    values: Callable[..., None]
    counts: Callable[..., None]
    masked: Callable[..., None]
    bits: Callable[..., None]


def _rows(kernel: Kernel) -> _Rows:
    step = scalar(kernel.step)

    @inlined
    def values_of(
        n: Place,
        given: Floats,
        c: Place,
        constants: Any,
        now: Any,
        state: Any,
        to: Floats,
        x: Place,
    ) -> None:
        for i in range(n):
            _, value, after = step(given[c + i], _ONE, at(constants, i), now, at(state, i))
            put(state, i, after)
            put((to,), x + i, (value,))

    @inlined
    def counts_of(
        n: Place,
        given: Floats,
        c: Place,
        constants: Any,
        now: Any,
        state: Any,
        to: Floats,
        x: Place,
        counts: Floats,
        s: Place,
    ) -> None:
        for i in range(n):
            count, value, after = step(given[c + i], _ONE, at(constants, i), now, at(state, i))
            put(state, i, after)
            put((to,), x + i, (value,))
            put((counts,), s + i, (count,))

    @inlined
    def masked(
        n: Place,
        given: Floats,
        c: Place,
        constants: Any,
        now: Any,
        state: Any,
        to: Floats,
        x: Place,
        counts: Floats,
        s: Place,
        keep: Floats,
        k: Place,
    ) -> None:
        for i in range(n):
            count, value, after = step(
                given[c + i], keep[k + i], at(constants, i), now, at(state, i)
            )
            put(state, i, after)
            put((to,), x + i, (value,))
            put((counts,), s + i, (count,))

    @inlined
    def bits_of(
        n: Place,
        given: Floats,
        c: Place,
        constants: Any,
        now: Any,
        state: Any,
        counts: Floats,
        bits: int,
    ) -> None:
        for i in range(n):
            count, _, after = step(given[c + i], _ONE, at(constants, i), now, at(state, i))
            put(state, i, after)
            put((counts,), i, (count,))
        spikes = counts.ctypes.data
        for i in range(n // Place(LANES)):
            pack(bits + i * Place(LANES // 8), spikes + i * Place(4 * LANES))

    return _Rows(values_of, counts_of, masked, bits_of)


@functools.cache
def forward(kernel: Kernel, name: str) -> Callable[..., None]:
    """Compile a neuron's loop.

    Args:
        kernel: of the neuron.
        name: of the neuron, for the file that keeps the compiled code.

    Returns:
        The function ``scan`` below, for arrays of the shapes above.
    """
    values_of, counts_of, masked, bits_of = _rows(kernel)

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
        spare = rows_of_a_block(4)
        counted, averages = len(counts) > 0, len(values) == 1 and steps > 1
        valued = len(values) > 0 and not averages
        needs_counts = counted or len(weights) > 0
        given = currents.reshape(-1) if omega is None else spare[0]
        masks, packed = keep.reshape(-1), bits.ctypes.data
        to = values.reshape(-1) if valued else spare[2]
        to_counts = counts.reshape(-1) if counted else spare[1]
        width, first_sample = Place(counts.shape[1]), start // weights.shape[1]
        c_up = Place(currents.shape[1]) if omega is None and len(currents) > 1 else _NONE
        s_up, x_up = width if counted else _NONE, width if valued else _NONE
        same = omega is not None and (omega == omega[0]).all()  # every step is given the same
        for low in range(start, stop, BLOCK):
            high = min(low + BLOCK, stop)
            n, k = Place(high - low), Place(low)
            c = Place(low - first) if omega is None else _NONE
            s, x = Place(low) if counted else _NONE, Place(low) if valued else _NONE
            state, constant = cut(states, low, high), cut(constants, low, high)
            spare[3] = 0
            for t in range(steps):
                if omega is not None and not (same and t > 0):
                    mix_currents(currents, omega, t, low - first, spare[0, : high - low])
                now = at(schedule, t)
                b = packed + bits.shape[1] * t + low // 8
                if len(keep) > 0:
                    masked(n, given, c, constant, now, state, to, x, to_counts, s, masks, k)
                elif needs_counts:
                    counts_of(n, given, c, constant, now, state, to, x, to_counts, s)
                elif len(bits) > 0:
                    bits_of(n, given, c, constant, now, state, spare[1], b)
                else:
                    values_of(n, given, c, constant, now, state, to, x)
                if len(bits) > 0 and (needs_counts or len(keep) > 0):
                    spikes = to_counts[s : s + n].ctypes.data
                    for i in range(0, high - low, LANES):
                        pack(b + i // 8, spikes + 4 * i)
                if averages:
                    _add_to(spare[3], spare[2], n)
                if len(weights) > 0:
                    _add_up(sums, t, to_counts[s : s + n], weights, low, first_sample)
                c, k, s, x = c + c_up, k + width, s + s_up, x + x_up
            if averages:
                _divide(spare[3], np.float32(steps), values.reshape(-1), Place(low), n)

    return compiled(scan, f"{name}_forward")

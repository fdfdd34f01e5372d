"""A neuron's scalar step, compiled as a loop over neurons and time.

A block of neurons takes all its steps while it is in the cache. Masks, counts, bits, means and sums
are decided once for each row of a block, so the loop over its neurons contains only the step, and
the compiler vectorises it.

Shape:
    Currents are ``[1 or T, m]`` for the neurons from ``first`` on; one row is constant over time.
    Keep is ``[T, n]``, or ``[0, n]`` for none. Constants are ``[n]`` each, or shorter if all
    neurons share one number. Schedules are ``[T]`` each, states ``[n]`` each and changed in place.
    Omega ``[T, S]``, or None, mixes currents ``[1 or S, m]`` over time. The loop writes counts
    ``[T, n]`` or ``[0, n]``; values ``[T, n]``, ``[1, n]`` for their mean, or ``[0, n]``; and bits
    ``[T, n/8]`` or ``[0, 0]``. Weights ``[k, N]`` belong to the N neurons of a sample. The loop
    adds to sums ``[T, b, k]`` int64 of the samples in which its neurons lie. All others are
    float32.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnconv.core.jit import compiled, inlined, scalar
from snnconv.engine.event_conv.bits import WORD, fired, lowest, pack
from snnconv.engine.neurons.tuples import GIVES, at, cut, matrices_for, put, row_at
from snnconv.engine.rows import LANES, Arrays, Bytes, Floats, Place, add_multiple, zeros
from snnconv.errors import UnsupportedError
from snnconv.neurons.base import Neuron
from snnconv.neurons.kernel import Kernel, Numbers

Sums = NDArray[np.int64]
Row = tuple[Floats, Place]
"""An array, and the place where a row of it starts."""
Room = tuple[Bytes, Floats, Arrays, Arrays]
"""The memory of one thread for a kernel with ``silent``."""

BLOCK = 512  # neurons: nine arrays of this size fit into the smallest first-level cache
LEAST = 8  # weighted counts that float32 must be able to add up: then a block fits into int32

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_WHOLE = Place(2 * LANES)  # a loop over multiples of it has no remainder of single numbers
_NONE, _ZERO, _ONE = Place(0), np.float32(0), np.float32(1)


@inlined
def mix_currents(currents: Floats, omega: Floats, t: int, low: int, out: Floats) -> None:
    """Mix the currents of the neurons from ``low`` on by Omega's row t, in the order of steps."""
    rows, apart = currents.reshape(-1), currents.shape[1] if len(currents) > 1 else 0
    out[:] = 0
    for j in range(omega.shape[1]):
        add_multiple(out, _NONE, rows, Place(low + j * apart), omega[t, j], Place(len(out)))


@inlined
def _add_up(
    sums: Sums, t: int, counts: Floats, weights: Floats, low: int, first_sample: int
) -> None:
    """Add a block's weighted counts to the sums of a step: integers, in any order.

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
def _divide(total: Floats, by: np.float32, to: Floats, x: Place, n: Place) -> None:
    for i in range(n):
        to[x + i] = total[i] / by


def row_of(kernel: Kernel) -> tuple[Callable[..., None], Callable[..., Room | tuple[()]]]:
    """Return the step of a row of neurons, and a function that gives the memory it needs.

    Several arrays are a tuple. Without ``keep`` every spike is elicited. The step writes values,
    counts and the states after it if there are arrays for them; these may be the arrays of the
    states before it. The compiler makes a loop for each case.
    """
    step = scalar(kernel.step)

    @inlined
    def row(
        n: Place,
        currents: Row,
        constants: Arrays,
        now: Numbers,
        state: Arrays,
        following: Arrays | None,
        keep: Row | None,
        values: Row | None,
        counts: Row | None,
        room: Room | tuple[()],
    ) -> None:
        given, c = currents
        for i in range(n):
            kept = _ONE if keep is None else keep[0][keep[1] + i]
            count, value, after = step(given[c + i], kept, at(constants, i), now, at(state, i))
            if following is not None:
                put(following, i, after)
            if values is not None:
                put((values[0],), values[1] + i, (value,))
            if counts is not None:
                put((counts[0],), counts[1] + i, (count,))

    return (row, _no_room) if kernel.silent is None else (_skipping(kernel, row), _room)


@inlined
def _no_room(constants: Arrays, states: Arrays) -> tuple[()]:
    return ()


@inlined
def _room(constants: Arrays, states: Arrays) -> Room:
    bits = np.zeros(BLOCK // 8 + 8, np.uint8)
    own_constants, own_states = matrices_for(constants, 1, BLOCK), matrices_for(states, 1, BLOCK)
    return bits, zeros(6, BLOCK), row_at(own_constants, 0), row_at(own_states, 0)


def _skipping(kernel: Kernel, row: Callable[..., None]) -> Callable[..., None]:
    """Return a row that gathers, for the step, the neurons which do not surely stay silent."""
    silent, settled = scalar(kernel.silent), scalar(kernel.settled)

    @inlined
    def skipping(
        n: Place,
        currents: Row,
        constants: Arrays,
        now: Numbers,
        state: Arrays,
        following: Arrays | None,
        keep: Row | None,
        values: Row | None,
        counts: Row | None,
        room: Room,
    ) -> None:
        bits, spare, own_constants, own_state = room
        may, own, own_keep = spare[0], spare[1], spare[2]
        own_values, own_counts = spare[3], spare[4]
        given, c = currents
        to, x = (spare[5], _NONE) if values is None else values
        for i in range(n):
            sure = silent(given[c + i], at(constants, i), now, at(state, i))
            may[i] = _ZERO if sure else _ONE
            put((to,), x + i, (_ZERO,))
            if counts is not None:
                put((counts[0],), counts[1] + i, (_ZERO,))
        for i in range(_NONE, n, Place(LANES)):
            pack(bits.ctypes.data + i // Place(8), may.ctypes.data + i * Place(4))
        found, size = _NONE, int(np.int64(n))
        # bit by bit, because a loop that the compiler vectorises would be slower
        for low in range(0, size, WORD):
            word = fired(bits.ctypes.data, low, min(WORD, size - low), True)
            while word != 0:
                j = Place(low + lowest(word))
                word &= word - 1
                kept = _ONE if keep is None else keep[0][keep[1] + j]
                put((own, own_keep), found, (given[c + j], kept))
                put(own_constants, found, at(constants, j))
                put(own_state, found, at(state, j))
                found += Place(1)
        whole = (found + _WHOLE - Place(1)) // _WHOLE * _WHOLE
        out, spikes = (own_values, _NONE), (own_counts, _NONE)
        mask = (own_keep, _NONE)
        row(whole, (own, _NONE), own_constants, now, own_state, None, mask, out, spikes, ())
        found = _NONE
        for low in range(0, size, WORD):
            word = fired(bits.ctypes.data, low, min(WORD, size - low), True)
            while word != 0:
                j = Place(low + lowest(word))
                word &= word - 1
                put((to,), x + j, (own_values[found],))
                if counts is not None:
                    put((counts[0],), counts[1] + j, (own_counts[found],))
                found += Place(1)
        for i in range(n):
            put(following, i, settled(to[x + i], given[c + i], at(constants, i), now, at(state, i)))

    return skipping


def refusal(name: str, function: Callable[..., object], error: Exception) -> UnsupportedError:
    """Return the error for a kernel's function that numba can't compile."""
    code = function.__code__
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines()]
    of_ours = [line[line.index(GIVES) :] for line in lines if GIVES in line]
    of_numba = [line for line in lines if line and not line.startswith("Failed in")]
    return UnsupportedError(
        f"numba can't compile the KERNEL of {name} neurons",
        f"in '{code.co_name}', {code.co_filename}, line {code.co_firstlineno}: "
        f"{[*of_ours, *of_numba, type(error).__name__][0]}",
        "mend the function, or leave KERNEL out: the neurons then run by their own step, slower",
    )


def kernel_of(kind: type[Neuron[Any]]) -> tuple[Kernel, str]:
    """Return the kernel of a class of neurons, and a name for the files of its compiled code."""
    assert kind.KERNEL is not None
    return kind.KERNEL, "".join(x if x.isalnum() else "_" for x in kind.__qualname__)


@functools.cache
def forward(kind: type[Neuron[Any]]) -> Callable[..., None]:
    """Compile the loop of a class of neurons: ``scan`` below, for the shapes above."""
    kernel, name = kernel_of(kind)
    row, room_of = row_of(kernel)

    def scan(
        start: int,
        stop: int,
        currents: Floats,
        first: int,
        omega: Floats | None,
        keep: Floats,
        constants: Arrays,
        schedule: Arrays,
        states: Arrays,
        steps: int,
        bits: Bytes,
        counts: Floats,
        values: Floats,
        weights: Floats,
        sums: Sums,
    ) -> None:
        """Run neurons ``start`` to ``stop``."""
        spare, room = zeros(4, BLOCK), room_of(constants, states)
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
        same = omega is not None and (omega == omega[0]).all()  # all steps get the same currents
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
                now, read, out, spikes = at(schedule, t), (given, c), (to, x), (to_counts, s)
                if len(keep) > 0:
                    row(n, read, constant, now, state, state, (masks, k), out, spikes, room)
                elif needs_counts:
                    row(n, read, constant, now, state, state, None, out, spikes, room)
                elif len(bits) > 0:
                    row(n, read, constant, now, state, state, None, None, spikes, room)
                else:
                    row(n, read, constant, now, state, state, None, out, None, room)
                if len(bits) > 0:
                    source, b = to_counts[s : s + n].ctypes.data, packed + bits.shape[1] * t
                    for i in range(low, high, LANES):
                        pack(b + i // 8, source + 4 * (i - low))
                if averages:
                    add_multiple(spare[3], _NONE, spare[2], _NONE, _ONE, n)
                if len(weights) > 0:
                    _add_up(sums, t, to_counts[s : s + n], weights, low, first_sample)
                c, k, s, x = c + c_up, k + width, s + s_up, x + x_up
            if averages:
                _divide(spare[3], np.float32(steps), values.reshape(-1), Place(low), n)

    return compiled(scan, f"{name}_forward", functools.partial(refusal, name, kernel.step))

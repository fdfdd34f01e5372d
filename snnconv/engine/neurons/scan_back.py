"""The gradient of a neuron's scalar step, compiled as a loop over neurons and time.

The layer before keeps the currents, so a block of neurons runs forward once more to compute its
states, and then backward, while they are in the cache. A parameter of the whole layer has a
gradient that is a sum over neurons: each block writes its own sum, so that the order of addition
does not depend on the number of threads.

Shape:
    As in :mod:`snnconv.engine.neurons.scan`, with the currents of all neurons. The gradients of
    counts and values are ``[1 or T, n]``, or ``[0, n]`` for none; those of the last states are
    ``[n]`` each, or shorter if all neurons share one number. The loop writes the gradients of the
    currents ``[T or S, n]`` and of the first states ``[n]`` each. For each block it writes those of
    the schedule ``[blocks, T]`` each, and of Omega ``[blocks, T, S]``; both have no block if they
    are not wanted. The numbers of the surrogate are a tuple.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from snnconv.core.jit import compiled, inlined, scalar
from snnconv.engine.neurons.scan import BLOCK, Row, kernel_of, mix_currents, refusal, row_of
from snnconv.engine.neurons.tuples import at, cut, matrices_for, move, overloaded, put, row_at
from snnconv.engine.rows import LANES, Arrays, Floats, Place, add_multiple, zeros
from snnconv.neurons.base import Neuron
from snnconv.neurons.kernel import Kernel, Numbers, Slope
from snnconv.neurons.surrogates.base import Surrogate

_NONE, _ZERO, _ONE = Place(0), np.float32(0), np.float32(1)


@inlined
def dot(one: Floats, other: Floats, sums: Floats) -> np.float32:
    """Return the dot product of two blocks: 32 sums, which are then added up by halves.

    It has the same bits on every processor, and a smaller error than a single sum.
    """
    sums[:] = 0
    lanes = half = Place(len(sums))  # not a constant: LLVM would unroll loops of 32
    for low in range(_NONE, Place(BLOCK), lanes):
        for k in range(lanes):
            sums[k] += one[low + k] * other[low + k]
    while half > Place(1):
        half >>= Place(1)
        for k in range(half):
            sums[k] += sums[k + half]
    total: np.float32 = sums[0]
    return total


def _sum_up(sums: Arrays, block: int, t: int, products: Arrays, ones: Floats, own: Floats) -> None:
    """Add up a block's products."""
    raise NotImplementedError("for compiled code")


@overloaded(_sum_up)
def _summing(sums: Any, block: Any, t: Any, products: Any, ones: Any, own: Any) -> Any:
    if len(sums) == 0:
        return lambda sums, block, t, products, ones, own: None

    def add_up(
        sums: Arrays, block: int, t: int, products: Arrays, ones: Floats, own: Floats
    ) -> None:
        if len(sums[0]) > 0:
            sums[0][block, t] = dot(products[0], ones, own)
        _sum_up(sums[1:], block, t, products[1:], ones, own)

    return add_up


def _slope_of(kind: type[Surrogate]) -> Slope:
    """Return the derivative of a spike that a kind of surrogates gives, as compiled code."""
    assert kind.derivative_at is not None
    derivative = scalar(kind.derivative_at)

    @inlined
    def slope(potential: np.float32, threshold: np.float32, shape: Numbers) -> np.float32:
        found: np.float32 = derivative((potential - threshold) / threshold, shape)
        # an adaptive threshold may underflow to 0: the slope is 0 there, not 0/0
        return found / threshold if threshold > _ZERO else _ZERO

    return slope


def _gradient_of(kernel: Kernel, surrogate: type[Surrogate] | None) -> Callable[..., Any]:
    """Return a step's gradient with its surrogate, whose numbers are the first argument."""
    gradient = scalar(kernel.gradient)
    if surrogate is None:
        return inlined(lambda shape, *given: gradient(*given))
    slope = _slope_of(surrogate)
    return inlined(
        lambda shape, c, k, p, now, v, of_s, of_x, of_v: gradient(
            c, k, p, now, v, of_s, of_x, of_v, slope, shape
        )
    )


def _back(gradient: Callable[..., Any]) -> Callable[..., None]:
    """Return the gradient of the step of a row of neurons."""

    @inlined
    def back(
        n: Place,
        currents: Row,
        keep: Row,
        constants: Arrays,
        now: Numbers,
        state: Arrays,
        of_counts: Row,
        of_values: Row,
        of_state: Arrays,
        to: Row,
        products: Arrays,
        shape: Numbers,
    ) -> None:
        (given, c), (masks, k), (counts, s), (values, x) = currents, keep, of_counts, of_values
        for i in range(n):
            seen = given[c + i], masks[k + i], at(constants, i), now, at(state, i)
            of_out = counts[s + i], values[x + i], at(of_state, i)
            found, before, learned = gradient(shape, *seen, *of_out)
            put((to[0],), to[1] + i, (found,))
            put(of_state, i, before)
            put(products, i, learned)

    return back


@inlined
def _unmix(
    currents: Floats,
    omega: Floats,
    of_mixed: Floats,
    of_currents: Floats,
    of_omega: Floats,
    block: int,
    own: Floats,
) -> None:
    """Compute the gradients of Omega and of the currents, from a block's mixed ``[T, BLOCK]``."""
    steps, sees = omega.shape
    low = block * BLOCK
    high = min(low + BLOCK, of_currents.shape[1])
    n, seen, rows = Place(high - low), np.zeros(BLOCK, np.float32), of_mixed.reshape(-1)
    of_mixed[:, high - low :] = 0  # of the block before
    for j in range(sees):
        to = of_currents[j, low:high]
        to[:] = 0
        for t in range(steps):
            add_multiple(to, _NONE, rows, Place(t * BLOCK), omega[t, j], n)
    for j in range(sees if len(of_omega) > 0 else 0):
        seen[: high - low] = currents[j if len(currents) > 1 else 0, low:high]
        for t in range(steps):
            of_omega[block, t, j] = dot(of_mixed[t], seen, own)


@functools.cache
def backward(kind: type[Neuron[Any]], surrogate: type[Surrogate] | None) -> Callable[..., None]:
    """Compile the backward loop of a class of neurons: ``scan`` below, over blocks.

    Args:
        kind: a class of neurons.
        surrogate: the surrogate of their spikes; None if the neurons' own gradient is used.
    """
    kernel, name = kernel_of(kind)
    assert kernel.gradient is not None
    (row, room_of), back = row_of(kernel), _back(_gradient_of(kernel, surrogate))
    kept_as = f"{name}_{surrogate.__qualname__}" if surrogate else name

    def scan(
        start: int,
        stop: int,
        currents: Floats,
        omega: Floats | None,
        keep: Floats,
        constants: Arrays,
        schedule: Arrays,
        states: Arrays,
        steps: int,
        of_counts: Floats,
        of_values: Floats,
        of_ends: Arrays,
        of_currents: Floats,
        of_starts: Arrays,
        of_schedule: Arrays,
        of_omega: Floats,
        shape: Numbers,
    ) -> None:
        """Run blocks ``start`` to ``stop``."""
        neurons = of_currents.shape[1]
        width = Place(neurons)
        nothing, ones = np.zeros(BLOCK, np.float32), np.ones(BLOCK, np.float32)
        own = np.zeros(2 * LANES, np.float32)
        saved = matrices_for(states, steps + 1, BLOCK)
        later, room = matrices_for(states, 1, BLOCK), room_of(constants, states)
        mixed = zeros(steps if omega is not None else 0, BLOCK)
        of_mixed = zeros(steps if omega is not None else 0, BLOCK)
        given = currents.reshape(-1) if omega is None else mixed.reshape(-1)
        to = of_currents.reshape(-1) if omega is None else of_mixed.reshape(-1)
        masks = keep.reshape(-1) if len(keep) > 0 else ones
        counts = of_counts.reshape(-1) if len(of_counts) > 0 else nothing
        values = of_values.reshape(-1) if len(of_values) > 0 else nothing
        o_up = Place(BLOCK) if omega is not None else width
        c_up = o_up if omega is not None or len(currents) > 1 else _NONE
        k_up = width if len(keep) > 0 else _NONE
        s_up = width if len(of_counts) > 1 else _NONE
        x_up = width if len(of_values) > 1 else _NONE
        for block in range(start, stop):
            low, high = block * BLOCK, min((block + 1) * BLOCK, neurons)
            products = matrices_for(of_schedule, 1, BLOCK)  # zeros: sums are those of whole blocks
            n = Place(high - low)
            c = o = Place(low) if omega is None else _NONE
            k = Place(low) if len(keep) > 0 else _NONE
            s = Place(low) if len(of_counts) > 0 else _NONE
            x = Place(low) if len(of_values) > 0 else _NONE
            constant, first = cut(constants, low, high), cut(states, low, high)
            last, of_first = cut(of_ends, low, high), cut(of_starts, low, high)
            of_state, product, state = row_at(later, 0), row_at(products, 0), row_at(saved, 0)
            move(state, first, n)
            move(of_state, last, n)
            for t in range(steps):
                if omega is not None:
                    mix_currents(currents, omega, t, low, mixed[t, : high - low])
                state, following, now = row_at(saved, t), row_at(saved, t + 1), at(schedule, t)
                read, mask = (given, c + Place(t) * c_up), (masks, k + Place(t) * k_up)
                row(n, read, constant, now, state, following, mask, None, None, room)
            for t in range(steps - 1, -1, -1):
                u, state, now = Place(t), row_at(saved, t), at(schedule, t)
                read, mask, out = (given, c + u * c_up), (masks, k + u * k_up), (to, o + u * o_up)
                spikes = (counts, s + u * s_up), (values, x + u * x_up)
                back(n, read, mask, constant, now, state, *spikes, of_state, out, product, shape)
                _sum_up(of_schedule, block, t, product, ones, own)
            move(of_first, of_state, n)
            if omega is not None:
                _unmix(currents, omega, of_mixed, of_currents, of_omega, block, own)

    return compiled(scan, f"{kept_as}_backward", functools.partial(refusal, name, kernel.gradient))

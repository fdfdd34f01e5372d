"""The gradient of a neuron's scalar step, compiled as a loop over neurons and time.

What went in is kept anyway, by the layer before; so a block of neurons goes forth once more to have
its states, then back, while they are in the cache. What a layer learns itself has a gradient that
is a sum over neurons: each block gives its own, in an order that depends on no number of threads.

Shape:
    As in :mod:`snnconv.engine.neurons.scan`, currents of all neurons; gradients by counts and
    values ``[1 or T, n]``, or ``[0, n]`` where there is none, by states at the end ``[n]`` each, or
    shorter if all neurons have the same. Out come gradients by what is seen ``[T or S, n]``, by the
    first states ``[n]`` each, and of each block those by the schedule ``[blocks, T]`` each and by
    Omega ``[blocks, T, S]``, or of no block if they are not wanted. The numbers of the surrogate
    are a tuple.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from snnconv.core.jit import compiled, inlined, scalar
from snnconv.engine.neurons.scan import BLOCK, kernel_of, mix_currents, refusal, row_of
from snnconv.engine.neurons.tuples import at, cut, matrices_for, move, overloaded, put, row_at
from snnconv.engine.rows import LANES, Floats, Place, add_multiple, zeros
from snnconv.neurons.base import Neuron
from snnconv.neurons.kernel import Kernel, Numbers, Slope
from snnconv.neurons.surrogates.base import Surrogate

_NONE, _ZERO, _ONE = Place(0), np.float32(0), np.float32(1)


@inlined
def dot(one: Floats, other: Floats, sums: Floats) -> np.float32:
    """The sum of products of two blocks, added up by 32 sums and then by halves of them.

    The same bits on every processor, and a smaller error than one sum would have.
    """
    sums[:] = 0
    lanes = half = Place(len(sums))  # not a constant: LLVM would write loops of 32 out, one by one
    for low in range(_NONE, Place(BLOCK), lanes):
        for k in range(lanes):
            sums[k] += one[low + k] * other[low + k]
    while half > Place(1):
        half >>= Place(1)
        for k in range(half):
            sums[k] += sums[k + half]
    total: np.float32 = sums[0]
    return total


def _sum_up(sums: Any, block: int, t: int, products: Any, ones: Floats, own: Floats) -> Any:
    """The sums of a block's products."""
    raise NotImplementedError("for compiled code")


@overloaded(_sum_up)
def _summing(sums: Any, block: Any, t: Any, products: Any, ones: Any, own: Any) -> Any:
    if len(sums) == 0:
        return lambda sums, block, t, products, ones, own: None

    def add_up(sums: Any, block: Any, t: Any, products: Any, ones: Any, own: Any) -> None:
        if len(sums[0]) > 0:
            sums[0][block, t] = dot(products[0], ones, own)
        _sum_up(sums[1:], block, t, products[1:], ones, own)

    return add_up


def _slope_of(kind: type[Surrogate]) -> Slope:
    """What stands for the derivative of a spike, of a kind of surrogates."""
    assert kind.derivative_at is not None
    derivative = scalar(kind.derivative_at)

    @inlined
    def slope(potential: np.float32, threshold: np.float32, shape: Numbers) -> np.float32:
        found: np.float32 = derivative((potential - threshold) / threshold, shape)
        # an adaptive threshold may underflow to 0: the slope is 0 there, not 0/0
        return found / threshold if threshold > _ZERO else _ZERO

    return slope


def _gradient_of(kernel: Kernel, surrogate: type[Surrogate] | None) -> Callable[..., Any]:
    """The gradient of a step, with its surrogate in place."""
    gradient = scalar(kernel.gradient)
    if surrogate is None:
        return inlined(
            lambda c, k, p, now, v, of_s, of_x, of_v, shape: gradient(
                c, k, p, now, v, of_s, of_x, of_v
            )
        )
    slope = _slope_of(surrogate)
    return inlined(
        lambda c, k, p, now, v, of_s, of_x, of_v, shape: gradient(
            c, k, p, now, v, of_s, of_x, of_v, slope, shape
        )
    )


def _back(gradient: Callable[..., Any]) -> Callable[..., None]:
    """The gradient of a step of a row of neurons."""

    @inlined
    def back(
        n: Place,
        currents: Floats,
        c: Place,
        keep: Floats,
        k: Place,
        constants: Any,
        now: Any,
        state: Any,
        of_counts: Floats,
        s: Place,
        of_values: Floats,
        x: Place,
        of_state: Any,
        to: Floats,
        o: Place,
        products: Any,
        shape: Any,
    ) -> None:
        for i in range(n):
            given = currents[c + i], keep[k + i], at(constants, i), now, at(state, i)
            of_out = of_counts[s + i], of_values[x + i], at(of_state, i)
            found, before, learned = gradient(*given, *of_out, shape)
            put((to,), o + i, (found,))
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
    """From the gradients of a block's mixed currents ``[T, BLOCK]`` to what they are made of."""
    steps, sees = omega.shape
    low = block * BLOCK
    high = min(low + BLOCK, of_currents.shape[1])
    n, seen, rows = Place(high - low), np.zeros(BLOCK, np.float32), of_mixed.reshape(-1)
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
    """Compile the way back of a class of neurons: the function ``scan`` below, of blocks.

    Args:
        kind: of neurons.
        surrogate: of their spikes; none if they have one of their own.
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
        constants: Any,
        schedule: Any,
        states: Any,
        steps: int,
        of_counts: Floats,
        of_values: Floats,
        of_ends: Any,
        of_currents: Floats,
        of_starts: Any,
        of_schedule: Any,
        of_omega: Floats,
        shape: Any,
    ) -> None:
        """Blocks ``start`` to ``stop``."""
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
        c_up = Place(BLOCK) if omega is not None else width if len(currents) > 1 else _NONE
        o_up = Place(BLOCK) if omega is not None else width
        k_up = width if len(keep) > 0 else _NONE
        s_up = width if len(of_counts) > 1 else _NONE
        x_up = width if len(of_values) > 1 else _NONE
        for block in range(start, stop):
            low, high = block * BLOCK, min((block + 1) * BLOCK, neurons)
            n = Place(high - low)
            products = matrices_for(of_schedule, 1, BLOCK)  # zeros: sums are those of whole blocks
            of_mixed[:] = 0
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
                u, state, following = Place(t), row_at(saved, t), row_at(saved, t + 1)
                now, read, mask = at(schedule, t), (given, c + u * c_up), (masks, k + u * k_up)
                row(n, read, constant, now, state, following, mask, None, None, room)
            for t in range(steps - 1, -1, -1):
                u, state, now = Place(t), row_at(saved, t), at(schedule, t)
                back(
                    n, given, c + u * c_up, masks, k + u * k_up, constant, now, state,
                    counts, s + u * s_up, values, x + u * x_up, of_state, to, o + u * o_up,
                    product, shape,
                )  # fmt: skip
                _sum_up(of_schedule, block, t, product, ones, own)
            move(of_first, of_state, n)
            if omega is not None:
                _unmix(currents, omega, of_mixed, of_currents, of_omega, block, own)

    return compiled(scan, f"{kept_as}_backward", functools.partial(refusal, name, kernel.gradient))

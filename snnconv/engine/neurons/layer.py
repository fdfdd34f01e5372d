"""Run a layer of neurons by its compiled loop, and check all arrays before compiled code.

Arrays of another type, order or shape are an error, never a wrong result. The currents of a
convolution by events are computed for a few samples at a time and scanned while they are in the
cache.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconv.core.jit import Pieces, parallel_for
from snnconv.engine.event_conv.events import line_ranges
from snnconv.engine.event_conv.values import Deferred, Packed
from snnconv.engine.layer_output import LayerOutput, Wants, WeightedSum
from snnconv.engine.neurons.memory_layout import Flat, checked
from snnconv.engine.neurons.scan import BLOCK, LEAST, forward, kernel_of
from snnconv.engine.rows import LANES, Arrays, Floats
from snnconv.neurons.base import Neuron, StateType

Work = Callable[[Pieces], None]
"""The work of one thread on the pieces that it takes."""

CACHED = 1 << 16  # currents at once: half of a small second-level cache, in float32


class Scan:
    """The arrays of a layer for its compiled loop, which may take slices of it in any order.

    Args:
        neuron: neurons with a kernel.
        flat: the order of memory.
        keep: the mask of spike confidence, ``[T, B, *N]``; None if every spike is elicited.
        wants: what is wanted of the spikes.
        omega: how currents are mixed over time, ``[T, S]``; None if they are not.
        schedule: the numbers of each step, ``[T, p]``.
        starts: the states before the first step, ``[B, *N]`` each.

    Attributes:
        output: the layer's output, complete when the loop has run over all neurons.
        ends: the states after the last step, complete then, too.
    """

    def __init__(
        self,
        neuron: Neuron[Any],
        flat: Flat,
        keep: Tensor | None,
        wants: Wants,
        omega: Tensor | None,
        schedule: Tensor,
        starts: Sequence[Tensor],
    ) -> None:
        self._loop, self._lock, self._size = forward(type(neuron)), Lock(), flat.size
        steps, weighted, amplitude = len(schedule), wants.sums, neuron.amplitude()
        self._sees = steps if omega is None else omega.shape[1]
        states = [flat.own(start) for start in starts]
        self.ends = [state.tensor for state in states]
        self._given = (
            mixing(omega, steps, self._sees),
            masks(flat, keep, steps),
            by_neuron(flat, neuron.constants(starts[0])),
            by_step(schedule, steps),
            tuple(checked(state.array, (flat.size,), writeable=True) for state in states),
            steps,
        )
        packed = None
        if wants.packed and amplitude is not None and packable(flat):
            packed = Packed.empty(steps, flat.shape, amplitude)
        counts = flat.memory(steps * wants.counts)
        values = flat.memory(0 if packed else 1 if wants.mean else steps)
        rows = 0 if weighted is None else len(weighted.weights)
        sums = torch.zeros(steps if rows else 0, flat.shape[0], rows, dtype=torch.int64)
        self.output = LayerOutput(
            values=None if packed or wants.mean else values.tensor,
            counts=counts.tensor if wants.counts else None,
            sums=None if weighted is None else sums,
            mean=values.tensor if wants.mean else None,
            packed=packed,
        )
        self._sums = sums.numpy()
        self._out = (
            np.empty((0, 0), np.uint8) if packed is None else packed.bits,
            counts.array,
            values.array,
            np.empty((0, 1), np.float32)
            if weighted is None
            else flat.array(weighted.weights[:, None]),
        )

    def run(self, start: int, stop: int, currents: Floats, first: int) -> None:
        """Run the loop over neurons ``start`` to ``stop``.

        If spikes are bits, both are multiples of :data:`LANES`. Currents are ``[1 or S, m]`` of the
        neurons from ``first`` on.
        """
        checked(currents, ((1, self._sees), range(stop - first, self._size + 1)))
        if not self._sums.size:
            self._loop(start, stop, currents, first, *self._given, *self._out, self._sums)
            return
        neurons = self._out[-1].shape[1]  # of a sample
        to = self._sums[:, start // neurons : -(-stop // neurons)]
        sums = np.zeros(to.shape, np.int64)
        self._loop(start, stop, currents, first, *self._given, *self._out, sums)
        with self._lock:  # a sample may lie in the slices of several threads
            to += sums


def run_layer(
    neuron: Neuron[StateType],
    currents: Tensor | Deferred,
    state: StateType,
    keep: Tensor | None,
    wants: Wants,
    cached: int = CACHED,
) -> tuple[LayerOutput, StateType]:
    """Run all steps of a sequence; see :func:`snnconv.engine.dispatch.fire`.

    The neurons have a kernel, and the state is not None. ``cached`` is how many currents of a
    convolution by events are computed before they are scanned; it is one sample's at least.
    """
    if isinstance(currents, Deferred) and neuron.remembers:
        currents = currents.tensor()
    if wants.sums is not None and not summable(wants.sums):
        wants = replace(wants, counts=True, sums=None)
    if wants.packed and (wants.mean or neuron.levels > 1 or neuron.signed):
        wants = replace(wants, packed=False)
    (kernel, _), steps, seen = kernel_of(type(neuron)), currents.shape[0], None
    if isinstance(currents, Deferred):
        flat = Flat(torch.Size(currents.shape[1:]), channels_last=True)
    else:
        flat = Flat.of(currents)
    omega, schedule = neuron.mixing(state, steps), neuron.schedule(state, steps)
    starts = [getattr(state, field) for field in kernel.states]
    scan = Scan(neuron, flat, keep, wants, omega, schedule, starts)
    if isinstance(currents, Deferred):
        _, samples, channels, height, width = currents.shape
        work = _by_lines(currents, flat, scan, cached)
        parallel_for(work, samples * height, steps * width * channels, height)
    else:
        seen, unit = neuron.seen(currents, state), 1 if scan.output.packed is None else LANES
        parallel_for(_by_neurons(flat.rows(seen), unit, scan), flat.size // unit, steps * unit)
    changed = dict(zip(kernel.states, scan.ends, strict=True))
    return scan.output, neuron.continued(state, changed, steps, seen)


def _by_neurons(currents: Floats, unit: int, scan: Scan) -> Work:
    """Return the work of scanning pieces of ``[T, n]``, counted in groups of ``unit`` neurons."""

    def work(pieces: Pieces) -> None:
        for start, stop in pieces:
            scan.run(start * unit, stop * unit, currents, 0)

    return work


def _by_lines(currents: Deferred, flat: Flat, scan: Scan, cached: int) -> Work:
    """Return the work of computing and scanning images, counted in lines of all images."""
    steps, _, channels, height, width = currents.shape
    line = width * channels  # neurons
    neurons = height * line
    images = currents.images()
    others = [x if isinstance(x, Packed) else flat.rows(x) for x in currents.others]
    of_channels = [each.numpy()[:, None] for each in currents.channels]
    at_once = max(1, cached // (steps * neurons))

    def work(pieces: Pieces) -> None:
        memory = torch.empty(steps * at_once * neurons).numpy()  # aligned, as numpy.s is not
        for low, high, top, bottom in line_ranges(pieces, height, at_once):
            first, last = low * neurons + top * line, (high - 1) * neurons + bottom * line
            rows = memory[: steps * (last - first)].reshape(steps, last - first)
            images(low, high, top, steps, rows.reshape(-1, bottom - top, width, channels))
            for other in others:
                if isinstance(other, Packed):
                    other.add_to(rows, first)
                else:
                    rows += other[:, first:last]
            for each in of_channels:
                by_place = rows.reshape(steps, -1, channels)
                by_place += each
            scan.run(first, last, rows, first)

    return work


def summable(wanted: WeightedSum) -> bool:
    """Whether a scan can add up this sum exactly."""
    return wanted.at_once >= LEAST


def packable(flat: Flat) -> bool:
    """Whether spikes can be bits: images in channels-last, whose channels fill whole vectors."""
    _, channels, *places = flat.shape
    last = flat.channels_last or math.prod(places) == 1
    return last and len(places) == 2 and channels % LANES == 0


def mixing(omega: Tensor | None, steps: int, sees: int) -> Floats | None:
    """Return Omega as an array ``[T, S]``."""
    return None if omega is None else checked(small(omega), (steps, sees))


def by_neuron(flat: Flat, values: Iterable[Tensor]) -> Arrays:
    """Return tensors that broadcast to ``[B, *N]`` as ``[n]``, or ``[BLOCK]`` if all are equal."""
    return tuple(flat.neurons(value, BLOCK) for value in values)


def by_step(schedule: Tensor, steps: int) -> Arrays:
    """Return the columns of a schedule ``[T, p]``, ``[T]`` each."""
    return tuple(checked(column, (steps,)) for column in small(schedule.mT))


def masks(flat: Flat, keep: Tensor | None, steps: int) -> Floats:
    """Return the mask of spike confidence as an array ``[T, n]``; ``[0, n]`` if there is none."""
    return np.empty((0, flat.size), np.float32) if keep is None else flat.steps(keep, steps)


def small(learned: Tensor) -> Floats:
    """Return a small tensor as a contiguous array."""
    found: Floats = learned.detach().contiguous().numpy()
    return found

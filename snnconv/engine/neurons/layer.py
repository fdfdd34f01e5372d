"""A layer of neurons in simulation, by its compiled scan.

Of a convolution by events the currents are computed for a few samples, then scanned while they are
in the cache, and forgotten.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconv.core.jit import Pieces, parallel_for
from snnconv.engine.event_conv.bit_spikes import Packed
from snnconv.engine.event_conv.deferred import Pending
from snnconv.engine.event_conv.line_ranges import line_ranges
from snnconv.engine.layer_output import LayerOutput, Wants
from snnconv.engine.memory_layout import Flat
from snnconv.engine.neurons.generic import prepare
from snnconv.engine.neurons.kernels import Floats, Run, Scan, summable
from snnconv.engine.simd import LANES
from snnconv.neurons.base import Neuron

Work = Callable[[Pieces], None]
"""What a thread does with the pieces that it takes."""

CACHED = 1 << 16  # currents at once: half of a small second-level cache, in float32


def run_layer(
    neuron: Neuron[Any],
    currents: Tensor | Pending,
    state: Any,
    keep: Tensor | None,
    wants: Wants,
    cached: int = CACHED,
) -> tuple[LayerOutput, Any]:
    """All steps of a sequence; see :func:`snnconv.engine.dispatch.fire`.

    Args:
        neuron: as there.
        currents: as there.
        state: as there, not none.
        keep: as there.
        wants: as there.
        cached: currents of a convolution by events that are computed before they are scanned, or
            those of one sample if these are more.
    """
    if isinstance(currents, Pending) and neuron.remembers:
        currents = currents.tensor()
    if wants.sums is not None and not summable(wants.sums):
        wants = replace(wants, counts=True, sums=None)
    if wants.packed and (wants.mean or neuron.levels > 1 or neuron.signed):
        wants = replace(wants, packed=False)
    if isinstance(currents, Pending):
        steps, samples, channels, height, width = currents.shape
        flat = Flat(torch.Size(currents.shape[1:]), channels_last=True)
        scan = prepare(neuron, Run(flat, steps, keep, wants), state)
        work = _by_lines(currents, flat, scan, cached)
        parallel_for(work, samples * height, steps * width * channels, height)
        return scan.out.output, scan.state(None)
    flat, steps = Flat.of(currents), len(currents)
    scan = prepare(neuron, Run(flat, steps, keep, wants), state)
    seen = scan.sees(currents)
    unit = 1 if scan.out.output.packed is None else LANES
    parallel_for(_by_neurons(flat.rows(seen), unit, scan), flat.size // unit, steps * unit)
    return scan.out.output, scan.state(seen)


def _by_neurons(currents: Floats, unit: int, scan: Scan) -> Work:
    """Scan pieces of a layer, counted in groups of ``unit`` neurons; currents are ``[T, n]``."""

    def work(pieces: Pieces) -> None:
        for start, stop in pieces:
            scan.run(start * unit, stop * unit, currents, 0)

    return work


def _by_lines(currents: Pending, flat: Flat, scan: Scan, cached: int) -> Work:
    """Compute and scan pieces of a layer of images, counted in lines of all images."""
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

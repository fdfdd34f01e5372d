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
from snnconv.engine.neurons.kernels import Run, Scan, summable
from snnconv.neurons.base import Neuron

_CACHED = 1 << 16  # currents at once: half of a small second-level cache, in float32


def run_layer(
    prepare: Callable[[Any, Run, Any], Scan],
    neuron: Neuron[Any],
    currents: Tensor | Pending,
    state: Any,
    keep: Tensor | None,
    wants: Wants,
) -> tuple[LayerOutput, Any]:
    """All steps of a sequence; see :func:`snnconv.engine.dispatch.fire`."""
    if isinstance(currents, Pending) and neuron.remembers:
        currents = currents.tensor()
    if wants.sums is not None and not summable(wants.sums):
        wants = replace(wants, counts=True, sums=None)
    if wants.packed and (wants.mean or neuron.levels > 1 or neuron.signed):
        wants = replace(wants, packed=False)
    if not isinstance(currents, Pending):
        layer = Run(Flat.of(currents), len(currents), keep, wants)
        return prepare(neuron, layer, state).whole(layer, currents)
    flat = Flat(torch.Size(currents.shape[1:]), channels_last=True)
    layer = Run(flat, currents.shape[0], keep, wants)
    scan = prepare(neuron, layer, state)
    _interleave(currents, flat, scan)
    return scan.out.output, scan.state(None)


def _interleave(currents: Pending, flat: Flat, scan: Scan) -> None:
    steps, samples, channels, height, width = currents.shape
    line = width * channels  # neurons
    neurons = height * line
    images = currents.images()
    others = [x if isinstance(x, Packed) else flat.rows(x) for x in currents.others]
    of_channels = [each.numpy()[:, None] for each in currents.channels]
    at_once = max(1, _CACHED // (steps * neurons))

    def go(pieces: Pieces) -> None:
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

    parallel_for(go, samples * height, steps * line, height)

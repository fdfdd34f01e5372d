"""A layer of neurons in simulation, by its compiled scan.

Of a convolution by events the currents are computed for a few samples, then scanned while they are
in the cache, and forgotten.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.compiled import split
from snnconv.engine.flat import Flat
from snnconv.engine.kernels import PREPARE, Run, Scan
from snnconv.engine.pending import Pending
from snnconv.neuron import Neuron, Spikes

_CACHED = 1 << 16  # currents at once: half of a small second-level cache, in float32


def run_layer(
    prepare: Callable[[Any, Run, Any], Scan],
    neuron: Neuron[Any],
    currents: Tensor | Pending,
    state: Any,
    keep: Tensor | None,
    counted: bool,
) -> tuple[Spikes, Any]:
    """All steps of a sequence."""
    if isinstance(currents, Pending) and neuron.remembers:
        currents = currents.tensor()
    if isinstance(currents, Pending):
        flat = Flat(torch.Size(currents.shape[1:]), channels_last=True)
        scan = prepare(neuron, Run(flat, currents.shape[0], keep, counted), state)
        _interleave(currents, flat, scan)
        return scan.spikes, scan.state(None)
    flat = Flat.of(currents)
    scan = prepare(neuron, Run(flat, len(currents), keep, counted), state)
    # one row where they are constant over time, which is how they came to be expanded
    rows = flat.array(currents[:1] if currents.stride(0) == 0 else currents)
    split(lambda start, stop: scan.run(start, stop, rows, 0), rows.shape[1], len(currents))
    return scan.spikes, scan.state(currents)


def _interleave(currents: Pending, flat: Flat, scan: Scan) -> None:
    steps, samples, channels, *places = currents.shape
    neurons = channels * math.prod(places)
    images, others = currents.images(), [_rows(flat, other) for other in currents.others]
    at_once = max(1, _CACHED // (steps * neurons))

    def go(start: int, stop: int) -> None:
        memory = torch.empty(steps * at_once * neurons).numpy()  # aligned, as numpy.s is not
        for low in range(start, stop, at_once):
            high = min(low + at_once, stop)
            size = (high - low) * neurons
            rows = memory[: steps * size].reshape(steps, size)
            images(low, high, steps, rows.reshape(-1, *places, channels))
            for other in others:
                rows += other[:, low * neurons : high * neurons]
            scan.run(low * neurons, high * neurons, rows, low * neurons)

    split(go, samples, steps * neurons)


def _rows(flat: Flat, other: Tensor) -> NDArray[np.float32]:
    return flat.array(other[:1] if other.stride(0) == 0 else other)


KERNELS: Mapping[type[Neuron[Any]], Callable[..., tuple[Spikes, Any]]] = {
    kind: functools.partial(run_layer, prepare) for kind, prepare in PREPARE.items()
}

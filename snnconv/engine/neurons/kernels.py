"""What a layer of neurons is asked for, and where its loop puts it.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.engine.event_conv.bit_spikes import Packed
from snnconv.engine.layer_output import LayerOutput, Wants, WeightedSum
from snnconv.engine.memory_layout import Flat
from snnconv.engine.neurons.scan import LEAST
from snnconv.engine.simd import LANES

Floats = NDArray[np.float32]

_NO_WEIGHTS: Floats = np.empty((0, 1), np.float32)


@dataclass(frozen=True)
class Run:
    """A layer of neurons, about to take some steps.

    Attributes:
        flat: the order of memory.
        steps: to take.
        keep: of spike confidence, ``[T, B, *N]``.
        wants: what is wanted of the spikes.
    """

    flat: Flat
    steps: int
    keep: Tensor | None
    wants: Wants

    def outputs(self, amplitude: Tensor | None, mean: bool = False) -> "Outputs":
        """Memory for what comes out.

        Args:
            amplitude: of the neurons; see :meth:`snnconv.neurons.base.Neuron.amplitude`.
            mean: whether the mean of the values comes out, and nothing else of them.
        """
        flat, wants, weighted = self.flat, self.wants, self.wants.sums
        counts = flat.memory(self.steps * wants.counts)
        packed = None
        if wants.packed and amplitude is not None and packable(flat):
            packed = Packed.empty(self.steps, flat.shape, amplitude)
        values = flat.memory(0 if packed else 1 if mean else self.steps)
        rows = 0 if weighted is None else len(weighted.weights)
        sums = torch.zeros(self.steps if rows else 0, flat.shape[0], rows, dtype=torch.int64)
        output = LayerOutput(
            values=None if packed or mean else values.tensor,
            counts=counts.tensor if wants.counts else None,
            sums=None if weighted is None else sums,
            mean=values.tensor if mean else None,
            packed=packed,
        )
        weights = _NO_WEIGHTS if weighted is None else flat.array(weighted.weights[:, None])
        return Outputs(output, counts.array, values.array, weights, sums.numpy())


@dataclass(frozen=True)
class Outputs:
    """Where a scan puts what comes out of it.

    Attributes:
        output: for whoever reads it.
        counts: its counts as an array, ``[T, n]``, or ``[0, n]`` if there are none.
        values: its values, ``[T, n]``, or their mean, ``[1, n]``; ``[0, n]`` if they are bits.
        weights: of the sums, ``[k, neurons of a sample]``.
        sums: ``[T, B, k]``, or ``[0, B, 0]``.
    """

    output: LayerOutput
    counts: Floats
    values: Floats
    weights: Floats
    sums: NDArray[np.int64]
    _lock: Lock = field(default_factory=Lock)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """The values as bits, ``[T, n/8]`` or ``[0, 0]``."""
        packed = self.output.packed
        return np.empty((0, 0), np.uint8) if packed is None else packed.bits

    def of_samples(self, start: int, stop: int) -> NDArray[np.int64]:
        """The sums of the samples in which the neurons ``[start, stop)`` lie, to add to."""
        neurons = self.weights.shape[1]
        return self.sums[:, start // neurons : -(-stop // neurons)]

    def add(self, to: NDArray[np.int64], sums: NDArray[np.int64]) -> None:
        """Add the sums of some neurons; those of others may come from other threads."""
        with self._lock:
            to += sums


def packable(flat: Flat) -> bool:
    """Whether a layer's spikes can be bits: whole vectors of channels, images in channels-last."""
    _, channels, *places = flat.shape
    last = flat.channels_last or math.prod(places) == 1
    return last and len(places) == 2 and channels % LANES == 0


def summable(wanted: WeightedSum) -> bool:
    """Whether a scan can add it up exactly."""
    return wanted.at_once >= LEAST


@dataclass(frozen=True)
class Scan:
    """A scan whose operands are laid out: neurons ``[start, stop)`` can go in any order.

    Attributes:
        run: ``(start, stop, currents, first)``, with currents of the neurons from ``first`` on; of
            packed spikes, of whole vectors of neurons.
        out: complete when all neurons have gone.
        state: at the end, then, of the currents seen: neurons may remember them.
        sees: the rows of currents that a run wants, from those of these steps.
    """

    run: Callable[[int, int, Floats, int], None]
    out: Outputs
    state: Callable[[Tensor | None], Any]
    sees: Callable[[Tensor], Tensor] = lambda currents: currents


def small(learned: Tensor) -> Floats:
    """What a layer has few of, contiguous."""
    found: Floats = learned.detach().contiguous().numpy()
    return found

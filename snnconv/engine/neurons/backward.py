"""What the compiled scans of training share: the way forth, and how a way back is laid out.

Shape:
    ``[T, B, *N] -> [T, n]``, by blocks of neurons whose sums are added up in a fixed order.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.jit import parallel_slices
from snnconv.engine.layer_output import LayerOutput, Wants
from snnconv.engine.memory_layout import Flat
from snnconv.engine.neurons.kernels import Run, Scan
from snnconv.engine.neurons.scan_training import BLOCK
from snnconv.neurons.base import Neuron

Floats = NDArray[np.float32]


class Back:
    """One way back: its order of memory, and what is counted in it."""

    def __init__(self, currents: Tensor) -> None:
        self.flat = Flat.of(currents)
        self.neurons = math.prod(self.flat.shape)
        self.blocks = -(-self.neurons // BLOCK)

    def steps(self, *given: Tensor | None) -> list[Floats]:
        """``[T, B, *N] -> [T, n]``, one row of what is constant; no rows of what is not given."""
        return [nothing() if x is None else self.flat.rows(x) for x in given]

    def neuron(self, *given: Tensor | None) -> list[Floats]:
        """What broadcasts to ``[B, *N] -> [1, 1 or n]``; no row of what is not given."""
        return [nothing() if x is None else self.flat.neurons(x) for x in given]

    def sums(self, wanted: bool, *shape: int) -> Floats:
        """For each block's part of a gradient."""
        return np.empty((self.blocks if wanted else 0, *shape), np.float32)

    def go(self, kernel: Callable[..., None], steps: int, *args: Any) -> None:
        """Run it over all blocks."""
        parallel_slices(kernel, self.blocks, steps * BLOCK, *args)


def nothing() -> Floats:
    """For what is not given."""
    return np.empty((0, 0), np.float32)


def total(parts: Floats) -> Tensor | None:
    """The sum over blocks, in an order that is the same for every number of threads."""
    if len(parts) == 0:
        return None
    return torch.from_numpy(parts.sum(0, dtype=np.float64).astype(np.float32))


def forth(
    prepare: Callable[..., Scan],
    neuron: Neuron[Any],
    currents: Tensor,
    keep: Tensor | None,
    counted: bool,
    *rest: Any,
) -> tuple[LayerOutput, Any]:
    """All neurons through all steps, as in simulation."""
    layer = Run(Flat.of(currents), len(currents), keep, Wants(counted))
    return prepare(neuron, layer, *rest).whole(layer, currents)

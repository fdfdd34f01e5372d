"""Run a layer of neurons: by a compiled scan where there is one, else as its file states it.

A scan does the same arithmetic in the same order as the neuron's own ``step``, so its spikes are
the same, bit by bit. It allocates nothing per step, and the given state is not changed. In training
neurons have a fused scan with its backward pass, for some of them compiled too. Other devices and
other types than float32 run the neuron itself.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconv.engine.fused import FUSED
from snnconv.neuron import Neuron, Spikes


def run(
    neuron: Neuron[Any], currents: Tensor, state: Any, keep: Tensor | None
) -> tuple[Spikes, Any]:
    """All steps of a sequence; see :meth:`snnconv.neuron.Neuron.run`."""
    if state is None:
        state = neuron.initial(currents[0])
    kind, learns = type(neuron), torch.is_grad_enabled()
    kernel = FUSED.get(kind) if learns else None
    if currents.dtype is torch.float32 and currents.device.type == "cpu":
        kernel = kernels(learns).get(kind, kernel)
    if kernel is None:
        return neuron.run(currents, state, keep)
    return kernel(neuron, currents, state, keep)


@functools.cache
def kernels(learns: bool = False) -> Mapping[type[Neuron[Any]], Callable[..., tuple[Spikes, Any]]]:
    """The neurons that have a compiled scan, in training one with gradients.

    None where numba can't be imported.
    """
    try:
        if learns:
            from snnconv.engine.fused_compiled import COMPILED

            return COMPILED
        from snnconv.engine.kernels import KERNELS
    except ImportError:
        return {}
    return KERNELS

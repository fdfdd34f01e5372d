"""Run a layer of neurons: by an in-place kernel where there is one, else as its file states it.

In inference nothing needs the values of earlier steps, so a kernel keeps one state and overwrites
it: no memory is allocated per step, and the working set stays in the cache. A kernel does the
same arithmetic in the same order as the neuron's own ``step``, so its spikes are the same, bit by
bit.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconv.engine.in_place import run_if, run_msat
from snnconv.neuron import Neuron, Spikes
from snnconv.neurons.if_ import IF
from snnconv.neurons.msat import MSAT

Kernel = Callable[[Any, Tensor, Any, Tensor | None], tuple[Spikes, Any]]

KERNELS: Mapping[type[Neuron[Any]], Kernel] = {IF: run_if, MSAT: run_msat}


def run(
    neuron: Neuron[Any], currents: Tensor, state: Any, keep: Tensor | None
) -> tuple[Spikes, Any]:
    """All steps of a sequence; see :meth:`snnconv.neuron.Neuron.run`."""
    if state is None:
        state = neuron.initial(currents[0])
    kernel = None if torch.is_grad_enabled() else KERNELS.get(type(neuron))
    if kernel is None:
        return neuron.run(currents, state, keep)
    return kernel(neuron, currents, state, keep)

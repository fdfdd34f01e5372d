"""Neurons in training, by compiled scans forth and back; float32 on a CPU.

The same as :mod:`snnconv.engine.fused`, bit by bit, in one pass over memory each way.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconv.compiled import split
from snnconv.engine.flat import Flat
from snnconv.engine.scan_training import back_if, forth_if
from snnconv.neuron import Neuron, Spikes
from snnconv.neurons import if_


class _IF(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor, potential: Tensor, theta: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        currents, potential = currents.detach(), potential.detach()
        flat, steps = Flat.of(currents), len(currents)
        befores, counts, values = (flat.empty(steps) for _ in range(3))
        after = flat.own(potential)
        split(
            forth_if,
            after.size,
            steps,
            flat.array(currents[:1] if currents.stride(0) == 0 else currents),
            None if keep is None else flat.array(keep),
            flat.own(theta),
            after,
            *map(flat.array, (befores, counts, values)),
        )
        return counts, values, flat.back(after), befores

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, theta, keep = inputs
        befores = output[3]
        ctx.mark_non_differentiable(befores)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(befores, theta, keep)

    @staticmethod
    def backward(
        ctx: Any, of_counts: Tensor | None, of_values: Tensor | None, after: Tensor | None, _: None
    ) -> tuple[Tensor, Tensor, None, None]:
        befores, theta, keep = ctx.saved_tensors
        flat, steps = Flat.of(befores), len(befores)
        gradient = flat.empty(steps)
        later = flat.own(torch.zeros(()) if after is None else after)
        split(
            back_if,
            later.size,
            steps,
            flat.array(befores),
            None if keep is None else flat.array(keep),
            flat.own(theta),
            *(None if x is None else flat.array(x) for x in (of_counts, of_values)),
            later,
            flat.array(gradient),
        )
        return gradient, gradient[0], None, None


def run_if(
    neuron: if_.IF, currents: Tensor, state: if_.State, keep: Tensor | None
) -> tuple[Spikes, if_.State]:
    """IF neurons."""
    theta = neuron.theta(currents[0])
    counts, values, potential, _ = _IF.apply(currents, state.potential, theta, keep)
    return Spikes(counts, values), if_.State(potential)


COMPILED: Mapping[type[Neuron[Any]], Callable[..., tuple[Spikes, Any]]] = {if_.IF: run_if}

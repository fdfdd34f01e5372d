"""MSAT neurons in training: as IF's fused scan, with a threshold for each neuron and step.

Thresholds take no gradient, so the backward pass is IF's; see :mod:`snnconv.engine.neurons.fused`.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, of any type, on any device.
"""

from typing import Any

import torch
from torch import Tensor

from snnconv.neurons import msat
from snnconv.neurons.base import Spikes
from snnconv.neurons.surrogate import slope


class _MSAT(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor, after: Tensor, neuron: msat.MSAT, state: msat.State, keep: Tensor | None
    ) -> tuple[Tensor, ...]:
        potentials, thresholds, counts, values = (torch.empty_like(currents) for _ in range(4))
        theta = neuron.theta(currents[0])
        state = state._replace(after=after)
        for t, current in enumerate(currents):
            before = torch.add(state.after, current, out=potentials[t])
            thresholds[t] = neuron.adapted(current, before, state, theta)
            counts[t] = before >= thresholds[t]
            if keep is not None:
                counts[t] *= keep[t]
            torch.mul(counts[t], thresholds[t], out=values[t])
            state = neuron.followed(before, before - values[t], state)
        # an output may be no view of another
        before, mean = state.before.clone(), state.mean.clone()
        return counts, values, state.after, before, mean, potentials, thresholds

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        mean, potentials, thresholds = output[4:]
        ctx.mark_non_differentiable(mean, potentials, thresholds)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(potentials, thresholds, inputs[4])

    @staticmethod
    def backward(
        ctx: Any,
        of_counts: Tensor | None,
        of_values: Tensor | None,
        after: Tensor | None,
        before: Tensor | None,
        *_: None,
    ) -> tuple[Tensor | None, ...]:
        potentials, thresholds, keep = ctx.saved_tensors
        gradient = torch.empty_like(potentials)
        later = torch.zeros_like(potentials[0]) if after is None else after
        for t in reversed(range(len(potentials))):
            of_value = -later if of_values is None else of_values[t] - later
            of_count = of_value * thresholds[t]
            if of_counts is not None:
                of_count = of_count + of_counts[t]
            if keep is not None:
                of_count = of_count * keep[t]
            torch.add(later, of_count.mul_(slope(potentials[t], thresholds[t])), out=gradient[t])
            later = gradient[t]
            if before is not None:
                later, before = later.add_(before), None
        return gradient, later, None, None, None


def run_msat(
    neuron: msat.MSAT, currents: Tensor, state: msat.State, keep: Tensor | None
) -> tuple[Spikes, msat.State]:
    """MSAT neurons."""
    found = _MSAT.apply(currents, state.after, neuron, state, keep)
    counts, values, after, before, mean, *_ = found
    return Spikes(counts, values), msat.State(before, after, mean, state.steps + len(currents))

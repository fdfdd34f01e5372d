"""Neurons in training: all steps as one function, with its backward pass written out.

Automatic differentiation of a loop over time keeps a node for every operation of every step, and
copies what the steps give when it stacks them. Here a step's results go where they belong, and the
backward pass keeps potentials at most, or a byte where a derivative is 0 or 1. Operations are those
of the neuron's own file, in the same order, so values and gradients are the same, bit by bit; only
of what a layer has one of, as lambda, gradients are sums over neurons in an order of their own.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, of any type, on any device.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconv.engine.neurons.fused_lm_h import run_lm_h
from snnconv.engine.neurons.fused_msat import run_msat
from snnconv.neurons import if_, lm_h, lm_ht, msat
from snnconv.neurons.base import Neuron, Spikes
from snnconv.neurons.surrogate import slope


class _IF(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor, potential: Tensor, theta: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        before, counts, values = (torch.empty_like(currents) for _ in range(3))
        after = torch.empty_like(before[0]).copy_(potential)
        for t, current in enumerate(currents):
            torch.add(after, current, out=before[t])
            counts[t] = before[t] >= theta
            if keep is not None:
                counts[t] *= keep[t]
            torch.mul(counts[t], theta, out=values[t])
            torch.sub(before[t], values[t], out=after)
        return counts, values, after, before

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, _, theta, keep = inputs
        before = output[3]
        ctx.mark_non_differentiable(before)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(before, theta, keep)

    @staticmethod
    def backward(
        ctx: Any, of_counts: Tensor | None, of_values: Tensor | None, after: Tensor | None, _: None
    ) -> tuple[Tensor, Tensor, None, None]:
        before, theta, keep = ctx.saved_tensors
        gradient = torch.empty_like(before)
        later = torch.zeros_like(before[0]) if after is None else after
        for t in reversed(range(len(before))):
            of_value = -later if of_values is None else of_values[t] - later
            of_count = of_value * theta
            if of_counts is not None:
                of_count = of_count + of_counts[t]
            if keep is not None:
                of_count = of_count * keep[t]
            torch.add(later, of_count.mul_(slope(before[t], theta)), out=gradient[t])
            later = gradient[t]
        return gradient, later, None, None


def run_if(
    neuron: if_.IF, currents: Tensor, state: if_.State, keep: Tensor | None
) -> tuple[Spikes, if_.State]:
    """IF neurons."""
    theta = neuron.theta(currents[0])
    counts, values, potential, _ = _IF.apply(currents, state.potential, theta, keep)
    return Spikes(counts, values), if_.State(potential)


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(
        mixed: Tensor,
        potential: Tensor,
        unit: Tensor,
        retention: Tensor,
        keep: Tensor | None,
        levels: int,
        through: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        carried, counts, values = (torch.empty_like(mixed) for _ in range(3))
        inside = torch.empty_like(mixed, dtype=torch.bool)
        after = potential
        for t, current in enumerate(mixed):
            carried[t] = after
            before = retention[t] * carried[t] + current
            torch.div(before, unit, out=counts[t]).floor_().clamp_(0, levels)
            torch.logical_and(before >= unit / 2, before <= (levels + 0.5) * unit, out=inside[t])
            if keep is not None:
                counts[t] *= keep[t]
            torch.mul(counts[t], unit, out=values[t])
            after = before.sub_(values[t])
        return counts, values, after, carried, inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        mixed, _, unit, retention, keep, _, ctx.through = inputs
        ctx.kind = mixed.dtype
        carried, inside = output[3:]
        ctx.mark_non_differentiable(carried, inside)
        ctx.set_materialize_grads(False)
        learns = ctx.needs_input_grad[3]  # else a byte a neuron and step is all there is to keep
        ctx.save_for_backward(carried if learns else None, inside, unit, retention, keep)

    @staticmethod
    def backward(
        ctx: Any, of_counts: Tensor | None, of_values: Tensor | None, after: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        carried, inside, unit, retention, keep = ctx.saved_tensors
        gradient = torch.empty_like(inside, dtype=ctx.kind)
        of_retention = torch.zeros_like(retention)
        later = after
        for t in reversed(range(len(inside))):
            of_value = None if of_values is None else of_values[t]
            if ctx.through and later is not None:
                of_value = -later if of_value is None else of_value - later
            of_count = None if of_value is None else of_value * unit
            if of_counts is not None:
                of_count = of_counts[t] if of_count is None else of_count + of_counts[t]
            if of_count is not None:
                if keep is not None:
                    of_count = of_count * keep[t]
                of_count = of_count * inside[t] / unit
            parts = [x for x in (later, of_count) if x is not None]
            gradient[t] = sum(parts[1:], parts[0]) if parts else 0
            if carried is not None:
                of_retention[t] = (gradient[t] * carried[t]).sum()
            later = gradient[t] * retention[t] if ctx.through else None
        return gradient, later, None, of_retention, None, None, None


def run_lm_ht(
    neuron: lm_ht.LMHT, currents: Tensor, state: lm_ht.State, keep: Tensor | None
) -> tuple[Spikes, lm_ht.State]:
    """LM-HT neurons, after the T-GIM, which automatic differentiation does."""
    seen = neuron.seen(currents, state)
    mixed = neuron.mix(seen, len(currents))
    counts, values, potential, *_ = _Levels.apply(
        mixed,
        state.potential,
        neuron.unit(currents[0]),
        neuron.retention().to(currents.dtype)[len(state.past) :],
        keep,
        neuron.params.levels,
        neuron.params.reset == "through",
    )
    return Spikes(counts, values), lm_ht.State(potential, neuron.past(seen, state))


FUSED: Mapping[type[Neuron[Any]], Callable[..., tuple[Spikes, Any]]] = {
    if_.IF: run_if,
    lm_ht.LMHT: run_lm_ht,
    lm_h.LMH: run_lm_h,
    msat.MSAT: run_msat,
}

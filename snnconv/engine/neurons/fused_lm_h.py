"""LM-H neurons in training: two potentials, and the gradients of what reaches the next step.

See :mod:`snnconv.engine.neurons.fused`. Beside what the next layer keeps anyway, two potentials a
neuron
and step are kept; the third is made of them again.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, of any type, on any device.
"""

from typing import Any

import torch
from torch import Tensor

from snnconv.neurons import lm_h
from snnconv.neurons.base import Spikes
from snnconv.neurons.surrogate import slope


class _LMH(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor,
        dendrite: Tensor,
        soma: Tensor,
        scalars: Tensor,
        theta: Tensor,
        keep: Tensor | None,
        through: bool,
    ) -> tuple[Tensor, ...]:
        dendrites, befores, counts, values = (torch.empty_like(currents) for _ in range(4))
        for t, current in enumerate(currents):
            mu_d, mu_s, lambda_s, lambda_d = scalars[t]
            torch.add(mu_d * dendrite + mu_s * soma, current, out=dendrites[t])
            dendrite = dendrites[t]
            before = torch.add(lambda_s * soma, lambda_d * dendrite, out=befores[t])
            counts[t] = before >= theta
            if keep is not None:
                counts[t] *= keep[t]
            torch.mul(counts[t], theta, out=values[t])
            soma = before - values[t]
        return counts, values, dendrite.clone(), soma, dendrites, befores

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, dendrite, soma, scalars, theta, keep, ctx.through = inputs
        _, values, _, _, dendrites, befores = output
        ctx.mark_non_differentiable(dendrites, befores)
        ctx.set_materialize_grads(False)
        learned = (values, dendrites, dendrite, soma) if ctx.needs_input_grad[3] else [None] * 4
        ctx.save_for_backward(befores, scalars, theta, keep, *learned)

    @staticmethod
    def backward(
        ctx: Any,
        of_counts: Tensor | None,
        of_values: Tensor | None,
        of_dendrite: Tensor | None,
        of_soma: Tensor | None,
        *_: None,
    ) -> tuple[Tensor | None, ...]:
        befores, scalars, theta, keep, values, dendrites, first_dendrite, first_soma = (
            ctx.saved_tensors
        )
        gradient, of_scalars = torch.empty_like(befores), torch.zeros_like(scalars)
        nothing = torch.zeros_like(befores[0])
        of_dendrite = nothing if of_dendrite is None else of_dendrite
        of_soma = nothing if of_soma is None else of_soma
        for t in reversed(range(len(befores))):
            mu_d, mu_s, lambda_s, lambda_d = scalars[t]
            of_value = nothing if of_values is None else of_values[t]
            of_count = (of_value - of_soma if ctx.through else of_value) * theta
            if of_counts is not None:
                of_count = of_count + of_counts[t]
            if keep is not None:
                of_count = of_count * keep[t]
            of_before = of_soma + of_count * slope(befores[t], theta)
            torch.add(of_dendrite, lambda_d * of_before, out=gradient[t])
            if dendrites is not None:
                dendrite = dendrites[t - 1] if t else first_dendrite
                soma = befores[t - 1] - values[t - 1] if t else first_soma
                pairs = (
                    (gradient[t], dendrite),
                    (gradient[t], soma),
                    (of_before, soma),
                    (of_before, dendrites[t]),
                )
                of_scalars[t] = torch.stack([(one * other).sum() for one, other in pairs])
            of_dendrite = mu_d * gradient[t]
            of_soma = lambda_s * of_before + mu_s * gradient[t]
        return gradient, of_dendrite, of_soma, of_scalars, None, None, None


def run_lm_h(
    neuron: lm_h.LMH, currents: Tensor, state: lm_h.State, keep: Tensor | None
) -> tuple[Spikes, lm_h.State]:
    """LM-H neurons; of their scalars, automatic differentiation does the sigmoids."""
    steps = len(currents)
    counts, values, dendrite, soma, *_ = _LMH.apply(
        currents,
        state.dendrite,
        state.soma,
        neuron.acting(state.steps, steps),
        neuron.theta(currents[0]),
        keep,
        neuron.params.reset == "through",
    )
    return Spikes(counts, values), lm_h.State(dendrite, soma, state.steps + steps)

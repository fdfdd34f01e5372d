"""Neurons in training, by compiled scans forth and back; float32 on a CPU.

The same as :mod:`snnconv.engine.neurons.fused`, in one pass over memory each way. Forth they are
the scans
of :mod:`snnconv.engine.neurons.kernels`; nothing is kept for the way back but currents and values,
which
are there anyway, and MSAT's thresholds.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconv.engine.layer_output import LayerOutput, Wants
from snnconv.engine.memory_layout import Flat
from snnconv.engine.neurons import kernels
from snnconv.engine.neurons.backward import Back, forth, total
from snnconv.engine.neurons.kernels import Run
from snnconv.engine.neurons.scan_training import back_if, back_levels, back_lm_h
from snnconv.neurons import if_, lm_h, lm_ht, msat
from snnconv.neurons.base import Neuron


class _IF(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor, potential: Tensor, keep: Tensor | None, neuron: if_.IF, counted: bool
    ) -> tuple[Tensor | None, ...]:
        output, state = forth(
            kernels.prepare_if, neuron, currents, keep, counted, if_.State(potential)
        )
        return output.counts, output.values, state.potential

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        currents, potential, keep, neuron, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(currents, output[1], potential, neuron.theta(currents[0]), keep)

    @staticmethod
    def backward(
        ctx: Any, of_counts: Tensor | None, of_values: Tensor | None, of_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        currents, values, potential, theta, keep = ctx.saved_tensors
        back = Back(currents)
        gradient = back.flat.empty(len(values))
        back.go(
            back_if,
            len(values),
            *back.steps(currents, values),
            *back.neuron(potential, theta),
            *back.steps(keep, of_counts, of_values),
            *back.neuron(of_after, None),
            *back.steps(gradient),
        )
        return gradient, gradient[0], None, None, None


def run_if(
    neuron: if_.IF, currents: Tensor, state: if_.State, keep: Tensor | None, counted: bool
) -> tuple[LayerOutput, if_.State]:
    """IF neurons."""
    counts, values, potential = _IF.apply(currents, state.potential, keep, neuron, counted)
    return LayerOutput(values, counts), if_.State(potential)


class _MSAT(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor,
        after: Tensor,
        keep: Tensor | None,
        neuron: msat.MSAT,
        state: msat.State,
        counted: bool,
    ) -> tuple[Tensor | None, ...]:
        thresholds = Flat.of(currents).empty(len(currents))
        state = state._replace(after=after)
        output, state = forth(
            kernels.prepare_msat, neuron, currents, keep, counted, state, thresholds
        )
        return output.counts, output.values, state.after, state.before, state.mean, thresholds

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        currents, after, keep, *_ = inputs
        mean, thresholds = output[4:]
        ctx.mark_non_differentiable(mean, thresholds)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(currents, output[1], after, thresholds, keep)

    @staticmethod
    def backward(
        ctx: Any,
        of_counts: Tensor | None,
        of_values: Tensor | None,
        of_after: Tensor | None,
        of_before: Tensor | None,
        *_: None,
    ) -> tuple[Tensor | None, ...]:
        currents, values, after, thresholds, keep = ctx.saved_tensors
        back = Back(currents)
        gradient = back.flat.empty(len(values))
        back.go(
            back_if,
            len(values),
            *back.steps(currents, values),
            *back.neuron(after),
            *back.steps(thresholds, keep, of_counts, of_values),
            *back.neuron(of_after, of_before),
            *back.steps(gradient),
        )
        return gradient, gradient[0], None, None, None, None


def run_msat(
    neuron: msat.MSAT, currents: Tensor, state: msat.State, keep: Tensor | None, counted: bool
) -> tuple[LayerOutput, msat.State]:
    """MSAT neurons."""
    found = _MSAT.apply(currents, state.after, keep, neuron, state, counted)
    counts, values, after, before, mean, _ = found
    return LayerOutput(values, counts), msat.State(before, after, mean, state.steps + len(currents))


class _LMHT(torch.autograd.Function):
    @staticmethod
    def forward(
        seen: Tensor,
        omega: Tensor,
        retention: Tensor,
        potential: Tensor,
        keep: Tensor | None,
        neuron: lm_ht.LMHT,
        counted: bool,
    ) -> tuple[Tensor | None, ...]:
        layer = Run(Flat.of(seen), len(omega), keep, Wants(counted))
        scan = kernels.prepare_levels(neuron, layer, omega, retention, potential)
        output, after = scan.whole(layer, seen)
        return output.counts, output.values, after

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        seen, omega, retention, potential, keep, neuron, _ = inputs
        ctx.params = neuron.params
        ctx.set_materialize_grads(False)
        unit = neuron.unit(seen[0])
        ctx.save_for_backward(seen, output[1], omega, retention, potential, unit, keep)

    @staticmethod
    def backward(
        ctx: Any, of_counts: Tensor | None, of_values: Tensor | None, of_after: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        seen, values, omega, retention, potential, unit, keep = ctx.saved_tensors
        through, (steps, sees) = ctx.params.reset == "through", omega.shape
        back = Back(seen)
        gradient, of_potential = back.flat.empty(sees), back.flat.empty(1) if through else None
        of_omega = back.sums(ctx.needs_input_grad[1], steps, sees)
        of_retention = back.sums(ctx.needs_input_grad[2], steps)
        back.go(
            back_levels,
            steps,
            *back.steps(seen),
            kernels.small(omega),
            *back.steps(values),
            *back.neuron(potential, unit),
            kernels.small(retention),
            np.float32(ctx.params.levels),
            through,
            *back.steps(keep, of_counts, of_values),
            *back.neuron(of_after),
            *back.steps(gradient, of_potential),
            of_omega,
            of_retention,
        )
        first = None if of_potential is None else of_potential[0]
        return gradient, total(of_omega), total(of_retention), first, None, None, None


def run_lm_ht(
    neuron: lm_ht.LMHT, currents: Tensor, state: lm_ht.State, keep: Tensor | None, counted: bool
) -> tuple[LayerOutput, lm_ht.State]:
    """LM-HT neurons, the T-GIM within their scan."""
    done, steps = len(state.past), len(currents)
    seen, omega = neuron.seen(currents, state), neuron.rows(done, steps)
    retention = neuron.retention()[done : done + steps]
    given = (seen, omega, retention, state.potential, keep, neuron, counted)
    counts, values, potential = _LMHT.apply(*given)
    return LayerOutput(values, counts), lm_ht.State(potential, neuron.past(seen, state))


class _LMH(torch.autograd.Function):
    @staticmethod
    def forward(
        currents: Tensor,
        dendrite: Tensor,
        soma: Tensor,
        scalars: Tensor,
        keep: Tensor | None,
        neuron: lm_h.LMH,
        done: int,
        counted: bool,
    ) -> tuple[Tensor | None, ...]:
        state = lm_h.State(dendrite, soma, done)
        output, state = forth(kernels.prepare_lm_h, neuron, currents, keep, counted, state)
        return output.counts, output.values, state.dendrite, state.soma

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        currents, dendrite, soma, scalars, keep, neuron, *_ = inputs
        ctx.through = neuron.params.reset == "through"
        ctx.set_materialize_grads(False)
        theta = neuron.theta(currents[0])
        ctx.save_for_backward(currents, output[1], dendrite, soma, theta, scalars, keep)

    @staticmethod
    def backward(
        ctx: Any,
        of_counts: Tensor | None,
        of_values: Tensor | None,
        of_dendrite: Tensor | None,
        of_soma: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        currents, values, dendrite, soma, theta, scalars, keep = ctx.saved_tensors
        back, steps = Back(currents), len(values)
        gradient, starts = back.flat.empty(steps), back.flat.empty(2)
        of_scalars = back.sums(ctx.needs_input_grad[3], steps, scalars.shape[1])
        back.go(
            back_lm_h,
            steps,
            *back.steps(currents, values),
            *back.neuron(dendrite, soma, theta),
            kernels.small(scalars),
            ctx.through,
            *back.steps(keep, of_counts, of_values),
            *back.neuron(of_dendrite, of_soma),
            *back.steps(gradient, starts),
            of_scalars,
        )
        return gradient, starts[0], starts[1], total(of_scalars), None, None, None, None


def run_lm_h(
    neuron: lm_h.LMH, currents: Tensor, state: lm_h.State, keep: Tensor | None, counted: bool
) -> tuple[LayerOutput, lm_h.State]:
    """LM-H neurons; of their scalars, automatic differentiation does the sigmoids."""
    scalars, done = neuron.acting(state.steps, len(currents)), state.steps
    given = (currents, state.dendrite, state.soma, scalars, keep, neuron, done, counted)
    counts, values, dendrite, soma = _LMH.apply(*given)
    return LayerOutput(values, counts), lm_h.State(dendrite, soma, done + len(currents))


COMPILED: Mapping[type[Neuron[Any]], Callable[..., tuple[LayerOutput, Any]]] = {
    if_.IF: run_if,
    msat.MSAT: run_msat,
    lm_ht.LMHT: run_lm_ht,
    lm_h.LMH: run_lm_h,
}

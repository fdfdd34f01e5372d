"""A layer of neurons in training: the compiled forward and backward loops of its kernel.

The forward pass keeps only the currents for the backward pass, and the layer before keeps these
anyway.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, float32 on a CPU.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconv.core.jit import parallel_slices
from snnconv.engine.layer_output import LayerOutput, Wants
from snnconv.engine.neurons.layer import Scan, by_neuron, by_step, masks, mixing
from snnconv.engine.neurons.memory_layout import Flat, checked
from snnconv.engine.neurons.scan import BLOCK, kernel_of
from snnconv.engine.neurons.scan_back import backward
from snnconv.engine.rows import Floats
from snnconv.neurons.base import Neuron, StateType


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        seen: Tensor,
        omega: Tensor | None,
        schedule: Tensor,
        keep: Tensor | None,
        neuron: Neuron[Any],
        counted: bool,
        *starts: Tensor,
    ) -> tuple[Tensor | None, ...]:
        flat = Flat.of(seen)
        scan = Scan(neuron, flat, keep, Wants(counted), omega, schedule, starts)
        parallel_slices(scan.run, flat.size, len(schedule), flat.rows(seen), 0)
        return scan.output.counts, scan.output.values, *scan.ends

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        seen, omega, schedule, keep, ctx.neuron, _, *starts = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(seen, omega, schedule, keep, *starts)

    @staticmethod
    def backward(
        ctx: Any, of_counts: Tensor | None, of_values: Tensor | None, *of_ends: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        seen, omega, schedule, keep, *starts = ctx.saved_tensors
        neuron: Neuron[Any] = ctx.neuron
        flat, steps = Flat.of(seen), len(schedule)
        kernel, _ = kernel_of(type(neuron))
        blocks = -(-flat.size // BLOCK)
        of_seen, of_starts = flat.memory(len(seen)), [flat.memory(1) for _ in starts]
        learns = kernel.learned if ctx.needs_input_grad[2] else 0
        sums = [np.empty((blocks * (k < learns), steps), np.float32) for k in range(kernel.learned)]
        mixes = omega is not None and ctx.needs_input_grad[1]
        of_omega = np.empty((blocks, steps, len(seen)) if mixes else (0, 0, 0), np.float32)
        surrogate = neuron.surrogate
        parallel_slices(
            backward(type(neuron), surrogate and type(surrogate)),
            blocks,
            steps * BLOCK,
            checked(flat.rows(seen), ((1, len(seen)), flat.size)),
            mixing(omega, steps, len(seen)),
            masks(flat, keep, steps),
            by_neuron(flat, neuron.constants(starts[0])),
            by_step(schedule, steps),
            tuple(flat.own(start).array for start in starts),
            steps,
            _rows(flat, of_counts, steps),
            _rows(flat, of_values, steps),
            by_neuron(flat, [starts[0].new_zeros(1) if x is None else x for x in of_ends]),
            of_seen.array,
            tuple(memory.array[0] for memory in of_starts),
            tuple(sums),
            of_omega,
            tuple(map(np.float32, surrogate.numbers() if surrogate else ())),
        )
        return (
            of_seen.tensor,
            _total(of_omega) if mixes else None,
            _columns(sums, schedule) if learns else None,
            None,
            None,
            None,
            *(memory.tensor[0] for memory in of_starts),
        )


def run(
    neuron: Neuron[StateType],
    currents: Tensor,
    state: StateType,
    keep: Tensor | None,
    counted: bool,
) -> tuple[LayerOutput, StateType]:
    """Run a layer whose kernel has a gradient; see :func:`snnconv.engine.dispatch.fire`."""
    (kernel, _), steps = kernel_of(type(neuron)), len(currents)
    seen = neuron.seen(currents, state)
    counts, values, *ends = _Scan.apply(
        seen,
        neuron.mixing(state, steps),
        neuron.schedule(state, steps),
        keep,
        neuron,
        counted,
        *(getattr(state, field) for field in kernel.states),
    )
    changed = dict(zip(kernel.states, ends, strict=True))
    return LayerOutput(values, counts), neuron.continued(state, changed, steps, seen)


def _rows(flat: Flat, gradient: Tensor | None, steps: int) -> Floats:
    """Return a gradient as ``[1 or T, n]``; ``[0, n]`` if there is none."""
    if gradient is None:
        return np.empty((0, flat.size), np.float32)
    return checked(flat.rows(gradient), ((1, steps), flat.size))


def _total(parts: Floats) -> Tensor:
    """Sum over blocks, in an order that does not depend on the number of threads."""
    return torch.from_numpy(parts.sum(0, dtype=np.float64).astype(np.float32))


def _columns(sums: Sequence[Floats], schedule: Tensor) -> Tensor:
    """Return the gradient of the schedule; it is 0 in columns that are not learned."""
    found = torch.zeros_like(schedule)
    for k, parts in enumerate(sums):
        found[:, k] = _total(parts)
    return found

"""Run a layer of neurons by its compiled scan, or as the neuron's own file defines it.

A scan does the arithmetic of the neuron's ``step`` in the same order, so its spikes are the same
bit by bit. In training, a compiled backward pass belongs to it. Elsewhere (on other devices, in
other types, under ``torch.compile``, without a kernel) the neuron's own code and autograd run.

An observer may ask what neurons hold at each step. Causal neurons then run one step at a time,
which changes no spike. For others the potentials follow from the equation of every membrane,
``v[t] = retention[t]*v[t-1] + charge[t] - values[t]``.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconv.core.shapes import laid_out, stack_time
from snnconv.engine.event_conv.values import Deferred
from snnconv.engine.layer_output import LayerOutput, Membrane, Wants
from snnconv.neurons.base import Neuron, StateType
from snnconv.neurons.surrogates.base import Surrogate


def fire(
    neuron: Neuron[StateType],
    currents: Tensor | Deferred,
    state: StateType | None,
    keep: Tensor | None,
    wants: Wants = Wants(),  # noqa: B008 - frozen
) -> tuple[LayerOutput, StateType]:
    """Run all steps of a sequence.

    Args:
        neuron: the neurons of the layer.
        currents: ``[T, B, *N]``.
        state: what the call before returned; None at the first call. It is not changed.
        keep: the mask of spike confidence, ``[T, B, *N]``; None if every spike is elicited.
        wants: what the network and its observer need of the spikes.

    Returns:
        The layer's output, and the state after the last step.
    """
    like = currents.like() if isinstance(currents, Deferred) else currents
    if state is None:
        state = neuron.initial(like[0])
    if wants.membrane:
        whole = currents.tensor() if isinstance(currents, Deferred) else currents
        looked_into = _step_by_step if neuron.causal else _all_at_once
        output, after = looked_into(neuron, whole, state, keep)
        return _completed(output, wants), after
    kind, learns = type(neuron), torch.is_grad_enabled()
    kernel = None
    plain = like.dtype is torch.float32 and like.device.type == "cpu"
    if plain and neuron.norm is None and not torch.compiler.is_compiling():
        kernel = compiled(kind, learns, neuron.surrogate and type(neuron.surrogate))
    if kernel is not None and not learns:
        output, after = kernel(neuron, currents, state, keep, wants)
    else:
        if isinstance(currents, Deferred):
            currents = currents.tensor()
        counted = wants.counts or wants.sums is not None
        if kernel is not None:
            output, after = kernel(neuron, currents, state, keep, counted)
        else:
            spikes, after = neuron.run(currents, state, keep)
            counts, values = (x if x.requires_grad else laid_out(x, currents) for x in spikes)
            output = LayerOutput(values, counts if counted else None)
    return _completed(output, wants), after


def _step_by_step(
    neuron: Neuron[StateType], currents: Tensor, state: StateType, keep: Tensor | None
) -> tuple[LayerOutput, StateType]:
    """Run a causal layer, and keep its membranes."""
    counts, values = [], []
    thresholds: list[Tensor] = []
    potentials: list[Tensor] = []
    for t, current in enumerate(currents):
        if neuron.adapts or not thresholds:
            thresholds.append(neuron.firing_threshold(current, state))
        step = slice(t, t + 1)
        spikes, state = fire(neuron, currents[step], state, None if keep is None else keep[step])
        assert spikes.counts is not None
        assert spikes.values is not None
        counts.append(spikes.counts[0])
        values.append(spikes.values[0])
        if (potential := neuron.held(state)) is not None:
            potentials.append(potential)
    held = stack_time(potentials) if potentials else None
    whole = stack_time(values)
    membrane = Membrane(currents, stack_time(thresholds), held, whole)
    return LayerOutput(whole, stack_time(counts), membrane=membrane), state


def _all_at_once(
    neuron: Neuron[StateType], currents: Tensor, state: StateType, keep: Tensor | None
) -> tuple[LayerOutput, StateType]:
    """Run a layer that needs all its currents at once, and compute its membranes."""
    output, after = fire(neuron, currents, state, keep)
    assert output.values is not None
    potential, potentials = neuron.held(state), []
    if potential is not None:
        kept = neuron.retention().to(currents).expand(len(currents))
        for share, charge, value in zip(kept, neuron.charge(currents), output.values, strict=True):
            potential = share * potential + charge - value
            potentials.append(potential)
    thresholds = neuron.firing_threshold(currents[0], state)[None]
    held = stack_time(potentials) if potentials else None
    return replace(output, membrane=Membrane(currents, thresholds, held, output.values)), after


def _completed(output: LayerOutput, wants: Wants) -> LayerOutput:
    """Add the sums and the mean that are wanted, if the neurons did not give them."""
    if wants.sums is not None and output.sums is None:
        counts = output.counts if wants.counts else None
        output = replace(output, counts=counts, sums=wants.sums.of(output.counts))
    if wants.mean and output.values is not None:
        total = functools.reduce(torch.add, output.values)  # in the order of time, as in a scan
        output = replace(output, values=None, mean=(total / len(output.values))[None])
    return output


@functools.cache
def compiled(
    kind: type[Neuron[Any]], learns: bool, surrogate: type[Surrogate] | None = None
) -> Callable[..., tuple[LayerOutput, Any]] | None:
    """Return the function that runs a layer of these neurons; None without kernel or numba.

    Args:
        kind: a class of neurons. A subclass does not inherit the kernel.
        learns: whether gradients are wanted.
        surrogate: the surrogate of their spikes; None if the neurons' own gradient is used.
    """
    found = vars(kind).get("KERNEL")
    if found is None or (learns and found.gradient is None):
        return None
    if learns and surrogate is not None and surrogate.derivative_at is None:
        return None
    try:
        import numba  # noqa: F401 - may be missing
    except ImportError:
        return None
    from snnconv.engine.neurons import autograd, layer

    return autograd.run if learns else layer.run_layer

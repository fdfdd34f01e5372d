"""Run a layer of neurons: by a compiled scan where there is one, else as its file states it.

A scan does the same arithmetic in the same order as the neuron's own ``step``, so its spikes are
the same, bit by bit. It allocates nothing per step, and the given state is not changed. Currents of
a convolution by events are computed sample by sample, and scanned while they are in the cache. In
training neurons have a fused scan with its backward pass, compiled too. Other devices and other
types than float32 run the neuron itself, or the fused scan in plain torch.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconv.engine.event_conv.bit_spikes import Packed
from snnconv.engine.event_conv.deferred import Pending
from snnconv.engine.neurons.fused import FUSED
from snnconv.engine.spike_sums import Tally
from snnconv.neurons.base import Neuron, Spikes


class Fired(NamedTuple):
    """What a layer of neurons has done.

    Attributes:
        spikes: whose values are of no steps where they are bits.
        values: ``[T, B, *N]``, or their mean ``[1, B, *N]``.
        state: after the last step.
    """

    spikes: Spikes
    values: Tensor | Packed
    state: Any


def run(
    neuron: Neuron[Any],
    currents: Tensor | Pending,
    state: Any,
    keep: Tensor | None,
    counted: bool = True,
    averaged: bool = False,
    tally: Tally | None = None,
) -> tuple[Spikes, Any]:
    """All steps of a sequence, see :meth:`.Neuron.run`; for the rest :func:`fire`."""
    spikes, _, after = fire(neuron, currents, state, keep, counted, averaged, tally)
    return spikes, after


def fire(
    neuron: Neuron[Any],
    currents: Tensor | Pending,
    state: Any,
    keep: Tensor | None,
    counted: bool = True,
    averaged: bool = False,
    tally: Tally | None = None,
    packed: bool = False,
) -> Fired:
    """All steps of a sequence.

    Args:
        neuron: which.
        currents: ``[T, B, *N]``.
        state: as the call before gave it, or none.
        keep: of spike confidence.
        counted: whether anybody wants the counts; else there may be none.
        averaged: whether, in a simulation, values are wanted as their mean over time,
            ``[1, B, *N]``.
        tally: the sums that are wanted; a scan adds them up, who can't gives the counts for it.
        packed: whether values are wanted as bits, where a scan can give them so and a spike is one.
    """
    like = currents.like() if isinstance(currents, Pending) else currents
    if state is None:
        state = neuron.initial(like[0])
    kind, learns = type(neuron), torch.is_grad_enabled()
    kernel = None
    if like.dtype is torch.float32 and like.device.type == "cpu":
        kernel = kernels(learns).get(kind)
    if kernel is not None and not learns:
        wants = (counted, averaged, tally, packed and not averaged and neuron.levels == 1)
        spikes, after, bits = kernel(neuron, currents, state, keep, *wants)
        if bits is not None:
            return Fired(spikes, bits, after)
    else:
        if isinstance(currents, Pending):
            currents = currents.tensor()
        if kernel is not None:
            spikes, after = kernel(neuron, currents, state, keep, counted or tally is not None)
        else:
            fused = FUSED.get(kind) if learns else None
            spikes, after = (fused or type(neuron).run)(neuron, currents, state, keep)
    if averaged and len(spikes.values) > 1:
        spikes = spikes._replace(values=_mean(spikes.values))
    return Fired(spikes, spikes.values, after)


def _mean(values: Tensor) -> Tensor:
    """Over time, in the order of time, as a compiled scan adds up."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return (total / len(values))[None]


@functools.cache
def kernels(learns: bool = False) -> Mapping[type[Neuron[Any]], Callable[..., tuple[Any, ...]]]:
    """The neurons that have a compiled scan, in training one with gradients.

    None where numba can't be imported.
    """
    try:
        if learns:
            from snnconv.engine.neurons.fused_compiled import COMPILED

            return COMPILED
        from snnconv.engine.neurons.layer import KERNELS
    except ImportError:
        return {}
    return KERNELS

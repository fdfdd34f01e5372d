"""The one layout: a sequence is ``[T, B, *N]``.

``T`` time steps, ``B`` samples, ``*N`` a layer's neurons (``C, H, W`` after a convolution). A
value that does not change over time has ``T = 1`` and broadcasts: the analog input and everything
computed from it before the first neuron, so the first layer is computed once. Only the first
two functions here reshape time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from snnconv.errors import UsageError

_EXACT = 2**20  # neurons whose counts, up to 16 each, add up exactly in float32


def fold_time(sequence: Tensor) -> Tensor:
    """Return ``[T, B, *N]`` as ``[T*B, *N]``, for operations that know nothing of time."""
    return sequence.flatten(0, 1)


def unfold_time(merged: Tensor, timesteps: int) -> Tensor:
    """Return ``[T*B, *N]`` as ``[T, B, *N]``, the inverse of :func:`fold_time`."""
    steps: Tensor = merged.unflatten(0, (timesteps, merged.shape[0] // timesteps))
    return steps


def stack_time(steps: Sequence[Tensor]) -> Tensor:
    """Stack ``[B, *N]`` of each step ``-> [T, B, *N]``, in the memory order of a step.

    Convolutions give channels-last memory, and what sums over places depends on the order.
    """
    first = steps[0]
    if first.dim() > 3 and first.is_contiguous(memory_format=torch.channels_last):
        return torch.stack([step.movedim(1, -1) for step in steps]).movedim(-1, 2)
    return torch.stack(list(steps))


def laid_out(sequence: Tensor, like: Tensor) -> Tensor:
    """Return ``[T, B, *N]`` in channels-last memory if ``like``, of equal shape, is in that order.

    Convolutions and sums over places round by the order.
    """

    def last(step: Tensor) -> bool:
        return step.dim() > 3 and step.is_contiguous(memory_format=torch.channels_last)

    if last(like[0]) and not last(sequence[0]):
        return sequence.movedim(2, -1).contiguous().movedim(-1, 2)
    return sequence


def of_steps(values: Tensor, done: int, steps: int) -> Tensor:
    """Return the rows of the next steps, ``[T, *N] -> [steps, *N]``.

    Args:
        values: a row for each of T steps.
        done: the number of steps before. A graph that is traced has no number for it, and checks
            the rows when it runs.
        steps: how many steps.

    Raises:
        UsageError: steps that have no row.
    """
    if isinstance(done, int) and done + steps > len(values):
        raise UsageError(
            f"the network can't run {done + steps} steps",
            f"it has learned a number for each of T = {len(values)}",
            f"run it for T = {len(values)}, and start again after them",
        )
    return values.index_select(0, torch.arange(steps, device=values.device) + done)


def per_neuron(values: Tensor, dims: int) -> Tensor:
    """Return one value, or one for each channel, shaped to broadcast over a step ``[B, *N]``.

    Args:
        values: ``[]``, ``[1]`` or ``[C]``.
        dims: of the step, batch included.

    Returns:
        ``[1, 1 or C, 1, ...]`` with ``dims`` dimensions; ``[1]`` for a step of one number for each
        sample.
    """
    if dims == 1:
        return values.reshape(1)
    return values.reshape(1, -1, *[1] * (dims - 2))


def neurons_flat(values: Tensor, like: Tensor) -> Tensor:
    """Return ``[..., C, *places]`` as ``[..., n]`` in the memory order of ``like``: a view of it.

    Convolutions give channels-last memory, where a plain ``flatten`` would copy every time.

    Args:
        values: ``[..., *N]``, ``like`` itself or a tensor over the same neurons.
        like: ``[T, B, *N]``, whose order counts.
    """
    if like.dim() > 3 and not like.is_contiguous() and like.movedim(2, -1).is_contiguous():
        values = values.movedim(values.dim() - like.dim() + 2, -1)
    return values.flatten(values.dim() - like.dim() + 2)


def per_sample(counts: Tensor) -> Tensor:
    """Return counts summed over a sample's neurons, ``[T, B, *N] -> [T, B]`` int64.

    Integers add up exactly in float32 up to ``2**24`` only, so pieces of it are summed in int64.
    """
    flat = neurons_flat(counts, counts)
    sums = flat.new_zeros(flat.shape[:2], dtype=torch.int64)
    for piece in flat.split(_EXACT, 2):
        sums += piece.sum(2).long()
    return sums


def in_all(counts: Tensor) -> int:
    """Return counts ``[B, *N]``, up to 16 each, summed over all samples and neurons."""
    if counts.numel() <= _EXACT:
        return int(counts.sum())
    return int(per_sample(counts[None]).sum())

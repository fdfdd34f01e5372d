"""The one layout: a sequence is ``[T, B, *N]``.

``T`` time steps, ``B`` samples, ``*N`` a layer's neurons (``C, H, W`` after a convolution). A value
that does not change over time has ``T = 1`` and broadcasts: the analog input and everything computed
from it before the first neuron, so the first layer is computed once. Only the two functions here
reshape time.
"""

from torch import Tensor


def fold_time(sequence: Tensor) -> Tensor:
    """``[T, B, *N] -> [T*B, *N]``, for operations that know nothing of time."""
    return sequence.flatten(0, 1)


def unfold_time(merged: Tensor, timesteps: int) -> Tensor:
    """``[T*B, *N] -> [T, B, *N]``, the inverse of :func:`fold_time`."""
    return merged.unflatten(0, (timesteps, merged.shape[0] // timesteps))


def per_neuron(values: Tensor, dims: int) -> Tensor:
    """One value, or one a channel, shaped to broadcast over a step ``[B, *N]``.

    Args:
        values: ``[]``, ``[1]`` or ``[C]``.
        dims: of the step, batch included.

    Returns:
        ``[1, 1 or C, 1, ...]`` with ``dims`` dimensions.
    """
    return values.reshape(1, -1, *[1] * (dims - 2))

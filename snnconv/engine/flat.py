"""Sequences ``[T, B, *N]`` as arrays ``[T, n]`` in the order in which they lie in memory, and back.

Convolutions give channels-last memory; neurons do not care for order, so nothing is copied but
what lies in neither order.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CHANNEL = 2  # of [T, B, C, ...]


@dataclass(frozen=True)
class Flat:
    """An order of memory.

    Attributes:
        shape: ``B, *N``.
        channels_last: whether ``C`` is the fastest dimension.
    """

    shape: torch.Size
    channels_last: bool

    @classmethod
    def of(cls, currents: Tensor) -> "Flat":
        """The order of ``[T, B, *N]``."""
        last = currents.dim() > 3 and currents[0].movedim(1, -1).is_contiguous()
        return cls(currents.shape[1:], last and not currents[0].is_contiguous())

    def array(self, sequence: Tensor) -> NDArray[np.float32]:
        """``[T, B, *N] -> [T, n]``, of the same memory where its order is this one."""
        if self.channels_last:
            sequence = sequence.movedim(_CHANNEL, -1)
        found: NDArray[np.float32] = sequence.detach().contiguous().flatten(1).numpy()
        return found

    def rows(self, sequence: Tensor) -> NDArray[np.float32]:
        """``[T, B, *N] -> [1 or T, n]``: one row of what is constant over time, so expanded."""
        return self.array(sequence[:1] if sequence.stride(0) == 0 else sequence)

    def neurons(self, step: Tensor) -> NDArray[np.float32]:
        """What broadcasts to ``[B, *N] -> [1, 1 or n]``: one number where all have the same."""
        if not any(step.stride()) or step.numel() == 1:
            found: NDArray[np.float32] = step.detach().flatten()[:1].numpy()[None]
            return found
        return self.array(step.expand(self.shape)[None])

    def own(self, step: Tensor) -> NDArray[np.float32]:
        """What broadcasts to ``[B, *N] -> [n]``, copied."""
        found: NDArray[np.float32] = self.array(self.empty(1).copy_(step.detach()))[0]
        return found

    def empty(self, steps: int) -> Tensor:
        """``[T, B, *N]`` in this order."""
        if not self.channels_last:
            return torch.empty(steps, *self.shape)
        batch, channels, *places = self.shape
        return torch.empty(steps, batch, *places, channels).movedim(-1, _CHANNEL)

    def back(self, array: NDArray[np.float32]) -> Tensor:
        """``[n] -> [B, *N]``, of the same memory."""
        step = torch.from_numpy(array)
        if not self.channels_last:
            return step.view(self.shape)
        batch, channels, *places = self.shape
        return step.view(batch, *places, channels).movedim(-1, 1)

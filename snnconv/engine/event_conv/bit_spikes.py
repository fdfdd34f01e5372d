"""Spikes as bits: if all spikes of a channel have one amplitude, one bit is enough for each.

Neurons write, and convolutions by events, additions to their currents and concatenations read, a
thirty-second of the memory of float32.

Shape:
    ``[T, B, C, H, W]`` in channels-last order, C a multiple of 16.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_SPARE = 8  # bytes that are read behind the last


@dataclass(frozen=True)
class Packed:
    """Spikes of a layer.

    Attributes:
        bits: ``[T, B*H*W*C/8]``; a word of anything lies behind them, since kernels read by words.
        size: ``B, C, H, W``.
        amplitude: ``[C]``.
    """

    bits: Bytes
    size: tuple[int, ...]
    amplitude: Floats

    @classmethod
    def empty(cls, steps: int, size: tuple[int, ...], amplitude: Tensor) -> "Packed":
        """Memory for spikes.

        Args:
            steps: T.
            size: ``B, C, H, W``.
            amplitude: ``[]``, ``[1]`` or ``[C]``.
        """
        each = np.empty(size[1], np.float32)
        each[:] = amplitude.detach().numpy()
        return cls(_bytes(steps, math.prod(size) // 8), size, each)

    @property
    def shape(self) -> tuple[int, ...]:
        """``T, B, C, H, W``."""
        return (len(self.bits), *self.size)

    def tensor(self) -> Tensor:
        """As float32, in channels-last memory."""
        batch, channels, *places = self.size
        found = torch.zeros(len(self.bits), batch, *places, channels)
        self.add_to(found.flatten(1).numpy(), 0)
        return found.movedim(-1, 2)

    def add_to(self, rows: Floats, first: int) -> None:
        """Add the spikes of the neurons from the first on to ``[T, n]``."""
        from snnconv.engine.event_conv.bits import add_spikes

        add_spikes(first, first + rows.shape[1], self.bits, self.amplitude, rows)


def unpacked(values: Tensor | Packed) -> Tensor:
    """Of either, ``[T, B, *N]`` in float32."""
    return values.tensor() if isinstance(values, Packed) else values


def concatenated(parts: Sequence[Packed]) -> Packed:
    """Along channels."""
    batch, _, *places = parts[0].size
    amplitude = np.concatenate([part.amplitude for part in parts])
    of_places = [part.bits.reshape(-1, part.size[1] // 8) for part in parts]
    bits = _bytes(len(parts[0].bits), batch * int(np.prod(places)) * len(amplitude) // 8)
    np.concatenate(of_places, 1, out=bits.reshape(len(of_places[0]), len(amplitude) // 8))
    return Packed(bits, (batch, len(amplitude), *places), amplitude)


def _bytes(steps: int, row: int) -> Bytes:
    return np.empty(steps * row + _SPARE, np.uint8)[: steps * row].reshape(steps, row)

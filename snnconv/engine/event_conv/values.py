"""The two forms in which values travel between layers, besides float tensors.

Spikes travel as bits if all spikes of a channel have one amplitude: a thirty-second of the memory
of float32. Neurons write bits; convolutions by events, additions to their currents, and
concatenations read them.

Currents of a convolution by events are computed when neurons ask for them, so that they stay in the
cache: only an addition lies between the convolution and its neurons.

Shape:
    ``[T, B, C, H, W]`` in channels-last order; for bits, C is a multiple of 16.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.shapes import fold_time, unfold_time

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Pair = tuple[int, int]

_SPARE = 8  # bytes behind the last one, because kernels read whole words


@dataclass(frozen=True)
class Window:
    """The window of a convolution, as in PyTorch's ``conv2d``."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def places(self, size: Pair, kernel: tuple[int, ...]) -> Pair:
        """Return ``H, W`` of the output for an input of this ``H, W``."""
        lines = zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        high, wide = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in lines)
        return high, wide


@dataclass(frozen=True)
class Packed:
    """Spikes of a layer as bits.

    Attributes:
        bits: ``[T, B*H*W*C/8]``; unused memory of one word follows them.
        size: ``B, C, H, W``.
        amplitude: ``[C]``.
    """

    bits: Bytes
    size: tuple[int, ...]
    amplitude: Floats

    @classmethod
    def empty(cls, steps: int, size: tuple[int, ...], amplitude: Tensor) -> "Packed":
        """Return memory for spikes.

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
        """Return the spikes in float32, in channels-last memory."""
        batch, channels, *places = self.size
        found = torch.zeros(len(self.bits), batch, *places, channels)
        self.add_to(found.flatten(1).numpy(), 0)
        return found.movedim(-1, 2)

    def add_to(self, rows: Floats, first: int) -> None:
        """Add the spikes of the neurons from ``first`` on to ``[T, n]``."""
        from snnconv.engine.event_conv.bits import add_spikes

        add_spikes(first, first + rows.shape[1], self.bits, self.amplitude, rows)


def unpacked(values: Tensor | Packed) -> Tensor:
    """Return either form in float32, ``[T, B, *N]``."""
    return values.tensor() if isinstance(values, Packed) else values


def concatenated(parts: Sequence[Packed]) -> Packed:
    """Return bits concatenated along channels."""
    batch, _, *places = parts[0].size
    amplitude = np.concatenate([part.amplitude for part in parts])
    of_places = [part.bits.reshape(-1, part.size[1] // 8) for part in parts]
    bits = _bytes(len(parts[0].bits), batch * math.prod(places) * len(amplitude) // 8)
    np.concatenate(of_places, 1, out=bits.reshape(len(of_places[0]), len(amplitude) // 8))
    return Packed(bits, (batch, len(amplitude), *places), amplitude)


def _bytes(steps: int, row: int) -> Bytes:
    return np.empty(steps * row + _SPARE, np.uint8)[: steps * row].reshape(steps, row)


Images = Callable[[int, int, int, int, Floats], None]
"""``(start, stop, above, steps, out)``: computes samples ``start`` to ``stop`` at all steps.

``out`` says how many lines of the output to compute for each sample; ``above`` lines lie above the
first one."""


class EventDriven(Protocol):
    """A convolution by events, which needs numba; who only passes it on does not."""

    def __call__(self, values: Tensor | Packed) -> Tensor:
        """Convolve ``[N, C, H, W] -> [N, C_out, H_out, W_out]``."""

    def images(self, values: Tensor | Packed) -> Images:
        """Return the function that computes samples of a batch."""

    def places(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return ``H, W`` of the output."""

    @property
    def outputs(self) -> int:
        """Channels of the output."""


@dataclass(frozen=True)
class Deferred:
    """Currents of a convolution that is still to be computed, and currents to add to them.

    Attributes:
        convolution: by events.
        values: spikes ``[T, B, C, H, W]``.
        others: ``[T, B, C_out, H_out, W_out]`` each.
        channels: a current for each channel ``[1 or T, C_out]`` each, added last.
    """

    convolution: EventDriven
    values: Tensor | Packed
    others: tuple[Tensor | Packed, ...] = ()
    channels: tuple[Tensor, ...] = ()

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """``T, B, C_out, H_out, W_out``."""
        places = self.convolution.places((self.values.shape[3], self.values.shape[4]))
        return (*self.values.shape[:2], self.convolution.outputs, *places)

    def plus(self, other: Tensor | Packed) -> "Deferred":
        """Return the same with other currents added."""
        whole = other.expand(self.shape) if isinstance(other, Tensor) else other
        return replace(self, others=(*self.others, whole))

    def plus_channels(self, each: Tensor) -> "Deferred":
        """Return the same plus a current for each channel, ``[1, C_out]`` or ``[T, C_out]``."""
        return replace(self, channels=(*self.channels, each))

    def images(self) -> Images:
        """Return the function that computes samples of the convolution."""
        return self.convolution.images(self._merged())

    def tensor(self) -> Tensor:
        """Compute all currents now."""
        found = unfold_time(self.convolution(self._merged()), self.shape[0])
        for other in self.others:
            found = found + unpacked(other)
        for each in self.channels:
            found = found + each[:, None, :, None, None]
        return found

    def _merged(self) -> Tensor | Packed:
        return fold_time(self.values) if isinstance(self.values, Tensor) else self.values

    def like(self) -> Tensor:
        """Return a tensor of this shape and order of memory, whose elements share one place."""
        return _like(self.shape)


@lru_cache(maxsize=256)
def _like(shape: tuple[int, ...]) -> Tensor:
    T, B, C, H, W = shape
    return torch.zeros(()).expand(T, B, H, W, C).movedim(-1, 2)


def add_deferred(inputs: Sequence[Tensor | Packed | Deferred]) -> Deferred:
    """Add currents, at least one of which is deferred."""
    first, *others = sorted(inputs, key=lambda value: not isinstance(value, Deferred))
    assert isinstance(first, Deferred)
    for other in others:
        first = first.plus(other.tensor() if isinstance(other, Deferred) else other)
    return first

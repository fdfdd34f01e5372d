"""Currents that are computed when neurons ask for them, so that they stay in the cache.

Only an addition lies between a convolution by events and the neurons behind it, so its output need
never be in memory as a whole.

Shape:
    ``[T, B, C, H, W]``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.shapes import fold_time, unfold_time
from snnconv.engine.event_conv.bit_spikes import Packed, unpacked

Images = Callable[[int, int, int, int, NDArray[np.float32]], None]
"""``(start, stop, above, steps, out)``: samples ``start`` to ``stop`` at all steps; of each as many
lines of the output as out has, the first of which has so many above it."""


class EventDriven(Protocol):
    """A convolution by events."""

    def __call__(self, values: Tensor | Packed) -> Tensor:
        """``[N, C, H, W] -> [N, C_out, H_out, W_out]``."""

    def images(self, values: Tensor | Packed) -> Images:
        """Samples of a batch, when they are asked for."""

    def places(self, size: tuple[int, int]) -> tuple[int, int]:
        """Of the output."""

    @property
    def outputs(self) -> int:
        """Channels of the output."""


@dataclass(frozen=True)
class Deferred:
    """Currents of a convolution, and of others that are added to them.

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
        """With other currents added."""
        whole = other.expand(self.shape) if isinstance(other, Tensor) else other
        return replace(self, others=(*self.others, whole))

    def plus_channels(self, each: Tensor) -> "Deferred":
        """With a current for each channel added, ``[1, C_out]`` or ``[T, C_out]``."""
        return replace(self, channels=(*self.channels, each))

    def images(self) -> Images:
        """The convolution's samples, when they are asked for."""
        return self.convolution.images(self._merged())

    def tensor(self) -> Tensor:
        """Now, and as a whole."""
        found = unfold_time(self.convolution(self._merged()), self.shape[0])
        for other in self.others:
            found = found + unpacked(other)
        for each in self.channels:
            found = found + each[:, None, :, None, None]
        return found

    def _merged(self) -> Tensor | Packed:
        return fold_time(self.values) if isinstance(self.values, Tensor) else self.values

    def like(self) -> Tensor:
        """A tensor of the same shape and order of memory, whose elements are one."""
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

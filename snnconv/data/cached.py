"""A split whose samples are decoded once and stay in memory, if there is room for them."""

import math

import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.data.split import ArraySplit, Split, count

_BYTES = 4


class CachedSplit:
    """Another split, whose samples are kept once they were asked for.

    Args:
        split: that reads and decodes.
    """

    def __init__(self, split: Split) -> None:
        self.labels = split.labels
        self._split = split
        self._there = torch.zeros(count(split), dtype=torch.bool)
        self._samples = torch.empty(0)

    def __len__(self) -> int:
        return len(self._there)

    def images(self, indices: Tensor) -> Tensor:
        """Return the samples at these indices; errors are those of the other split."""
        missing = indices[~self._there[indices]].unique()
        if len(missing):
            found = self._split.images(missing)
            if not self._there.any():
                self._samples = found.new_empty(len(self), *found.shape[1:])
            if found.shape[1:] != self._samples.shape[1:]:
                return self._split.images(indices)  # the other split's error says why
            self._samples[missing] = found
            self._there[missing] = True
        return self._samples[indices]


def cached(split: Split, info: DataInfo, memory: int) -> Split:
    """Return the split, with its samples kept if all of them fit.

    Args:
        split: one that is read again and again.
        info: of its samples.
        memory: bytes that they may take.
    """
    sample = math.prod(info.shape) * (info.frames or 1)
    fits = _BYTES * sample * count(split) <= memory
    return CachedSplit(split) if fits and not isinstance(split, ArraySplit) else split

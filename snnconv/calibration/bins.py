"""What a checkpoint keeps of a site's activations: few bins, for thresholds without data.

A bin has the number of its activations, their mean, and the least and the largest of them. If a
channel's histogram has more bins than are kept, neighbours are merged: bins are narrow where many
activations lie, and a value that many activations share keeps its own bin. A search for a threshold
(``mse``) reads these bins in calibration, too, so it finds the same threshold with data as without.

Shape:
    ``[n, 4]``, one channel after the other, and the number of bins a channel ``[C]``; float32.

Reference:
    Panter & Dite 1951: with the density to the power of 1/3 in each bin, a given number of bins has
    the least squared error.

Deviations:
    None.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]
Channel = tuple[Numbers, Numbers, Numbers, Numbers]
"""Bins of one channel in ascending order, each with its number, sum, least and largest."""

MOST = 512
"""Bins a channel, about: 8 kB. With half as many, `mse` missed its bound in one of 800 mixtures."""


@dataclass(frozen=True)
class Bins:
    """The positive activations of a site.

    Attributes:
        rows: number, mean, least and largest of each bin, ``[n, 4]``.
        lengths: bins of each channel, ``[C]``.
    """

    rows: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, number: Tensor, total: Tensor, least: Tensor, largest: Tensor) -> Self:
        """Return the few bins for all bins of a histogram, ``[C, bins]``."""
        every = (of.double().numpy() for of in (number, total, least, largest))
        channels = list(zip(*every, strict=True))
        rows = [_merged(tuple(of[channel[0] > 0] for of in channel), MOST) for channel in channels]
        lengths = torch.tensor([float(len(row)) for row in rows])
        return cls(torch.from_numpy(np.concatenate(rows)).float(), lengths)

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Return the bins of all channels of several.

        Each part is copied before the next one is made. Small tensors that stay while larger ones
        come and go leave gaps in the heap, which took twenty times their own size.
        """
        rows, lengths = bytearray(), list[float]()
        for part in parts:
            rows += part.rows.numpy().tobytes()
            lengths += part.lengths.tolist()
        found = torch.frombuffer(rows, dtype=torch.float32) if rows else torch.zeros(0)
        return cls(found.view(-1, 4), torch.tensor(lengths))

    def pooled(self) -> Self:
        """Return the bins of all channels together, as of one.

        The activations of each bin count as if all lay at its mean. A channel's bin is narrow
        enough for that: the range of all channels is at least as wide as that of one.
        """
        number, mean = self.rows.double().numpy().T[:2]
        order = np.argsort(mean, kind="stable")
        number, mean = number[order], mean[order]
        rows = torch.from_numpy(_merged((number, number * mean, mean, mean), MOST)).float()
        return type(self)(rows, torch.tensor([float(len(rows))]))

    def channels(self) -> Iterator[Channel]:
        """Return the bins of each channel."""
        rows = self.rows.double().numpy()
        for part in np.split(rows, self.lengths.cumsum(0)[:-1].long().numpy()):
            number, mean, least, largest = part.T
            yield number, number * mean, least, largest


def _merged(bins: tuple[Numbers, ...], most: int) -> Numbers:
    """Return rows of at most this many bins, and two more for each bin that stands alone."""
    number, total, least, largest = bins
    count = len(number)
    if count > most:
        width = np.maximum(np.diff(largest, prepend=least[0]), largest - least)
        share = np.cbrt(number * (width / largest[-1]) ** 2)
        before = np.append(0, share.cumsum()[:-1]) / share.sum()
        heavy = number * most > number.sum()
        starts = np.append(True, np.diff(np.floor(before * most)) > 0)
        starts |= heavy | np.append(False, heavy[:-1])
        first = np.flatnonzero(starts)
        number, total = (np.add.reduceat(of, first) for of in (number, total))
        least, largest = least[first], largest[np.append(first[1:], count) - 1]
    mean = np.divide(total, number, out=np.zeros_like(total), where=number > 0)
    return np.stack([number, mean, least, largest], 1)

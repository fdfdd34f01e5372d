"""Which bins each channel of a histogram has: as fine as the range of its activations allows.

A bin holds the float32 numbers that share their leading bits. A channel has bins for the octaves
between its smallest and its largest activation. The fewer there are, the finer the bins are, so
activations that lie close together are told apart in the same memory. The bins of a channel follow
from its own range alone: other channels change nothing. Where octaves are added, bins become
coarser: neighbours are merged, exactly, so it does not matter when the octaves came.

Shape:
    Ranges ``[channels]``; counts and rests ``[channels, bins]``, extremes ``[channels, bins, 2]``;
    see :class:`~snnconv.calibration.histogram.Histogram`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_OCTAVES = 64  # 2**-32 .. 2**32
LOWEST = (127 - 32) << 23  # the bits of 2**-32
HIGHEST = LOWEST + (_OCTAVES << 23) - 1
_MANTISSA = 23
_MAGNITUDE = 0x7FFFFFFF  # of a number's bits: all but its sign
_FEW = 16  # octaves; with fewer octaves, bins are finer and take the memory of this many
_PORTION = 4  # octaves of the coarsest bins are added in portions, so that bins rarely move
_FINER = np.array([max(1, _FEW // max(1, n)).bit_length() - 1 for n in range(_OCTAVES + 1)])
"""How many more leading bits bins keep if there are so few octaves."""

Integers = NDArray[np.int32]


class Move(NamedTuple):
    """How bins of some channels become wider or coarser ones.

    Attributes:
        drop: how many more bits they leave out.
        begin: the number of bins by which all of them then lie further up.
    """

    drop: int
    begin: int


@dataclass(frozen=True)
class Layout:
    """The bins of all channels.

    Attributes:
        lowest: the bits of the smallest number that has a bin ``[channels]``.
        rest: how many bits a bin leaves out ``[channels]``.
        bins: how many each channel has room for.
    """

    lowest: Integers
    rest: Integers
    bins: int

    @classmethod
    def of(cls, minimum: Tensor, maximum: Tensor, bits: int) -> Self:
        """Return the bins of channels whose activations lie in these ranges ``[channels]``.

        Args:
            minimum: the smallest positive activations; infinity where there is none.
            maximum: the largest.
            bits: leading bits of the mantissa that a bin keeps at least.
        """
        first, last = _octaves(minimum), _octaves(maximum)
        first = np.minimum(first, last)
        finer = _FINER[last + 1 - first].astype(np.int32)
        portion = np.where(finer > 0, 1, _PORTION).astype(np.int32)
        first, end = first // portion * portion, (last // portion + 1) * portion
        most = max(_FEW, int((end - first).max())) << bits
        return cls(LOWEST + (first << _MANTISSA), _MANTISSA - bits - finer, most)

    def of_channels(self, which: slice) -> "Layout":
        """Return the bins of some channels."""
        return Layout(self.lowest[which], self.rest[which], self.bins)

    def edges(self) -> Tensor:
        """Return where bins begin and end, ``[channels, bins + 1]`` float64."""
        index = np.arange(self.bins + 1, dtype=np.int32)
        bits = (index << self.rest[:, None]) + self.lowest[:, None]
        return torch.from_numpy(bits.view(np.float32)).double()

    def steps(self, edges: Tensor) -> Tensor:
        """Return the distance of neighbouring numbers in each bin ``[channels, bins]``."""
        return edges.diff() * torch.exp2(-torch.from_numpy(self.rest).double())[:, None]

    def moves(self, now: "Layout", used: Tensor) -> Iterator[tuple[Move, Tensor]]:
        """Return how the bins of channels become others, and which channels do so alike.

        Those that are named together left out equally many bits before.

        Args:
            now: these others.
            used: channels with anything in their bins ``[channels]``.
        """
        drop = now.rest - self.rest
        begin = (self.lowest - now.lowest) >> now.rest
        changed = ((drop != 0) | (begin != 0)) & used.numpy()
        kinds = zip(*(each[changed].tolist() for each in (drop, begin, self.rest)), strict=True)
        for dropped, begun, rest in sorted(set(kinds)):
            alike = changed & (drop == dropped) & (begin == begun) & (self.rest == rest)
            yield Move(dropped, begun), torch.from_numpy(alike.nonzero()[0])


def _octaves(numbers: Tensor) -> Integers:
    """Return the octaves of numbers, counted from ``2**-32``; the first for zero."""
    magnitude = numbers.view(torch.int32).numpy() & np.int32(_MAGNITUDE)
    found = (magnitude - np.int32(LOWEST)) >> _MANTISSA
    octaves: Integers = np.minimum(np.maximum(found, 0), _OCTAVES - 1)
    return octaves


def coarser(counts: Tensor, rests: Tensor, rest: int, drop: int) -> tuple[Tensor, Tensor]:
    """Return the counts and rests ``[channels, bins]`` of bins that leave out more bits.

    Args:
        counts: the counts of bins that leave out ``rest`` bits.
        rests: the sums of the bits that these bins leave out.
        rest: how many bits that is.
        drop: how many more are left out.
    """
    counts, rests = (of.unflatten(1, (-1, 1 << drop)) for of in (counts, rests))
    above = torch.arange(1 << drop) << rest
    return counts.sum(-1), (rests + counts * above).sum(-1)


def coarser_extremes(extremes: Tensor, counts: Tensor, rest: int, drop: int) -> Tensor:
    """Return the extremes ``[channels, bins, 2]`` of these bins; see :func:`coarser`."""
    above = (torch.arange(1 << drop, dtype=torch.int32) << rest)[:, None]
    none = torch.tensor([2**16 - 1, 0], dtype=torch.int32)
    used = counts.unflatten(1, (-1, 1 << drop))[..., None] > 0
    found = torch.where(used, extremes.unflatten(1, (-1, 1 << drop)) + above, none)
    return torch.stack([found[..., 0].amin(-1), found[..., 1].amax(-1)], -1)

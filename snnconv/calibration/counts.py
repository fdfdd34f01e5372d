"""The counting of a site's activations into bins, and the memory that it takes.

While activations are counted, number and sum of rests share a word, so that counting touches one
only. The bins follow from the range of a channel's activations, and widen with it
(:mod:`snnconv.calibration.fineness`); what was counted before moves into them, exactly.

Shape:
    Rows ``[n, channels]``, none of them negative; counts and rests ``[channels, bins]``.
"""

import math
import mmap
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.calibration.fineness import HIGHEST, LOWEST, Layout, Move, coarser, coarser_extremes
from snnconv.calibration.span import ADDRESSED, KERNEL, Span
from snnconv.core.packages import kernels

AT_ONCE = 2**22  # activations that are binned at once without a compiler, to bound memory
PART = 2**16  # bins that are computed with at once, with several numbers for each
_APART = 40  # bins between two channels' bins: as far apart as a power of two they share cache sets
_HALF = -(2**15)  # of the numbers of 16 bits: extremes are kept as if these had a sign
_BESIDE = 128  # rows of one channel that are counted at the same time, at most
_ALL = slice(None)
_WORD, _HELD = 8 + 2 * 2, 2 * 8  # bytes of a bin: its word and its extremes; words of their own


class Counts:
    """Activations of one site by bin, by channel or all together.

    Args:
        channels: how many.
        bits: leading bits of the mantissa that a bin keeps at least, 7 to 19.
        most: activations of a channel after which the shared words are emptied; by default as many
            as they hold in any case.

    Attributes:
        zeros: activations that are zero, ``[channels]`` int64.
        minimum: of those that are not, ``[channels]`` float32, exact.
        maximum: ``[channels]`` float32, exact.
        layout: which bins the channels have.
    """

    def __init__(self, channels: int, bits: int, most: int | None = None) -> None:
        self._least_bits = bits
        self.zeros = torch.zeros(channels, dtype=torch.int64)
        self.minimum = torch.full((channels,), torch.inf)
        self.maximum = torch.zeros(channels)
        self.layout = Layout.of(self.minimum, self.maximum, bits)
        self._shift = _shift(bits)
        self._most = _most(bits) if most is None else min(_most(bits), most)
        self._room = self._most
        self._padding = _padding(channels)
        self._words, self._ends = self._nothing(channels)
        self._held: Tensor | None = None

    def _nothing(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return words and extremes of empty bins."""
        bins = self.layout.bins + self._padding
        ends = _zeros(channels, bins, 2, dtype=torch.int16)
        ends[:] = torch.tensor([-_HALF - 1, _HALF], dtype=torch.int16)
        return _zeros(channels, bins, dtype=torch.int64), ends

    @property
    def bits(self) -> Tensor:
        """Leading bits of the mantissa that a channel's bins keep ``[channels]``."""
        return 23 - torch.from_numpy(self.layout.rest)

    def _counted(self, which: Tensor | slice = _ALL) -> tuple[Tensor, Tensor]:
        """Return counts and rests of some channels."""
        words = self._words[which, : self.layout.bins]
        counts, rests = words >> self._shift, words & ((1 << self._shift) - 1)
        if self._held is None:
            return counts, rests
        return counts + self._held[0, which], rests + self._held[1, which]

    @property
    def counts(self) -> Tensor:
        """Positive activations ``[channels, bins]`` int64."""
        return self._counted()[0]

    @property
    def rests(self) -> Tensor:
        """Sums of their rests as integers ``[channels, bins]`` int64."""
        return self._counted()[1]

    @property
    def extremes(self) -> Tensor:
        """The least and the largest rest ``[channels, bins, 2]`` int32.

        For empty bins, the largest and the least that a number can have.
        """
        return self._ends[:, : self.layout.bins].int() - _HALF

    def replace(self, counts: Tensor, rests: Tensor, extremes: Tensor) -> None:
        """Replace what has been counted by these, in the same bins."""
        self._held, self._room = torch.stack([counts, rests]), self._most
        self._words.zero_()
        self._ends[:, : self.layout.bins] = (extremes + _HALF).short()

    def _empty_words(self) -> None:
        """Take what the shared words hold into words of their own, some channels at a time."""
        bins, self._room = self.layout.bins, self._most
        if self._held is None:
            self._held = _zeros(2, len(self._words), bins, dtype=torch.int64)
        for which in self._groups(PART):
            words = self._words[which, :bins]
            self._held[0, which] += words >> self._shift
            self._held[1, which] += words & ((1 << self._shift) - 1)
        self._words.zero_()

    def _groups(self, at_once: int) -> Iterator[slice]:
        """Return groups of channels with so many bins at most."""
        step = max(1, at_once // self.layout.bins)
        for first in range(0, len(self.zeros), step):
            yield slice(first, first + step)

    def update(self, rows: Tensor, compiled: bool = True, at_once: int = AT_ONCE) -> None:
        """Add activations; one that is no finite number shows in the maximum.

        Args:
            rows: ``[n, channels]``, none of them negative.
            compiled: whether compiled code may count, if numba is installed. The result is the
                same without.
            at_once: activations that are counted together without compiled code.
        """
        rows = rows.float().contiguous()
        if rows.numel() > 0:
            span = Span(self.minimum, self.maximum, 0).extended(rows, compiled)
            self.widen(span.minimum, span.maximum)
            self.count(rows, compiled, at_once)

    def count(self, rows: Tensor, compiled: bool = True, at_once: int = AT_ONCE) -> None:
        """Add activations whose range has bins already; see :meth:`widen` and :meth:`update`.

        Args:
            rows: contiguous float32.
            compiled: as in :meth:`update`.
            at_once: as in :meth:`update`.
        """
        channels = len(self.zeros)
        if (kernel := kernels(KERNEL) if compiled else None) is not None:
            for part in rows.split(min(self._most, ADDRESSED // channels)):
                self._tally(kernel, part)
            return
        offsets = torch.arange(channels) * self.layout.bins
        lowest, left_out = (torch.from_numpy(of) for of in (self.layout.lowest, self.layout.rest))
        for part in rows.split(max(1, at_once // channels)):
            positive = part > 0
            self.zeros += (~positive).sum(0)
            above = part.view(torch.int32).clamp(LOWEST, HIGHEST) - lowest
            index = above >> left_out
            rest = above - (index << left_out)
            self._add((index + offsets)[positive], rest[positive])

    def _add(self, index: Tensor, rest: Tensor) -> None:
        """Count activations one by one, by their place among all bins."""
        counts, rests = self.counts, self.rests
        count = torch.bincount(index, minlength=counts.numel())
        total = torch.zeros_like(count).index_add_(0, index, rest.long())
        least, largest = (extreme.flatten() for extreme in self.extremes.unbind(-1))
        least.scatter_reduce_(0, index, rest, "amin")
        largest.scatter_reduce_(0, index, rest, "amax")
        extremes = torch.stack([least, largest], -1).view(*counts.shape, 2)
        self.replace(counts + count.view_as(counts), rests + total.view_as(rests), extremes)

    def _tally(self, kernel: ModuleType, rows: Tensor) -> None:
        """Count activations by compiled code."""
        if len(rows) > self._room:
            self._empty_words()
        self._room -= len(rows)
        kernel.tally(
            rows.view(-1).view(torch.int32).numpy(),
            self.layout.lowest,
            self.layout.rest,
            np.int64(1 << self._shift),
            np.int32(_HALF),
            self.layout.bins,
            self._words.numpy(),
            self._ends.numpy(),
            self.zeros.numpy(),
        )

    def widen(self, minimum: Tensor, maximum: Tensor) -> None:
        """Have bins for activations in these ranges ``[channels]``, which hold those so far."""
        if torch.equal(minimum, self.minimum) and torch.equal(maximum, self.maximum):
            return
        before, used = self.layout, self.maximum > 0
        self.minimum, self.maximum = minimum, maximum
        self.layout = Layout.of(minimum, maximum, self._least_bits)
        if self.layout.bins > before.bins:
            self._stretch(before.bins)
        for move, which in before.moves(self.layout, used):
            rest = int(before.rest[which[0]])
            for some in which.split(max(1, PART // self.layout.bins)):
                self._move(move, some, rest)

    def _stretch(self, bins: int) -> None:
        """Make room for more bins than these."""
        words, ends = self._words[:, :bins], self._ends[:, :bins]
        self._words, self._ends = self._nothing(len(words))
        self._words[:, :bins], self._ends[:, :bins] = words, ends
        if self._held is not None:
            self._held = F.pad(self._held, (0, self.layout.bins - bins))

    def _move(self, move: Move, which: Tensor, rest: int) -> None:
        """Merge bins of some channels, whose numbers leave out this many bits, into other bins."""
        bins = self.layout.bins
        if move.drop:
            self._merge_bins(which, rest, move.drop)
        words, ends = self._words[:, :bins], self._ends[:, :bins]
        # the last bins, which come round to the first places, are empty
        words[which] = words[which].roll(move.begin, 1)
        ends[which] = ends[which].roll(move.begin, 1)
        if self._held is not None:
            self._held[:, which] = self._held[:, which].roll(move.begin, 2)

    def _merge_bins(self, which: Tensor, rest: int, drop: int) -> None:
        """Leave out more bits of some channels: their bins are merged, and are the first then."""
        bins, ends = self.layout.bins, self._ends[which, : self.layout.bins].int() - _HALF
        counts, rests = self._counted(which)
        ends = coarser_extremes(ends, counts, rest, drop)
        counts, rests = coarser(counts, rests, rest, drop)
        merged, empty = counts.shape[1], self._nothing(len(which))
        self._words[which], self._ends[which] = empty
        self._ends[which, :merged] = (ends + _HALF).short()
        if self._held is None:
            self._words[which, :merged] = (counts << self._shift) + rests
        else:
            self._held[:, which] = F.pad(torch.stack([counts, rests]), (0, bins - merged))


def _zeros(*shape: int, dtype: torch.dtype) -> Tensor:
    """Return zeros in pages of their own, which the system has back when nobody needs them.

    Histograms come, grow and go between values of the network. From the heap they would leave gaps,
    which together took as much as a quarter of what all histograms may take.
    """
    size = math.prod(shape) * dtype.itemsize
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


def _shift(bits: int) -> int:
    """Return the bit of a word at which the number of its activations begins."""
    widest = 23 - bits  # bits that the coarsest bins leave out
    return widest + (62 - widest) // 2


def _most(bits: int) -> int:
    """Return how many activations there may be for number and sum to stay apart in a word."""
    shift = _shift(bits)
    number: int = 2 ** min(62 - shift, shift - (23 - bits)) - 1
    return number


def _padding(channels: int) -> int:
    return max(_APART, _BESIDE // channels)


def bytes_of(span: Span, bits: int) -> int:
    """Return the memory of a site's counts.

    Args:
        span: its activations; of none, that of the narrowest range.
        bits: leading bits of the mantissa that a bin keeps at least.
    """
    bins = Layout.of(span.minimum, span.maximum, bits).bins
    return _bytes(len(span.minimum), bins, span.rows > _most(bits))


def most_bytes(channels: int, bits: int) -> int:
    """Return the memory that the counts of a site take at most, of any activations."""
    smallest, largest = torch.tensor([2.0**-40]), torch.tensor([2.0**40])
    return _bytes(channels, Layout.of(smallest, largest, bits).bins, True)


def _bytes(channels: int, bins: int, held: bool) -> int:
    return channels * (_WORD * (bins + _padding(channels)) + held * _HELD * bins)

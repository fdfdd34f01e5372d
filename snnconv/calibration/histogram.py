"""Histograms of a site's activations, and the contract of statistics, which read them.

A bin of a histogram holds the float32 numbers that share their leading bits: all bins of a channel
have the same relative width, and the range need not be known beforehand. A bin keeps the number of
its activations, their sum, and the least and the largest of them. All of these are integers,
because the bits that a bin's numbers do not share form an integer. So the result does not depend on
the order or size of batches, and histograms merge exactly. Each channel has bins of its own, for
the octaves of its own activations (:mod:`snnconv.calibration.fineness`), so what is found of a
channel does not depend on others.

Shape:
    Rows ``[n, channels]``, with ``channels = 1`` for one threshold for each layer; thresholds
    ``[channels]``.

Reference:
    Masson, Rim & Lee, *DDSketch*, VLDB 2019: relative-error quantile sketches. Here the buckets are
    read off the bits of the number in place of a logarithm.

Deviations:
    Activations below ``2**-32`` or above ``2**32`` fall into the outermost bins.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.calibration.bins import Bins
from snnconv.calibration.fineness import HIGHEST, LOWEST, Layout, Move, coarser, coarser_extremes
from snnconv.core.metadata import Parameters, Record
from snnconv.core.packages import kernels
from snnconv.core.registry import REGISTRIES, Registry

AT_ONCE = 2**22  # activations that are binned at once without a compiler, to bound memory
_KERNEL = "snnconv.calibration.histogram_kernel"
_ADDRESSED = 2**31 - 1  # activations that an int32 can index
_APART = 40  # bins between two channels' bins: as far apart as a power of two they share cache sets
_HALF = -(2**15)  # of the numbers of 16 bits: extremes are kept as if these had a sign
_BESIDE = 128  # rows of one channel that are counted at the same time, at most
_ALL = slice(None)


def relative_error(bits: int) -> float:
    """Return the largest relative distance of a number from the centre of its bin."""
    return 2.0 ** -(bits + 1)


class Histogram:
    """Activations of one site, by channel or all together.

    A bin leaves out the last bits of its numbers: its rests. While activations are counted, number
    and sum of rests share a word, so that counting touches one only.

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
        widest = 23 - bits  # bits that the coarsest bins leave out
        self._shift = widest + (62 - widest) // 2  # the bit of a word at which the number begins
        held = int(2 ** (62 - self._shift) - 1)  # activations with a remainder below this
        self._most = held if most is None else min(held, most)
        self._room = self._most
        self._padding = max(_APART, _BESIDE // channels)
        self._words, self._ends = self._nothing(channels)
        self._held: Tensor | None = None

    def _nothing(self, channels: int) -> tuple[Tensor, Tensor]:
        """Words and extremes of empty bins."""
        bins = self.layout.bins + self._padding
        ends = torch.tensor([-_HALF - 1, _HALF], dtype=torch.int16).expand(channels, bins, 2)
        return torch.zeros(channels, bins, dtype=torch.int64), ends.contiguous()

    @property
    def bits(self) -> Tensor:
        """Leading bits of the mantissa that a channel's bins keep ``[channels]``."""
        return 23 - torch.from_numpy(self.layout.rest)

    def _counted(self, which: Tensor | slice = _ALL) -> tuple[Tensor, Tensor]:
        """Counts and rests of some channels."""
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
        self._hold(torch.stack([counts, rests]))
        self._ends[:, : self.layout.bins] = (extremes + _HALF).short()

    def _hold(self, held: Tensor) -> None:
        self._held, self._room = held, self._most
        self._words.zero_()

    @property
    def relative_error(self) -> Tensor:
        """Largest relative distance of an activation from its bin's centre ``[channels]``."""
        return torch.exp2(-(self.bits + 1.0))

    def edges(self) -> Tensor:
        """Return where bins begin and end, ``[channels, bins + 1]`` float64."""
        return self.layout.edges()

    def centres(self) -> Tensor:
        """Return the middle of every bin, ``[channels, bins]`` float64."""
        edges = self.edges()
        return (edges[:, :-1] + edges[:, 1:]) / 2

    def sums(self) -> Tensor:
        """Return the activations' sums ``[channels, bins]`` float64."""
        edges = self.edges()
        return self.counts * edges[:, :-1] + self.rests * self.layout.steps(edges)

    def ranges(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest activation of each bin, ``[channels, bins]`` float64."""
        edges = self.edges()
        steps = self.layout.steps(edges)
        least, largest = (edges[:, :-1] + end * steps for end in self.extremes.unbind(-1))
        # of numbers without a bin, too, which lie in the outermost ones
        low, high = self.minimum.double()[:, None], self.maximum.double()[:, None]
        return torch.clamp(least, low, high), torch.clamp(largest, low, high)

    def parts(self, at_once: int = AT_ONCE) -> Iterator["Histogram"]:
        """Return the histogram by groups of channels, as views of so many bins at most.

        What is computed from bins takes several numbers for each: a group at a time, to bound them.
        """
        step = max(1, at_once // self.layout.bins)
        for first in range(0, len(self.zeros), step):
            which, part = slice(first, first + step), copy(self)
            part.zeros, part.minimum = self.zeros[which], self.minimum[which]
            part.maximum, part.layout = self.maximum[which], self.layout.of_channels(which)
            part._words, part._ends = self._words[which], self._ends[which]
            part._held = None if self._held is None else self._held[:, which]
            yield part

    def bins(self) -> Bins:
        """Return the few bins that a checkpoint keeps."""
        return Bins.joined([Bins.of(of.counts, of.sums(), *of.ranges()) for of in self.parts()])

    def update(self, rows: Tensor, compiled: bool = True, at_once: int = AT_ONCE) -> None:
        """Add activations; one that is no finite number shows in the maximum.

        Args:
            rows: ``[n, channels]``, none of them negative.
            compiled: whether compiled code may count, if numba is installed. The result is the
                same without.
            at_once: activations that are counted together without compiled code.
        """
        channels = len(self.zeros)
        rows = rows.float().contiguous()
        if rows.numel() == 0:
            return
        if (kernel := kernels(_KERNEL) if compiled else None) is not None:
            for part in rows.split(min(self._most, _ADDRESSED // channels)):
                self._tally(kernel, part)
            return
        least = torch.where(rows > 0, rows, torch.inf).amin(0)
        self.widen(torch.minimum(self.minimum, least), torch.maximum(self.maximum, rows.amax(0)))
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
        bits = rows.view(-1).view(torch.int32).numpy()
        ends = self.minimum.clone(), self.maximum.clone()
        kernel.span(bits, *(end.view(torch.int32).numpy() for end in ends))
        self.widen(*ends)
        if len(rows) > self._room:
            self._hold(torch.stack([self.counts, self.rests]))
        self._room -= len(rows)
        kernel.tally(
            bits,
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
            self._move(move, which, int(before.rest[which[0]]))

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

    def merge(self, other: "Histogram") -> None:
        """Add what another histogram of the same site has seen."""
        ends = (
            torch.minimum(self.minimum, other.minimum),
            torch.maximum(self.maximum, other.maximum),
        )
        for each in (self, other):
            each.widen(*ends)
        least = torch.minimum(self.extremes[..., 0], other.extremes[..., 0])
        largest = torch.maximum(self.extremes[..., 1], other.extremes[..., 1])
        counts, rests = self.counts + other.counts, self.rests + other.rests
        self.replace(counts, rests, torch.stack([least, largest], -1))
        self.zeros += other.zeros

    def quantile(self, share: float, zeros: bool = True) -> Tensor:
        """Return the value that this share of all activations does not exceed (a quantile).

        Returns:
            ``[channels]`` float64, within :attr:`relative_error` of the smallest such activation,
            and exact if that is the largest of all.
        """
        below = self.zeros if zeros else torch.zeros_like(self.zeros)
        total = self.counts.sum(1) + below
        # less by a hair, so that 99.9 % of 1000 are 999 although 0.999 is no binary number
        rank = torch.ceil(total.double() * (share * (1 - 2**-50))).clamp(min=1)
        cumulated = self.counts.cumsum(1) + below[:, None]
        index = torch.searchsorted(cumulated.double(), rank[:, None]).squeeze(1)
        last = self.layout.bins - 1
        value = self.centres().gather(1, index.clamp(max=last)[:, None])[:, 0]
        top = self.maximum.double()
        value = torch.where(rank == total, top, torch.minimum(value, top))
        return torch.where(rank <= below, torch.zeros_like(value), value)

    def mean(self) -> Tensor:
        """Return the mean activation ``[channels]``, from the bins' sums."""
        return torch.cat([of.sums().sum(1) for of in self.parts()]) / self.totals().clamp(min=1)

    def totals(self) -> Tensor:
        """Return how many activations there are ``[channels]``."""
        return torch.cat([of.counts.sum(1) + of.zeros for of in self.parts()])

    def share_above(self, threshold: Tensor) -> Tensor:
        """Return the share of activations above a threshold for each channel ``[channels]``."""
        parts, ends = list(self.parts()), threshold.double().expand(len(self.zeros))
        found = [
            (of.counts * (torch.minimum(of.centres(), of.maximum[:, None]) > end[:, None])).sum(1)
            for of, end in zip(parts, ends.split(len(parts[0].zeros)), strict=True)
        ]
        return torch.cat(found).double() / self.totals().clamp(min=1)

    def drawn(self, bins: int) -> tuple[Tensor, Tensor]:
        """Return edges ``[bins + 1]`` from 0 to the maximum and counts ``[bins]``, to draw."""
        top = float(self.maximum.max()) or 1.0
        edges = torch.linspace(0, top, bins + 1, dtype=torch.float64)
        counts = torch.zeros(bins, dtype=torch.float64)
        for of in self.parts():
            used = of.counts > 0
            index = torch.bucketize(of.centres()[used].clamp(max=top), edges, right=False) - 1
            counts.index_add_(0, index.clamp(0, bins - 1), of.counts[used].double())
        return edges, counts


class ThresholdParams(Parameters):
    """Parameters of a statistic."""

    scale: float = Field(
        1.0, gt=0, description="what is found is multiplied by: less fires more, and clips more"
    )


@dataclass(frozen=True)
class Refit:
    """How a threshold that depends on the conversion is found again for one, without data.

    Attributes:
        params: gives the statistic's parameters for a conversion, from the number of levels of the
            mean output in T steps and the initial potential in units of one level.
        threshold: from the :class:`~snnconv.calibration.bins.Bins` that the checkpoint keeps of a
            site and these parameters, ``[channels]``.
    """

    params: Callable[[Record, int, float], Record]
    threshold: Callable[[Bins, Record], Tensor]


@dataclass(frozen=True)
class Statistic:
    """A way to find a threshold.

    Attributes:
        params: its parameters, with their defaults. If there is a ``scale`` among them, calibration
            and conversion multiply thresholds by it.
        threshold: from a site's histogram and the parameters, ``[channels]``.
        exact: whether it uses nothing that the histogram rounds.
        refit: how ``convert`` finds the threshold again; none if it depends on no conversion.
    """

    params: type[Record]
    threshold: Callable[[Histogram, Record], Tensor]
    exact: bool = False
    refit: Refit | None = None


def _fault(found: object) -> str:
    """Return what is wrong with a statistic from outside; empty if nothing is."""
    if not isinstance(found, Statistic):
        return f"{found!r:.40}, which is no snnconv.calibration.histogram.Statistic"
    return ""


STATISTICS: Registry[Statistic] = replace(REGISTRIES["statistics"], fault=_fault)

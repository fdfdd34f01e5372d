"""Histograms of a site's activations, and the contract of statistics, which read them.

A bin of a histogram holds the float32 numbers that share their leading bits: every bin has the same
relative width, and the range need not be known beforehand. A bin keeps the number of its
activations, their sum, and the least and the largest of them. All of these are integers, because
the bits that a bin's numbers do not share form an integer. So the result
does not depend on the order or size of batches, and histograms merge exactly. Only the octaves
between the smallest and the largest activation have bins, at most 64 of them. The fewer there are,
the finer are the bins: activations that lie close together are told apart in the same memory.

Shape:
    Rows ``[n, channels]``, with ``channels = 1`` for one threshold a layer; thresholds
    ``[channels]``.

Reference:
    Masson, Rim & Lee, *DDSketch*, VLDB 2019: relative-error quantile sketches. Here the buckets are
    read off the bits of the number in place of a logarithm.

Deviations:
    Activations below ``2**-32`` or above ``2**32`` fall into the outermost bins.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.calibration.bins import Bins
from snnconv.calibration.fineness import coarser, coarser_extremes, finer
from snnconv.core.metadata import Parameters, Record
from snnconv.core.packages import kernels
from snnconv.core.registry import REGISTRIES, Registry

_OCTAVES = 64  # 2**-32 .. 2**32
_NONE = _OCTAVES - 1, 0  # the octaves of no activation: together with others, it is the others
_LOWEST = (127 - 32) << 23  # the bits of 2**-32
AT_ONCE = 2**22  # activations that are binned at once without a compiler, to bound memory
_KERNEL = "snnconv.calibration.histogram_kernel"
_INFINITE = 0x7F800000  # the bits of infinity
_ADDRESSED = 2**31 - 1  # activations that an int32 can index
_APART = 40  # bins between two channels' bins: as far apart as a power of two they share cache sets
_HALF = -(2**15)  # of the numbers of 16 bits: extremes are kept as if these had a sign
_BESIDE = 128  # rows of one channel that are counted at the same time, at most


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
        octaves: the first and the last octave that has bins, counted from ``2**-32``.
    """

    def __init__(self, channels: int, bits: int, most: int | None = None) -> None:
        self._least_bits, self.octaves, self._limit = bits, _NONE, most
        self.zeros = torch.zeros(channels, dtype=torch.int64)
        self.minimum = torch.full((channels,), torch.inf)
        self.maximum = torch.zeros(channels)
        self._room = self._most
        self._padding = max(_APART, _BESIDE // channels)
        self._words, self._ends = self._nothing(channels)
        self._held: Tensor | None = None

    def _nothing(self, channels: int) -> tuple[Tensor, Tensor]:
        bins = self._bins + self._padding
        ends = torch.tensor([-_HALF - 1, _HALF], dtype=torch.int16).expand(channels, bins, 2)
        return torch.zeros(channels, bins, dtype=torch.int64), ends.contiguous()

    @property
    def _count(self) -> int:
        """How many octaves have bins."""
        first, last = self.octaves
        return max(1, last + 1 - first)

    @property
    def bits(self) -> int:
        """Leading bits of the mantissa that a bin keeps."""
        return self._least_bits + finer(self._count)

    @property
    def _rest(self) -> int:
        """Bits that a bin leaves out."""
        return 23 - self.bits

    @property
    def _most(self) -> int:
        """Activations whose sum of rests lies below the first bit of their number, above 0."""
        held = int(2 ** ((62 - self._rest) // 2) - 1)
        return held if self._limit is None else min(held, self._limit)

    @property
    def _shift(self) -> int:
        """Where in a word the number begins."""
        return self._rest + (62 - self._rest) // 2

    @property
    def counts(self) -> Tensor:
        """Positive activations ``[channels, bins]`` int64."""
        counts = self._words[:, : -self._padding] >> self._shift
        return counts if self._held is None else counts + self._held[0]

    @property
    def rests(self) -> Tensor:
        """Sums of their rests as integers ``[channels, bins]`` int64."""
        rests = self._words[:, : -self._padding] & ((1 << self._shift) - 1)
        return rests if self._held is None else rests + self._held[1]

    @property
    def extremes(self) -> Tensor:
        """The least and the largest rest ``[channels, bins, 2]`` int32.

        For empty bins, the largest and the least that a number can have.
        """
        return self._ends[:, : -self._padding].int() - _HALF

    def replace(self, counts: Tensor, rests: Tensor, extremes: Tensor) -> None:
        """Replace what has been counted by these, over the same octaves."""
        self._hold(torch.stack([counts, rests]))
        self._ends[:, : -self._padding] = (extremes + _HALF).short()

    def _hold(self, held: Tensor) -> None:
        self._held, self._room = held, self._most
        self._words.zero_()

    @property
    def relative_error(self) -> float:
        """Largest relative distance of an activation from its bin's centre."""
        return relative_error(self.bits)

    @property
    def _lowest(self) -> int:
        """The bits of the smallest number that has a bin."""
        return _LOWEST + (self.octaves[0] << 23)

    @property
    def _bins(self) -> int:
        return self._count << self.bits

    def edges(self) -> Tensor:
        """Return where bins begin and end, ``[bins + 1]`` float64."""
        index = torch.arange(self._bins + 1, dtype=torch.int32)
        return ((index << self._rest) + self._lowest).view(torch.float32).double()

    def centres(self) -> Tensor:
        """Return the middle of every bin, ``[bins]`` float64."""
        edges = self.edges()
        return (edges[:-1] + edges[1:]) / 2

    def sums(self) -> Tensor:
        """Return the activations' sums ``[channels, bins]`` float64."""
        edges = self.edges()
        return self.counts * edges[:-1] + self.rests * (edges.diff() / (1 << self._rest))

    def ranges(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest activation of each bin, ``[channels, bins]`` float64."""
        edges = self.edges()
        steps = edges.diff() / (1 << self._rest)
        least, largest = (edges[:-1] + end * steps for end in self.extremes.unbind(-1))
        # of numbers without a bin, too, which lie in the outermost ones
        low, high = self.minimum.double()[:, None], self.maximum.double()[:, None]
        return torch.clamp(least, low, high), torch.clamp(largest, low, high)

    def bins(self) -> Bins:
        """Return the few bins that a checkpoint keeps."""
        return Bins.of(self.counts, self.sums(), *self.ranges())

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
        kernel = kernels(_KERNEL) if compiled else None
        self.widen(*_octaves(rows, kernel))
        if kernel is not None:
            for part in rows.split(min(self._most, _ADDRESSED // channels)):
                self._tally(kernel, part)
            return
        self.minimum = torch.minimum(self.minimum, torch.where(rows > 0, rows, torch.inf).amin(0))
        self.maximum = torch.maximum(self.maximum, rows.amax(0))
        offsets = torch.arange(channels) * self._bins
        for part in rows.split(max(1, at_once // channels)):
            positive = part > 0
            self.zeros += (~positive).sum(0)
            highest = self._lowest + (self._bins << self._rest) - 1
            above = part.view(torch.int32).clamp(self._lowest, highest) - self._lowest
            index = ((above >> self._rest) + offsets)[positive]
            self._add(index, (above & ((1 << self._rest) - 1))[positive])

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
        if len(rows) > self._room:
            self._hold(torch.stack([self.counts, self.rests]))
        self._room -= len(rows)
        kernel.tally(
            rows.view(-1).view(torch.int32).numpy(),
            np.int32(self._lowest),
            np.int32(self._lowest + (self._bins << self._rest) - 1),
            np.int32(self._rest),
            np.int64(1 << self._shift),
            np.int32(_HALF),
            self._bins,
            self._words.numpy(),
            self._ends.numpy(),
            self.zeros.numpy(),
            self.minimum.view(torch.int32).numpy(),
            self.maximum.view(torch.int32).numpy(),
        )

    def widen(self, first: int, last: int) -> None:
        """Have bins for these octaves, too, as fine as all of them allow."""
        before, bits = self.octaves, self.bits
        octaves = min(first, before[0]), max(last, before[1])
        if octaves == before:
            return
        counts, rests, extremes = self.counts, self.rests, self.extremes
        rows, held = self._most - self._room, self._held is not None
        self.octaves, self._held = octaves, None
        self._words, self._ends = self._nothing(len(self.zeros))
        self._room = self._most - rows
        if before == _NONE:
            return
        drop = bits - self.bits
        extremes = coarser_extremes(extremes, counts, 23 - bits, drop)
        counts, rests = coarser(counts, rests, 23 - bits, drop)
        begin = (before[0] - octaves[0]) << self.bits
        around = begin, self._bins - begin - counts.shape[1]
        counts, rests = F.pad(counts, around), F.pad(rests, around)
        self._ends[:, begin : begin + extremes.shape[1]] = (extremes + _HALF).short()
        if held or self._room < 0:  # words of coarser bins hold fewer
            self._hold(torch.stack([counts, rests]))
        else:
            self._words[:, : self._bins] = (counts << self._shift) + rests

    def merge(self, other: "Histogram") -> None:
        """Add what another histogram of the same site has seen."""
        self.widen(*other.octaves)
        other.widen(*self.octaves)
        least = torch.minimum(self.extremes[..., 0], other.extremes[..., 0])
        largest = torch.maximum(self.extremes[..., 1], other.extremes[..., 1])
        counts, rests = self.counts + other.counts, self.rests + other.rests
        self.replace(counts, rests, torch.stack([least, largest], -1))
        self.zeros += other.zeros
        self.minimum = torch.minimum(self.minimum, other.minimum)
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def quantile(self, share: float, zeros: bool = True) -> Tensor:
        """Return the value that this share of all activations does not exceed.

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
        value = self.centres()[index.clamp(max=self.counts.shape[1] - 1)]
        top = self.maximum.double()
        value = torch.where(rank == total, top, torch.minimum(value, top))
        return torch.where(rank <= below, torch.zeros_like(value), value)

    def mean(self) -> Tensor:
        """Return the mean activation ``[channels]``, from the bins' sums."""
        total = (self.counts.sum(1) + self.zeros).clamp(min=1)
        return self.sums().sum(1) / total

    def share_above(self, threshold: Tensor) -> Tensor:
        """Return the share of activations above a threshold for each channel ``[channels]``."""
        values = torch.minimum(self.centres()[None, :], self.maximum.double()[:, None])
        above = values > threshold.double()[:, None]
        total = (self.counts.sum(1) + self.zeros).clamp(min=1)
        return (self.counts * above).sum(1).double() / total

    def drawn(self, bins: int) -> tuple[Tensor, Tensor]:
        """Return a histogram of equal bins from 0 to the maximum, to draw.

        Returns:
            Edges ``[bins + 1]`` and counts of positive activations ``[bins]``, channels together.
        """
        top = float(self.maximum.max()) or 1.0
        edges = torch.linspace(0, top, bins + 1, dtype=torch.float64)
        index = torch.bucketize(self.centres().clamp(max=top), edges, right=False) - 1
        counts = torch.zeros(bins, dtype=torch.float64)
        counts.index_add_(0, index.clamp(0, bins - 1), self.counts.sum(0).double())
        return edges, counts


def _octaves(rows: Tensor, kernel: ModuleType | None) -> tuple[int, int]:
    """Return the octaves of the smallest and the largest positive activation."""
    bits, found = rows.view(-1).view(torch.int32).numpy(), np.zeros(2, np.int32)
    if kernel is not None:
        kernel.span(bits, found)
    else:
        found[:] = bits[bits > 0].min(initial=_INFINITE) - 1, bits.max()
    if found[1] <= 0:
        return _NONE
    low, high = ((int(x) - _LOWEST) >> 23 for x in (found[0] + 1, found[1]))
    return max(0, min(low, _OCTAVES - 1)), max(0, min(high, _OCTAVES - 1))


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

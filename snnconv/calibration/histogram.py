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

import torch
from pydantic import Field
from torch import Tensor

from snnconv.calibration.bins import Bins
from snnconv.calibration.counts import PART, Counts
from snnconv.core.metadata import Parameters, Record
from snnconv.core.registry import REGISTRIES, Registry


def relative_error(bits: int) -> float:
    """Return the largest relative distance of a number from the centre of its bin."""
    return 2.0 ** -(bits + 1)


class Histogram(Counts):
    """Activations of one site, by channel or all together, and what a statistic may ask of them.

    A bin leaves out the last bits of its numbers: its rests. See
    :class:`~snnconv.calibration.counts.Counts` for its arguments and attributes.
    """

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

    def parts(self, at_once: int = PART) -> Iterator["Histogram"]:
        """Return the histogram by groups of channels, as views of so many bins at most.

        What is computed from bins takes several numbers for each: a group at a time, to bound them.
        """
        for which in self._groups(at_once):
            part = copy(self)
            part.zeros, part.minimum = self.zeros[which], self.minimum[which]
            part.maximum, part.layout = self.maximum[which], self.layout.of_channels(which)
            part._words, part._ends = self._words[which], self._ends[which]
            part._held = None if self._held is None else self._held[:, which]
            yield part

    def bins(self) -> Bins:
        """Return the few bins that a checkpoint keeps."""
        return Bins.joined(Bins.of(of.counts, of.sums(), *of.ranges()) for of in self.parts())

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
        # as numbers, because small tensors between larger ones leave gaps in the heap
        found = [value for of in self.parts() for value in of._quantile(share, zeros).tolist()]
        return torch.tensor(found, dtype=torch.float64)

    def _quantile(self, share: float, zeros: bool) -> Tensor:
        counts, below = self.counts, self.zeros if zeros else torch.zeros_like(self.zeros)
        total = counts.sum(1) + below
        # less by a hair, so that 99.9 % of 1000 are 999 although 0.999 is no binary number
        rank = torch.ceil(total.double() * (share * (1 - 2**-50))).clamp(min=1)
        cumulated = counts.cumsum(1) + below[:, None]
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

"""What calibration keeps of a site's activations, and what a statistic makes of it.

A site's activations go into a histogram whose bins are the float32 numbers that share their
leading bits: every bin has the same relative width, nothing must be known of the range
beforehand, memory is fixed, and since counts are integers the result does not depend on the order
or size of batches and merges exactly.

Shape:
    Rows ``[n, channels]``, with ``channels = 1`` for one threshold a layer; thresholds
    ``[channels]``.

Reference:
    Masson, Rim & Lee, *DDSketch*, VLDB 2019: relative-error quantile sketches. Here the buckets are
    read off the bits of the number in place of a logarithm.

Deviations:
    Activations below ``2**-32`` or above ``2**32`` fall into the outermost bins.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from snnconv.core.metadata import Facts
from snnconv.core.registry import REGISTRIES, Registry

_EXPONENTS = 64  # 2**-32 .. 2**32
_LOWEST = (127 - 32) << 23  # the bits of 2**-32
_CHUNK = 2**22  # activations binned at once, to bound memory
_MOST = 2**31 - 1  # activations that an int32 can count
_APART = 40  # bins between two channels' bins: as far apart as a power of two they share cache sets


def relative_error(bits: int) -> float:
    """Largest relative distance of a number from the centre of a bin that keeps so many bits."""
    return 2.0 ** -(bits + 1)


class Histogram:
    """Activations of one site, by channel or all together.

    Attributes:
        zeros: activations that are zero, ``[channels]`` int64.
        maximum: ``[channels]`` float32, exact.
        bits: leading bits of the mantissa that a bin keeps.
    """

    def __init__(self, channels: int, bits: int) -> None:
        self.bits = bits
        self._counts = torch.zeros(channels, _EXPONENTS << bits, dtype=torch.int64)
        # half as wide, so that twice as much of them is cached while activations are counted
        self._recent = torch.zeros(channels, self._counts.shape[1] + _APART, dtype=torch.int32)
        self._room = _MOST
        self.zeros = torch.zeros(channels, dtype=torch.int64)
        self.maximum = torch.zeros(channels)

    @property
    def counts(self) -> Tensor:
        """Positive activations ``[channels, bins]`` int64."""
        self._settle()
        return self._counts

    @counts.setter
    def counts(self, counts: Tensor) -> None:
        """In place of what has been counted."""
        self._counts, self._room = counts, _MOST
        self._recent.zero_()

    @property
    def relative_error(self) -> float:
        """Largest relative distance of an activation from its bin's centre."""
        return relative_error(self.bits)

    def edges(self) -> Tensor:
        """Where bins begin and end, ``[bins + 1]`` float64."""
        width = 1 << (23 - self.bits)
        index = torch.arange(self.counts.shape[1] + 1, dtype=torch.int32)
        return (index * width + _LOWEST).view(torch.float32).double()

    def centres(self) -> Tensor:
        """The middle of every bin, ``[bins]`` float64."""
        edges = self.edges()
        return (edges[:-1] + edges[1:]) / 2

    def update(self, rows: Tensor) -> None:
        """Add activations ``[n, channels]``, none of them negative.

        One that is no finite number shows in the maximum.
        """
        channels, bins = self._counts.shape
        rows = rows.float()
        if (compiled := _compiled()) is not None:
            for part in rows.split(_MOST // channels):
                self._tally(compiled, part.contiguous())
            return
        self.maximum = torch.maximum(self.maximum, rows.amax(0))
        offsets = torch.arange(channels) * bins
        for part in rows.split(max(1, _CHUNK // channels)):
            positive = part > 0
            self.zeros += (~positive).sum(0)
            index = (part.contiguous().view(torch.int32) - _LOWEST) >> (23 - self.bits)
            index = index.clamp(0, bins - 1).long() + offsets
            self.counts += torch.bincount(index[positive], minlength=self.counts.numel()).reshape(
                channels, bins
            )

    def _tally(self, compiled: ModuleType, rows: Tensor) -> None:
        if rows.numel() > self._room:
            self._settle()
        self._room -= rows.numel()
        compiled.tally(
            rows.view(-1).view(torch.int32).numpy(),
            np.int32(_LOWEST),
            np.int32(_LOWEST + (self._counts.shape[1] << (23 - self.bits)) - 1),
            np.int32(23 - self.bits),
            self._recent.numpy(),
            self.zeros.numpy(),
            self.maximum.view(torch.int32).numpy(),
        )

    def _settle(self) -> None:
        """Make room for as many activations as a short counter holds."""
        if self._room < _MOST:
            self._counts = self._counts + self._recent[:, :-_APART]
            self._recent.zero_()
            self._room = _MOST

    def merge(self, other: "Histogram") -> None:
        """Add what another histogram of the same site has seen."""
        self.counts += other.counts
        self.zeros += other.zeros
        self.maximum = torch.maximum(self.maximum, other.maximum)

    def quantile(self, share: float) -> Tensor:
        """The value that this share of all activations, zeros included, does not exceed.

        Returns:
            ``[channels]`` float64, within :attr:`relative_error` of the smallest such activation,
            and exact if that is the largest of all.
        """
        total = self.counts.sum(1) + self.zeros
        # less by a hair, so that 99.9 % of 1000 are 999 although 0.999 is no binary number
        rank = torch.ceil(total.double() * (share * (1 - 2**-50))).clamp(min=1)
        cumulated = self.counts.cumsum(1) + self.zeros[:, None]
        index = torch.searchsorted(cumulated.double(), rank[:, None]).squeeze(1)
        value = self.centres()[index.clamp(max=self.counts.shape[1] - 1)]
        top = self.maximum.double()
        value = torch.where(rank == total, top, torch.minimum(value, top))
        return torch.where(rank <= self.zeros, torch.zeros_like(value), value)

    def mean(self) -> Tensor:
        """The mean activation ``[channels]``, from the bins, so that no order matters."""
        total = (self.counts.sum(1) + self.zeros).clamp(min=1)
        return (self.counts.double() @ self.centres()) / total

    def share_above(self, threshold: Tensor) -> Tensor:
        """Share of activations above a threshold a channel ``[channels]``."""
        values = torch.minimum(self.centres()[None, :], self.maximum.double()[:, None])
        above = values > threshold.double()[:, None]
        total = (self.counts.sum(1) + self.zeros).clamp(min=1)
        return (self.counts * above).sum(1).double() / total

    def drawn(self, bins: int) -> tuple[Tensor, Tensor]:
        """A histogram of equal bins from 0 to the maximum, for the eye.

        Returns:
            Edges ``[bins + 1]`` and counts of positive activations ``[bins]``, channels together.
        """
        top = float(self.maximum.max()) or 1.0
        edges = torch.linspace(0, top, bins + 1, dtype=torch.float64)
        index = torch.bucketize(self.centres().clamp(max=top), edges, right=False) - 1
        counts = torch.zeros(bins, dtype=torch.float64)
        counts.index_add_(0, index.clamp(0, bins - 1), self.counts.sum(0).double())
        return edges, counts


@functools.cache
def _compiled() -> ModuleType | None:
    try:
        from snnconv.calibration import histogram_kernel
    except ImportError:  # no numba
        return None
    return histogram_kernel


@dataclass(frozen=True)
class Statistic:
    """A way to find a threshold.

    Attributes:
        params: its parameters, with their defaults.
        threshold: from a site's histogram and the parameters, ``[channels]``.
        exact: whether it uses nothing that the histogram rounds.
    """

    params: type[Facts]
    threshold: Callable[[Histogram, Facts], Tensor]
    exact: bool = False


STATISTICS: Registry[Statistic] = REGISTRIES["statistics"]

"""What is asked of a layer's spikes beside what is behind it: counts, sums of them, values.

Whoever needs a layer's sums says so before it runs: a compiled scan adds them up while it has the
counts in the cache, and writes none unless somebody needs them, too.

Shape:
    Counts ``[T, B, *N]``, weights ``[k, *N]``, sums ``[T, k]`` int64.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from snnconv.core.shapes import neurons_flat
from snnconv.neurons.base import Spikes

_EXACT = 2**24  # float32 adds up integers exactly to there, in any order


class Summed(Spikes):
    """Spikes whose sums a scan has added up.

    Attributes:
        sums: ``[T, k]``.
    """

    sums: Tensor

    def __new__(cls, counts: Tensor, values: Tensor, sums: Tensor) -> Self:
        """Beside the two that all spikes are."""
        self = super().__new__(cls, counts, values)
        self.sums = sums
        return self

    def _replace(self, **changed: Any) -> Self:
        pair = super()._replace(**changed)
        return type(self)(pair.counts, pair.values, self.sums)


@dataclass(frozen=True)
class Tally:
    """Sums of spikes times weights, over samples and neurons, at each step: exact integers.

    Attributes:
        weights: ``[k, *N]`` float32, integers from 0 on.
        levels: the most spikes of one neuron at one step.
    """

    weights: Tensor
    levels: int

    @cached_property
    def at_once(self) -> int:
        """As many weighted spikes as surely add up exactly in float32; less than 1: none."""
        return _EXACT // max(1, int(self.weights.max()) * self.levels)

    def of(self, spikes: Spikes) -> Tensor:
        """The sums ``[T, k]``: of a scan where it has added them up, else of the counts."""
        if isinstance(spikes, Summed):
            return spikes.sums
        counts = spikes.counts.detach()
        flat, weights = (neurons_flat(x, counts) for x in (counts, self.weights))
        sums = counts.new_zeros(len(counts), len(weights), dtype=torch.int64)
        size = max(1, self.at_once)
        for part, by in zip(flat.split(size, 2), weights.split(size, 1), strict=True):
            for k, row in enumerate(by.to(part.dtype)):
                sums[:, k] += (part @ row).long().sum(1)
        return sums


@dataclass(frozen=True)
class Asks:
    """What an observer asks for.

    Attributes:
        counted: whether for counts.
        tallies: for which sums, by node.
        valued: whether for values; else there may be none.
    """

    counted: bool = True
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    valued: bool = True

    def of(self, name: str) -> bool:
        """Whether for anything of a node beside its values."""
        return self.counted or name in self.tallies


COUNTS, NOTHING = Asks(), Asks(counted=False, valued=False)

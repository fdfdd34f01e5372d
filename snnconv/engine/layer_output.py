"""What a layer of neurons gives, and what is wanted of it.

The caller of a layer says what it needs: counts, sums of them, the values of every step, their
mean, or the values as bits. The layer gives that, and no more: a compiled scan adds up sums while
the counts are in the cache, and writes no counts unless they are wanted, too.

Shape:
    Counts and values ``[T, B, *N]``, weights ``[k, *N]``, sums ``[T, B, k]`` int64.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from snnconv.core.shapes import neurons_flat
from snnconv.engine.event_conv.bit_spikes import Packed

_EXACT = 2**24  # float32 adds up integers exactly to there, in any order


@dataclass(frozen=True)
class Membrane:
    """What the neurons of a layer are given and hold at each step, for those who look into them.

    Attributes:
        currents: ``[T, B, *N]``.
        thresholds: the potential from which on each step has a spike; broadcasts to ``[T, B, *N]``,
            of whole size if it changes over time.
        potentials: after each step, ``[T, B, *N]``; none if the neurons' state has none.
        values: what the next layer's weights multiply at each step, ``[T, B, *N]``.
    """

    currents: Tensor
    thresholds: Tensor
    potentials: Tensor | None
    values: Tensor


@dataclass(frozen=True)
class LayerOutput:
    """What a layer of neurons gives for some steps.

    The values are in one of three forms: ``values``, ``mean`` or ``packed``. The other two are
    None, and so are counts and sums that nobody wanted.

    Attributes:
        values: what the next layer's weights multiply, ``[T, B, *N]``.
        counts: spikes, ``[T, B, *N]``, integers in a floating tensor.
        sums: of the counts times the wanted weights, over neurons: ``[T, B, k]`` int64.
        mean: of the values over all steps, ``[1, B, *N]``.
        packed: the values as bits.
        redone: of a function, which emits no spikes, the share of its work that inputs which
            changed ask for anew, ``[T, B]``.
        membrane: what the neurons hold at each step, where that is wanted.
    """

    values: Tensor | None = None
    counts: Tensor | None = None
    sums: Tensor | None = None
    mean: Tensor | None = None
    packed: Packed | None = None
    redone: Tensor | None = None
    membrane: Membrane | None = None

    @property
    def carried(self) -> Tensor | Packed:
        """What the next layer is given."""
        return self.values_or_mean if self.packed is None else self.packed

    @property
    def values_or_mean(self) -> Tensor:
        """The values of each step ``[T, B, *N]``, or the mean of them all ``[1, B, *N]``.

        Raises:
            ValueError: they are bits, which an observer is given that does not need values.
        """
        found = self.values if self.mean is None else self.mean
        if found is None:
            raise ValueError("the values of these spikes are bits: an observer has to need values")
        return found


@dataclass(frozen=True)
class WeightedSum:
    """Sums of spikes times weights over neurons, at each step and sample: exact integers.

    A negative spike counts as a positive one does.

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

    def of(self, counts: Tensor | None) -> Tensor:
        """The sums ``[T, B, k]`` of counts ``[T, B, *N]``.

        Raises:
            ValueError: there are no counts.
        """
        if counts is None:
            raise ValueError("there are no counts to add up: an observer has to need them")
        counts = counts.detach().abs()
        flat, weights = (neurons_flat(x, counts) for x in (counts, self.weights))
        sums = counts.new_zeros(*counts.shape[:2], len(weights), dtype=torch.int64)
        size = max(1, self.at_once)
        for part, by in zip(flat.split(size, 2), weights.split(size, 1), strict=True):
            for k, row in enumerate(by.to(part.dtype)):
                sums[:, :, k] += (part @ row).long()
        return sums


@dataclass(frozen=True)
class Wants:
    """What is wanted of one layer's spikes.

    Attributes:
        counts: whether the counts are.
        sums: which sums are.
        mean: whether nobody wants more of the values than their mean over time.
        packed: whether values are wanted as bits. A layer that has none, because its spikes
            differ or because its scan can't write bits, gives values.
        membrane: whether what the neurons hold at each step is.
    """

    counts: bool = True
    sums: WeightedSum | None = None
    mean: bool = False
    packed: bool = False
    membrane: bool = False


@dataclass(frozen=True)
class ObserverNeeds:
    """What an observer needs of the spikes of a whole network.

    Attributes:
        counts: whether it needs counts.
        sums: which sums it needs, by node.
        values: whether it needs values.
        lead: whether it sees the steps before the T steps, too, as steps below 0.
        functions: those of which it needs to know how much is computed anew.
        membranes: the sites of which it needs to know what the neurons hold at each step; takes
            ``counts`` and ``values``.
    """

    counts: bool = True
    sums: Mapping[str, WeightedSum] = field(default_factory=dict)
    values: bool = True
    lead: bool = False
    functions: frozenset[str] = frozenset()
    membranes: frozenset[str] = frozenset()

    def levels_of(self, name: str) -> bool:
        """Whether it needs the number of spikes of a node, as counts or in sums."""
        return self.counts or name in self.sums


EVERYTHING = ObserverNeeds()
NOTHING = ObserverNeeds(counts=False, values=False)

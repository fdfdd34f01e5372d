"""The output of a layer of neurons, and what its caller may ask for.

The caller says what it needs: counts, sums of them, the values of every step, their mean, or the
values as bits. The layer computes nothing else: a compiled scan adds up sums while the counts are
in the cache, and writes counts only if they are wanted, too.

Shape:
    Counts and values ``[T, B, *N]``, weights ``[k, *N]``, sums ``[T, B, k]`` int64.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from snnconv.core.shapes import neurons_flat
from snnconv.engine.event_conv.values import Packed

_EXACT = 2**24  # up to this, float32 adds up integers exactly, in any order


@dataclass(frozen=True)
class Membrane:
    """What the neurons of a layer receive and hold at each step, for observers that ask for it.

    Attributes:
        currents: ``[T, B, *N]``.
        thresholds: the potential at which a neuron fires at each step. It broadcasts to
            ``[T, B, *N]``, and has all T steps if it changes over time.
        potentials: after each step, ``[T, B, *N]``; None if the neurons' state has none.
        values: what the next layer's weights multiply at each step, ``[T, B, *N]``.
    """

    currents: Tensor
    thresholds: Tensor
    potentials: Tensor | None
    values: Tensor


@dataclass(frozen=True)
class LayerOutput:
    """The output of a layer of neurons for some steps.

    The values are in one of three forms: ``values``, ``mean`` or ``packed``. The other two are
    None, and so are counts and sums that nobody wanted.

    Attributes:
        values: what the next layer's weights multiply, ``[T, B, *N]``.
        counts: the number of spikes, ``[T, B, *N]``, integers in a floating tensor.
        sums: the counts times the wanted weights, added up over neurons: ``[T, B, k]`` int64.
        mean: the mean of the values over all steps, ``[1, B, *N]``.
        packed: the values as bits.
        recomputed: for a function, which emits no spikes: the share of its work that changed inputs
            make it recompute, ``[T, B]``.
        membrane: what the neurons hold at each step, if that is wanted.
    """

    values: Tensor | None = None
    counts: Tensor | None = None
    sums: Tensor | None = None
    mean: Tensor | None = None
    packed: Packed | None = None
    recomputed: Tensor | None = None
    membrane: Membrane | None = None

    @property
    def carried(self) -> Tensor | Packed:
        """The form of the values that the next layer receives."""
        return self.values_or_mean if self.packed is None else self.packed

    @property
    def values_or_mean(self) -> Tensor:
        """The values of each step ``[T, B, *N]``, or their mean ``[1, B, *N]``.

        Raises:
            ValueError: the values are bits, because the observer did not ask for values.
        """
        found = self.values if self.mean is None else self.mean
        if found is None:
            raise ValueError("the values of these spikes are bits: an observer has to need values")
        return found


@dataclass(frozen=True)
class WeightedSum:
    """A sum of spikes times weights over neurons, at each step and for each sample.

    It is an exact integer. A negative spike counts as a positive one does.

    Attributes:
        weights: ``[k, *N]`` float32, integers of at least 0.
        levels: the most spikes of one neuron at one step.
    """

    weights: Tensor
    levels: int

    @cached_property
    def at_once(self) -> int:
        """How many weighted spikes float32 surely adds up exactly; 0 if not even one."""
        return _EXACT // max(1, int(self.weights.max()) * self.levels)

    def of(self, counts: Tensor | None) -> Tensor:
        """Add up counts ``[T, B, *N]``; the sums are ``[T, B, k]``.

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
    """What the network and its observer want of one layer's spikes.

    Attributes:
        counts: whether they want the counts.
        sums: which sums of the counts they want.
        mean: whether they need only the mean of the values over time.
        packed: whether they take values as bits. A layer gives values if its spikes differ, or if
            its scan can't write bits.
        membrane: whether they want what the neurons hold at each step.
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
        lead: whether it also sees the steps before the T steps, as steps below 0.
        functions: the functions for which it needs the share of work that is recomputed.
        membranes: the sites at which it needs to know what the neurons hold at each step. It then
            has to need ``counts`` and ``values``, too.
    """

    counts: bool = True
    sums: Mapping[str, WeightedSum] = field(default_factory=dict)
    values: bool = True
    lead: bool = False
    functions: frozenset[str] = frozenset()
    membranes: frozenset[str] = frozenset()

    def levels_of(self, name: str) -> bool:
        """Whether it needs the number of a node's spikes, as counts or in sums."""
        return self.counts or name in self.sums


EVERYTHING = ObserverNeeds()
NOTHING = ObserverNeeds(counts=False, values=False)

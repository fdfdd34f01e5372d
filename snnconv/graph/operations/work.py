"""The work of an operation for one sample, by kind, and the part that changes make it recompute.

Kinds are what a chip has units for. A multiply-accumulate with weights is what spikes replace by
accumulates. What functions compute stays: products with the sums that they go into, look-ups of a
function of one number in a table, and additions. A comparison counts as an addition.

Shape:
    Masks ``[B, *N]``: 1 where a value has changed, 0 where it has not.

Reference:
    Methods: "What functions cost".

Deviations:
    None.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """Numbers of operations, by kind.

    Attributes:
        weights: multiply-accumulates with weights: what matrices and convolutions do.
        macs: other products, each with the addition of the sum that it goes into.
        lookups: values out of a table of a function of one number.
        additions: sums, differences and comparisons that go with no product.
    """

    weights: float = 0
    macs: float = 0
    lookups: float = 0
    additions: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(self.numbers, other.numbers, strict=True)))

    def __mul__(self, times: float) -> "Work":
        return Work(*(number * times for number in self.numbers))

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers of all kinds, in the order of the fields."""
        return tuple(getattr(self, each.name) for each in fields(self))

    @property
    def products(self) -> float:
        """Multiply-accumulates, with weights and without."""
        return self.weights + self.macs

    @property
    def functions(self) -> float:
        """Operations of functions, of all kinds."""
        return self.macs + self.lookups + self.additions


Shapes = Mapping[str, Shape]


def no_work(attrs: object, inputs: Sequence[Shape], output: Shape, tensors: Shapes) -> Work:
    """Count nothing: the operation moves values, or is part of one that multiplies."""
    return Work()


def a_lookup(attrs: object, inputs: Sequence[Shape], output: Shape, tensors: Shapes) -> Work:
    """Count a look-up for each value."""
    return Work(lookups=math.prod(output))


def a_product(attrs: object, inputs: Sequence[Shape], output: Shape, tensors: Shapes) -> Work:
    """Count a multiply-accumulate for each value."""
    return Work(macs=math.prod(output))


def an_addition(attrs: object, inputs: Sequence[Shape], output: Shape, tensors: Shapes) -> Work:
    """Count an addition for each value."""
    return Work(additions=math.prod(output))


def an_average(taken: float, output: Shape) -> Work:
    """Count an addition for each value in a window but the first, and a product for the mean."""
    given = math.prod(output)
    return Work(macs=given, additions=taken - given)


def anything(attrs: object, tensors: Mapping[str, Tensor], changed: list[Tensor]) -> Tensor:
    """Recompute everything for a sample if anything has changed: ``[B, 1]``."""
    (first, *others) = (mask.flatten(1).amax(1, keepdim=True) for mask in changed)
    for mask in others:
        first = first.maximum(mask)
    return first


def each_value(attrs: object, tensors: Mapping[str, Tensor], changed: list[Tensor]) -> Tensor:
    """Recompute each value if an input has changed at its place."""
    (first, *others) = changed
    for mask in others:
        first = first.maximum(mask)
    return first


@dataclass(frozen=True)
class WorkCount:
    """The work for one sample, and the part that a spiking network still does.

    Attributes:
        total: the ANN's: of all matrices and convolutions, and of all functions.
        first: that of nodes that depend on the input alone. They are computed once, or for every
            frame that is shown.
        once: the part of ``first`` that functions compute.
        each_step: that of other functions, with what their running means take, and of layers that
            analog values feed. It is done at every step.
        idle: multiply-accumulates with weights in ``first`` that neurons could have fed: behind
            functions, or inside one, as those of an LSTM.
    """

    total: Work
    first: Work
    once: Work
    each_step: Work
    idle: float = 0

    @property
    def non_spiking_share(self) -> float:
        """The share of multiply-accumulates with weights that spikes do not replace.

        Those of layers that read the input, with no function between, are in neither number.
        """
        behind = self.total.weights - self.first.weights + self.idle
        return (self.idle + self.each_step.weights) / max(1, behind)

    @property
    def function_share(self) -> float:
        """The share of the ANN's operations that functions compute."""
        return self.total.functions / max(1, sum(self.total.numbers))

"""What a coding is: how the spikes of a neuron stand for the values that it sends over time.

A network computes with the values ``y[t]`` that neurons send; their mean over time is the
activation. Which of these values costs a spike is the coding's choice: it puts its own neuron at a
site, whose counts are the spikes, and whose values are ``y``. So every operation between sites is
the same under every coding.

Shape:
    Counts and values ``[T, B, *N]``.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from snnconv.core.registry import REGISTRIES, Registry
from snnconv.neurons.base import Grid, Neuron
from snnconv.simulation.cumulative import Compute, Sums, pool_increase


class Coding(ABC):
    """A coding, without any state of its own.

    Attributes:
        sparse: whether a neuron that does not spike sends zero.
    """

    sparse: ClassVar[bool] = True

    @abstractmethod
    def neuron(self, neuron: Neuron[Any]) -> Neuron[Any]:
        """The neuron that stands at a site in the place of this one.

        Raises:
            UsageError: the coding has none for neurons of this kind.
        """

    def fit(self, grid: Grid, timesteps: int) -> Grid:
        """The grid that thresholds are found for.

        Args:
            grid: the neuron's own.
            timesteps: T.
        """
        return grid

    def emitted(
        self,
        compute: Compute,
        numbers: Tensor,
        increase: Tensor | None,
        done: int,
        before: Sums | None,
    ) -> tuple[Tensor, Sums]:
        """The levels of what a max pooling emits, and its sums after the last step.

        Where spikes differ in what they carry, the number at one place may grow while the sum at
        another does: there an emission has a level of at least one, and silence has none.

        Args:
            compute: the pooling.
            numbers: of spikes, at each place that is pooled, ``[T, B, *N]``.
            increase: of the pooled values, if spikes of one neuron differ in what they carry.
            done: steps before these.
            before: the sums after them.
        """
        levels, after = pool_increase(compute, numbers, before)
        if increase is not None:
            levels = levels.clamp(min=1) * (increase != 0)
        return levels, after


def _fault(found: object) -> str:
    """Say what is wrong with a coding from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Coding)):
        return f"{found!r:.40}, which is no subclass of snnconv.simulation.codings.base.Coding"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    return ""


CODINGS: Registry[type[Coding]] = replace(REGISTRIES["codings"], fault=_fault)

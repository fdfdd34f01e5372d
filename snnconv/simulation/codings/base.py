"""What a coding is: how the spikes of a neuron stand for the values that it sends over time.

A network computes with the values ``y[t]`` that neurons send; their mean over time is the
activation. The coding chooses which of these values cost a spike: it puts its own neuron at a site,
whose counts are the spikes and whose values are ``y``. So every operation between sites is the same
under every coding.

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
        """Return the neuron that replaces this one at a site.

        Raises:
            UsageError: the coding does not work with neurons of this kind.
        """

    def fit(self, grid: Grid, timesteps: int) -> Grid:
        """Return the grid that thresholds are found for.

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
        """Return the levels that a max pooling emits, and its sums after the last step.

        If spikes differ in what they carry, the number of spikes may grow at one place while the
        sum grows at another. An emission then has a level of at least one, and silence has none.

        Args:
            compute: the pooling.
            numbers: the numbers of spikes at each pooled place, ``[T, B, *N]``.
            increase: the increase of the pooled values, if one neuron's spikes differ.
            done: the number of steps before these.
            before: the sums after those steps.
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

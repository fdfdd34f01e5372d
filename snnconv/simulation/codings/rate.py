"""Rate coding: a spike carries an amplitude, and a neuron without a spike sends nothing.

The mean of what a neuron sends is its count over T steps, times the amplitude, over T.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    Methods: "The one rule": the rate-preserving rule.

Deviations:
    None.
"""

from typing import Any

from snnconv.neurons.base import Neuron
from snnconv.simulation.codings.base import Coding


class RateCoding(Coding):
    """Leaves the neurons as they are."""

    def neuron(self, neuron: Neuron[Any]) -> Neuron[Any]:
        """Return the neuron itself."""
        return neuron


CODING = RateCoding

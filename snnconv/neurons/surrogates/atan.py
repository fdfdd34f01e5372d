"""The derivative of an arc tangent.

``f(u) = (alpha/2) / (1 + (pi/2*alpha*u)^2)``, the derivative of ``atan(pi/2*alpha*u)/pi + 1/2``.

Shape:
    Elementwise.

Reference:
    Fang et al. 2021, *Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking
    Neural Networks*, section 4.1; SpikingJelly's ``surrogate.ATan``, whose ``alpha`` is 2.

Deviations:
    ``alpha`` is in units of 1/threshold.
"""

import math

from pydantic import Field
from torch import Tensor

from snnconv.neurons.kernel import ONE, Number, Numbers
from snnconv.neurons.surrogates.base import Shape, Surrogate, SurrogateParams


class Params(SurrogateParams):
    """Parameters of the arc tangent."""

    examples = ({"alpha": 1.0},)
    alpha: Shape = Field(2.0, description="steepness of the arc tangent")


def derivative_at(distance: Number, numbers: Numbers) -> Number:
    """Return ``f(u)``."""
    height, scale = numbers
    x = distance * scale
    return height / (ONE + x * x)


class Atan(Surrogate):
    """The derivative of the arc tangent."""

    params_type = Params
    shape = "alpha"
    derivative_at = staticmethod(derivative_at)

    def numbers(self) -> tuple[float, ...]:
        """Return ``alpha/2`` and ``pi/2*alpha``."""
        return self.value / 2, math.pi / 2 * self.value

    def derivative(self, distance: Tensor) -> Tensor:
        """See the module."""
        height, scale = self.numbers()
        x = distance * scale
        return height / (1 + x * x)


SURROGATE = Atan

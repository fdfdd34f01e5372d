"""The derivative of a sigmoid.

``f(u) = alpha*y*(1 - y)`` with ``y = 1/(1 + exp(-alpha*u))``.

Shape:
    Elementwise.

Reference:
    Zenke and Ganguli 2018, *SuperSpike*, section 3, for the idea; SpikingJelly's
    ``surrogate.Sigmoid``, whose ``alpha`` is 4 by default.

Deviations:
    ``alpha`` is in units of 1/threshold. ``exp`` is that of :mod:`snnconv.neurons.exact_math`, so
    training has the same bits on every device.
"""

from pydantic import Field
from torch import Tensor

from snnconv.neurons import exact_math
from snnconv.neurons.exact_math_scalar import exp as exp_of
from snnconv.neurons.kernel import ONE, Number, Numbers
from snnconv.neurons.surrogates.base import Shape, Surrogate, SurrogateParams


class Params(SurrogateParams):
    """Parameters of the sigmoid."""

    examples = ({"alpha": 1.0},)
    alpha: Shape = Field(4.0, description="steepness of the sigmoid")


def derivative_at(distance: Number, numbers: Numbers) -> Number:
    """Return ``f(u)``, with ``e = exp(-alpha*|u|)`` because f is symmetric."""
    (alpha,) = numbers
    e = exp_of(-(abs(distance) * alpha))
    return alpha * e / ((ONE + e) * (ONE + e))


class Sigmoid(Surrogate):
    """The derivative of the sigmoid."""

    params_type = Params
    shape = "alpha"
    derivative_at = staticmethod(derivative_at)

    def derivative(self, distance: Tensor) -> Tensor:
        """See the module."""
        e = exact_math.exp(-(distance.abs() * self.value))
        return self.value * e / ((1 + e) * (1 + e))


SURROGATE = Sigmoid

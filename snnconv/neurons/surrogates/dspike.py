"""Dspike: a part of a tanh, as steep as its temperature says.

With ``z = v/(2V)``, so that a neuron fires at ``z = 1/2``, the curve is ``D(z) = tanh(b*(z -
1/2))/(2*tanh(b/2)) + 1/2`` for ``0 <= z <= 1``, which runs from 0 to 1; outside it is flat. In the
distance ``u`` from the threshold, ``f(u) = b/(4*tanh(b/2)) * (1 - tanh(b*u/2)^2)`` where ``|u| <=
1``, else 0. ``b`` is the temperature: near 0 a rectangle of width 2, and a step when it is large.

With ``adapt``, each epoch chooses the temperature anew: of the last one and those a step above and
below it, the one whose gradient is most like the finite differences of the loss
(:mod:`snnconv.training.finite_differences`).

Shape:
    Elementwise.

Reference:
    Li et al. 2021, *Differentiable Spike: Rethinking Gradient-Descent for Training Spiking Neural
    Networks*, and its Algorithm 1. The form with ``V`` in the middle of the window, and ``b = 3``,
    are those of the code of MPBN (Guo et al. 2023).

Deviations:
    ``tanh`` is made of the ``exp`` of :mod:`snnconv.neurons.exact_math`, so training has the same
    bits on every device.
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from snnconv.neurons import exact_math
from snnconv.neurons.exact_math_scalar import exp as exp_of
from snnconv.neurons.kernel import ONE, ZERO, Number, Numbers
from snnconv.neurons.surrogates.base import Adapts, Shape, Surrogate, SurrogateParams


class Params(SurrogateParams):
    """Parameters of Dspike."""

    examples = ({"temperature": 0.5}, {"temperature": 20.0}, {"adapt": True})
    temperature: Shape = Field(3.0, description="b, steepness")
    adapt: bool = Field(False, description="whether b follows the loss's finite differences")
    step: float = Field(0.2, gt=0, le=100, description="with adapt: of b, an epoch")
    epsilon: float = Field(0.01, gt=0, le=1, description="with adapt: of a weight's difference")
    weights: int = Field(64, ge=1, le=10_000, description="with adapt: of the first layer")


def derivative_at(distance: Number, numbers: Numbers) -> Number:
    """Return ``f(u)``: with ``e = exp(-b*|u|)``, ``1 - tanh(b*u/2)^2`` is ``4e/(1 + e)^2``."""
    temperature, height = numbers
    apart = abs(distance)
    e = exp_of(-(apart * temperature))
    inside = height * e / ((ONE + e) * (ONE + e))
    return inside if apart <= ONE else ZERO


class Dspike(Surrogate):
    """The derivative of Dspike."""

    params_type = Params
    shape = "temperature"
    derivative_at = staticmethod(derivative_at)

    def __init__(self, value: float, params: Params = Params()) -> None:  # noqa: B008 - frozen
        super().__init__(value, params)
        if params.adapt:  # a tensor, so that checkpoints keep it; no gradient changes it
            self.temperature = nn.Parameter(torch.tensor([value]), requires_grad=False)
            self.adapts = Adapts(params.step, params.epsilon, params.weights)

    @property
    def value(self) -> float:
        """The temperature by now."""
        return self._value if self.adapts is None else self.temperature.item()

    @value.setter
    def value(self, value: float) -> None:
        """Set it."""
        if self.adapts is None:
            self._value = value
        else:
            self.temperature.data.fill_(value)

    def numbers(self) -> tuple[float, ...]:
        """Return ``b`` and ``b/tanh(b/2)``."""
        return self.value, self.value / math.tanh(self.value / 2)

    def derivative(self, distance: Tensor) -> Tensor:
        """See the module."""
        temperature, height = self.numbers()
        apart = distance.abs()
        e = exact_math.exp(-(apart * temperature))
        return torch.where(apart <= 1, height * e / ((1 + e) * (1 + e)), 0)


SURROGATE = Dspike

"""A triangle around the threshold.

``f(u) = max(0, g - |u|)/g^2`` for the width ``g``: a triangle of width ``2g`` and area one. It is
the surrogate of most neurons if none is named, with ``g = 1``.

Shape:
    Elementwise.

Reference:
    Esser et al. 2016, *Convolutional Networks for Fast, Energy-Efficient Neuromorphic Computing*;
    Deng et al. 2022 (TET), whose code has ``g = 1``.

Deviations:
    The width is in units of the threshold, theirs in units of the potential; their threshold is 1.
"""

import torch
from pydantic import Field
from torch import Tensor

from snnconv.neurons.kernel import ZERO, Number, Numbers
from snnconv.neurons.surrogates.base import Shape, Surrogate, SurrogateParams


class Params(SurrogateParams):
    """Parameters of the triangle."""

    examples = ({"width": 0.5},)
    width: Shape = Field(1.0, description="g, how far from the threshold the slope ends")


def derivative_at(distance: Number, numbers: Numbers) -> Number:
    """Return ``f(u)``."""
    width, scale = numbers
    apart = abs(distance)
    return (width - apart) * scale if apart < width else ZERO


class Triangle(Surrogate):
    """The triangle."""

    params_type = Params
    shape = "width"
    derivative_at = staticmethod(derivative_at)

    def numbers(self) -> tuple[float, ...]:
        """Return ``g`` and ``1/g^2``."""
        return self.value, 1 / self.value**2

    def derivative(self, distance: Tensor) -> Tensor:
        """See the module."""
        width, scale = self.numbers()
        apart = distance.abs()
        return torch.where(apart < width, (width - apart) * scale, 0)


SURROGATE = Triangle

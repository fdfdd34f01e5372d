"""A rectangle around the threshold.

``f(u) = 1/(2a)`` where ``|u| < a``, else 0: a rectangle of area one.

Shape:
    Elementwise.

Reference:
    Wu et al. 2018 (STBP), eq. 24; Zheng et al. 2021 (STBP-tdBN), whose code has ``a = 1/2`` in
    units of the potential; Yao et al. 2022 (GLIF): a rectangle of width 1.

Deviations:
    The width is in units of the threshold.
"""

import torch
from pydantic import Field
from torch import Tensor

from snnconv.neurons.kernel import ZERO, Number, Numbers
from snnconv.neurons.surrogates.base import Shape, Surrogate, SurrogateParams


class Params(SurrogateParams):
    """Parameters of the rectangle."""

    examples = ({"width": 2.0},)
    width: Shape = Field(0.5, description="a, how far from the threshold the slope ends")


def derivative_at(distance: Number, numbers: Numbers) -> Number:
    """Return ``f(u)``."""
    width, height = numbers
    return height if abs(distance) < width else ZERO


class Rectangle(Surrogate):
    """The rectangle."""

    params_type = Params
    shape = "width"
    derivative_at = staticmethod(derivative_at)

    def numbers(self) -> tuple[float, ...]:
        """Return ``a`` and ``1/(2a)``."""
        return self.value, 0.5 / self.value

    def derivative(self, distance: Tensor) -> Tensor:
        """See the module."""
        width, height = self.numbers()
        return torch.where(distance.abs() < width, distance.new_tensor(height), 0)


SURROGATE = Rectangle

"""The step function of a spike, with a triangle for a derivative.

``H(v - V) = 1`` where ``v >= V``; in the backward pass ``dH/dv = max(0, g - |u|) / (g^2 V)`` with
``u = (v - V)/V`` and ``g = 1``: a triangle of width ``2V`` and area one around the threshold.

Shape:
    ``v`` and the threshold broadcast against each other.

Reference:
    Wu et al. 2018 (STBP); the triangle is the one of Esser et al. 2016.

Deviations:
    The threshold takes no gradient: an adaptive one is a detached function of the state.
"""

from typing import Any

import torch
from torch import Tensor

from snnconv.neurons.kernel import ONE, ZERO, Number


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(potential: Tensor, threshold: Tensor) -> Tensor:
        return (potential >= threshold).to(potential.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        return grad * slope(*ctx.saved_tensors), None


def slope(potential: Tensor, threshold: Tensor) -> Tensor:
    """The triangle that replaces the derivative of :func:`spike` with respect to the potential."""
    distance = ((potential - threshold) / threshold).abs()
    # an adaptive threshold may underflow to 0: the slope is 0 there, not 0/0
    return torch.where(distance < 1, (1 - distance) / threshold, 0)


def slope_at(potential: Number, threshold: Number) -> Number:
    """The same of one number, for kernels (:mod:`snnconv.neurons.kernel`)."""
    distance = abs((potential - threshold) / threshold)
    return (ONE - distance) / threshold if distance < ONE else ZERO


def spike(potential: Tensor, threshold: Tensor) -> Tensor:
    """1 where the potential has reached the threshold, else 0, in the potential's type."""
    fired: Tensor = _Spike.apply(potential, threshold)
    return fired

"""ASGL: a smooth spike with a learned width, and noise that makes it a step.

With the smooth spike ``phi(u)``, a neuron of a training sends ``phi(u) + M*(H(u) - phi(u))``, where
no gradient passes through the second term: a spike where ``M = 1``, and a part of one where ``M =
0``. ``M`` is 0 with probability ``smooth``, for each neuron and step. So gradients are those of
``phi``, also by its width ``w``, which each layer learns. In evaluation all neurons send spikes.

``phi`` is a ramp, ``clip(u/w + 1/2, 0, 1)``, or a sigmoid, ``1/(1 + exp(-u/w))``.

Shape:
    Elementwise.

Reference:
    Wang et al. 2023, *Adaptive Smoothing Gradient Learning for Spiking Neural Networks*, and its
    code: a sigmoid of width 5 for images, a ramp of width 1 for events, thresholds of 1.

Deviations:
    The width is in units of the threshold. What is learned is ``alpha = -ln(w)``, as the code does
    for the ramp; for the sigmoid it learns ``1/w``. The code gives the widths an optimiser of their
    own (Adam, rate 3e-4); here they have that of the training. There is no compiled backward pass,
    because the width has a gradient of its own.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from snnconv.neurons.surrogates.base import Shape, Surrogate, SurrogateParams


class Params(SurrogateParams):
    """Parameters of ASGL."""

    examples = ({"width": 0.5, "smooth": 0.0}, {"width": 0.25, "curve": "sigmoid"})
    width: Shape = Field(2.0, description="w, the width of the slope at the start")
    smooth: float = Field(
        0.2, ge=0, le=1, description="share of neurons and steps that send a part of a spike"
    )
    learned: bool = Field(True, description="whether each layer learns its width")
    curve: Literal["ramp", "sigmoid"] = Field("ramp", description="the smooth spike")


class Asgl(Surrogate):
    """The smooth spike."""

    params_type = Params
    shape = "width"

    def __init__(self, value: float, params: Params = Params()) -> None:  # noqa: B008 - frozen
        super().__init__(value, params)
        self.params = params
        self.alpha = nn.Parameter(torch.tensor([-math.log(value)]), requires_grad=params.learned)

    def derivative(self, distance: Tensor) -> Tensor:
        """Return ``1/w`` inside of the ramp, else 0; for a sigmoid ``y``, ``y*(1 - y)/w``."""
        steepness = self.alpha.detach().exp().to(distance.dtype)
        if self.params.curve == "sigmoid":
            y = torch.sigmoid(distance * steepness)
            return steepness * y * (1 - y)
        inside = (distance.abs() * steepness < 0.5).to(distance.dtype)
        return inside * steepness

    def forward(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """See the module; in evaluation, a spike."""
        distance = (potential - threshold) / threshold
        alpha = self.alpha if self.params.learned else self.alpha.detach()
        along = distance * alpha.exp().to(distance.dtype)
        ramp = self.params.curve == "ramp"
        smooth = (along + 0.5).clamp(0, 1) if ramp else torch.sigmoid(along)
        spikes = (potential >= threshold).to(potential.dtype)
        if not self.training or self.params.smooth == 0:
            return spikes + (smooth - smooth.detach())
        mask = torch.rand_like(potential) >= self.params.smooth
        return smooth + torch.where(mask, spikes - smooth, 0).detach()


SURROGATE = Asgl

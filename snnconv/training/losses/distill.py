"""Distillation: learn from the ANN that was converted, by its outputs and layer by layer.

``L(mean_t o[t], y) + logits*D(mean_t o[t], a) + rates*R``, where ``L`` is the loss of the task and
``a`` are the ANN's outputs. ``D`` is the task's distance (:meth:`.Task.distance`), for classes
``t^2*KL(softmax(a/t) || softmax(o/t))`` with a temperature ``t``. ``R`` is the mean over sites of
``((mean_t x[t] - z)/theta)^2``: the neurons' mean outputs against the ANN's activations ``z``, in
units of the threshold.

With ``local``, no gradient passes from neurons to the layer before. Each layer then learns by its
own part of ``R`` alone, through all steps, and the layer behind the last neurons by the outputs.

Shape:
    Outputs ``[T, B, *out] -> []``.

Reference:
    Hinton et al. 2015, *Distilling the Knowledge in a Neural Network*, for the outputs. Yang et al.
    2022, *Training Spiking Neural Networks with Local Tandem Learning*, and the released code, for
    the layers: with ``local``, ``logits = 0`` and ``rates = 1`` it is their offline form.

Deviations:
    Outputs that are no probabilities are compared by the square of the relative error. Activations
    above what neurons can put out count as that: they are clipped at theta, where Yang et al.
    divide by the 99.9th percentile of a batch's activations and clip at 1. ``R`` is the mean over
    layers, theirs the sum.
"""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from snnconv.training.losses.base import Given, Loss, LossParams


class Params(LossParams):
    """Parameters of the distillation."""

    logits: float = Field(1.0, ge=0, le=1e6, description="weight of the ANN's outputs")
    temperature: float = Field(4.0, gt=0, le=1e6, description="t, which smooths both outputs")
    rates: float = Field(0.0, ge=0, le=1e6, description="weight of the layers' rates")
    local: bool = Field(False, description="whether each layer learns by its own rates alone")

    @model_validator(mode="after")
    def _layers_learn_by_something(self) -> Self:
        if self.local and not self.rates:
            raise ValueError("local leaves layers nothing to learn from: give rates, e.g. rates=1")
        return self


class Distill(Loss):
    """Labels, and the ANN."""

    params_type = Params
    params: Params
    taught = True

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.by_layer = params.rates > 0
        self.local = params.local

    def value(self, given: Given) -> Tensor:
        """See the module."""
        assert given.teacher is not None
        found = given.of_mean()
        if self.params.logits:
            outputs, t = given.outputs.mean(0), self.params.temperature
            distance = given.task.distance(outputs, given.teacher, t)
            found = found + self.params.logits * distance
        if self.by_layer:
            errors = []
            for site, rate in given.rates.items():
                theta = given.thresholds[site]
                target = torch.minimum(given.activations[site], theta)
                errors.append(((rate - target) / theta).square().mean())
            found = found + self.params.rates * torch.stack(errors).mean()
        return found


LOSS = Distill

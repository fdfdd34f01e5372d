"""Activations at which a neuron goes: ReLU, with a ceiling perhaps, QCFS, and transfer sites.

A *transfer site* stands where a matrix reads the output of a function that no neuron computes:
GELU, LayerNorm, attention. It gives what it reads, so it changes nothing in the ANN. In the spiking
network the function takes the cumulative rule, and the neuron makes signed spikes of what it adds.

QCFS is a ReLU clipped at theta and quantized to L levels, theta learned:
``a = theta/L * clip(floor(u), 0, L)`` with ``u = x*L/theta + 1/2``: the mean output of an IF neuron
with v0 = theta/2 after L steps under the constant current x, so a network trained with it loses
nothing to rounding when it is converted for T = L.

Shape:
    ``[B, *N] -> [B, *N]``; theta ``[1]`` or ``[C]``, in units of the activation.

Reference:
    Bu et al., *Optimal ANN-SNN Conversion*, ICLR 2022: eq. 14 with phi = 1/2, gradients of eq. 15
    and 16: straight through the floor, so ``da/dx`` is 1 for u in [0, L) and 0 elsewhere;
    ``da/dtheta`` is ``(a - x)/theta`` there, 1 above and 0 below.

Deviations:
    The authors' code clips x to [0, theta] before the floor: its gradients then end at 0 and theta,
    half a level later. Values are the same.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.graph.operations.base import (
    Attributes,
    Ceiling,
    Op,
    Role,
    Shape,
    Silence,
    Tensors,
    any_shape,
    kept,
    of_channels,
    passed,
)
from snnconv.graph.operations.work import no_work


class Relu(Attributes):
    """Attributes of a ReLU."""

    ceiling: Ceiling | None = Field(description="its largest value; null: there is none")


class Qcfs(Attributes):
    """Attributes of a quantized ReLU."""

    levels: Annotated[int, Field(strict=True, ge=1, le=2**16)] = Field(
        description="levels above 0, L"
    )
    ceiling: Ceiling | None = Field(None, description="bound of theta; null: there is none")


class Transfer(Attributes):
    """Attributes of a transfer site: none."""


def _relu(attrs: Relu, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    ceiling = attrs.ceiling
    return F.relu(inputs[0]) if ceiling is None else inputs[0].clamp(0, ceiling)


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, theta: Tensor, levels: int) -> Tensor:
        return _level(x, theta, levels).clamp_(0, levels) * (theta / levels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        x, theta, ctx.levels = inputs
        ctx.save_for_backward(x, theta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, theta = ctx.saved_tensors
        level = _level(x, theta, ctx.levels)
        inside = (level >= 0) & (level < ctx.levels)
        to_x = to_theta = None
        if ctx.needs_input_grad[0]:
            to_x = grad * inside
        if ctx.needs_input_grad[1]:
            rounding = level / ctx.levels - x / theta
            slope = torch.where(inside, rounding, (level >= ctx.levels).to(x.dtype))
            to_theta = (grad * slope).sum_to_size(theta.shape)
        return to_x, to_theta, None


def _level(x: Tensor, theta: Tensor, levels: int) -> Tensor:
    """Return ``floor(u)``."""
    return torch.floor(x * levels / theta + 0.5)


def quantize(x: Tensor, theta: Tensor, levels: int) -> Tensor:
    """Return the activation of ``x [B, *N]``; theta ``[1]`` or ``[C]``."""
    if x.dtype is torch.bfloat16:  # of autocast; levels need more than 8 bits
        x = x.float()
    value: Tensor = _Quantize.apply(x, per_neuron(theta, x.dim()), levels)
    return value


def _qcfs(attrs: Qcfs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return quantize(inputs[0], tensors["threshold"], attrs.levels)


def _transfer(attrs: Transfer, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


def _fits_theta(attrs: Qcfs, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    return of_channels(shapes[0], tensors, (1,), ())


OPERATIONS = (
    Op(
        name="relu",
        role=Role.SITE,
        attributes=Relu,
        value=_relu,
        wiring=passed,
        rule=any_shape,
        work=no_work,
        silence=Silence.KEPT,
        shape=kept,
    ),
    Op(
        name="qcfs",
        role=Role.SITE,
        attributes=Qcfs,
        value=_qcfs,
        wiring=passed,
        rule=_fits_theta,
        work=no_work,
        silence=Silence.KEPT,
        required=("threshold",),
        shape=kept,
    ),
    Op(
        name="transfer",
        role=Role.SITE,
        attributes=Transfer,
        value=_transfer,
        wiring=passed,
        rule=any_shape,
        work=no_work,
        silence=Silence.KEPT,
        shape=kept,
    ),
)

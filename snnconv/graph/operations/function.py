"""Operations that are not linear between zero and a clip: no neuron stands for them.

They are taken on request only (``--non-relu analog``), and computed outside the spiking domain, as
:mod:`snnconv.simulation.network` says.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.graph.operations.base import (
    Along,
    Attributes,
    Number,
    Op,
    Role,
    Shape,
    Silence,
    Tensors,
    any_shape,
    of_one_rank,
    one_a_value,
    passed,
)

POINTWISE: Mapping[str, Callable[..., Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "hardswish": F.hardswish,
    "mish": F.mish,
    "softplus": F.softplus,
    "elu": F.elu,
    "pow": torch.pow,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "erf": torch.erf,
    "exp": torch.exp,
    "log": torch.log,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "sign": torch.sign,
    "gt0": lambda x: (x > 0).to(x.dtype),
    "ge0": lambda x: (x >= 0).to(x.dtype),
}
"""Functions of one number, with a slope, a scale or an exponent if the node has one."""


class Pointwise(Attributes):
    """Attributes of a function of one number."""

    function: str = Field(description="its name: " + ", ".join(POINTWISE))
    arguments: Annotated[list[Number], Field(max_length=2)] = Field(
        description="slope, scale or exponent, if it has one"
    )


def _pointwise(attrs: Pointwise, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return POINTWISE[attrs.function](inputs[0], *attrs.arguments)


def _multiply(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """The product of two activations, which may broadcast over places."""
    return inputs[0] * inputs[1]


def _sum(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Every output is computed from the inputs at its place."""
    return inputs[0] + inputs[1]


def _matmul(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """The matrix product of two activations, over the last two axes of each sample."""
    return inputs[0] @ inputs[1]


def _taps(
    attrs: Attributes, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> int:
    """Each output multiplies one row of the first matrix."""
    return math.prod(output) * inputs[0][-1]


def _softmax(attrs: Along, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return torch.softmax(inputs[0], attrs.dim)


def _log_softmax(attrs: Along, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return torch.log_softmax(inputs[0], attrs.dim)


OPERATIONS: tuple[Op[Any], ...] = (
    Op(
        name="pointwise",
        role=Role.ANALOG,
        attributes=Pointwise,
        value=_pointwise,
        wiring=passed,
        rule=any_shape,
        macs=one_a_value,
        silence=Silence.NOWHERE,
    ),
    Op(
        name="multiply",
        role=Role.ANALOG,
        attributes=Attributes,
        value=_multiply,
        wiring=_sum,
        rule=of_one_rank,
        macs=one_a_value,
        silence=Silence.NOWHERE,
        sources=2,
    ),
    Op(
        name="matmul",
        role=Role.ANALOG,
        attributes=Attributes,
        value=_matmul,
        wiring=_matmul,
        rule=of_one_rank,
        macs=_taps,
        silence=Silence.NOWHERE,
        sources=2,
    ),
    Op(
        name="softmax",
        role=Role.ANALOG,
        attributes=Along,
        value=_softmax,
        wiring=passed,
        rule=any_shape,
        macs=one_a_value,
        silence=Silence.NOWHERE,
    ),
    Op(
        name="log_softmax",
        role=Role.ANALOG,
        attributes=Along,
        value=_log_softmax,
        wiring=passed,
        rule=any_shape,
        macs=one_a_value,
        silence=Silence.NOWHERE,
    ),
)

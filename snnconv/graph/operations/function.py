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
    TensorShapes,
    any_shape,
    broadcast,
    kept_along,
    of_one_rank,
    passed,
)
from snnconv.graph.operations.work import (
    Work,
    a_lookup,
    a_product,
    an_addition,
    each_value,
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


COMPARED = frozenset({"floor", "ceil", "round", "sign", "gt0", "ge0"})
"""Functions that need no table, because a comparison gives their value."""


def _pointwise(attrs: Pointwise, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return POINTWISE[attrs.function](inputs[0], *attrs.arguments)


def _multiply(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the product of two activations, which may broadcast over places."""
    return inputs[0] * inputs[1]


def _sum(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the sum of two activations."""
    return inputs[0] + inputs[1]


def _matmul(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the matrix product of two activations, over the last two axes of each sample."""
    return inputs[0] @ inputs[1]


def _pointwise_work(
    attrs: Pointwise, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count a look-up for each value; a square is a product, and a step a comparison."""
    square = attrs.function == "pow" and attrs.arguments == [2]
    rule = a_product if square else an_addition if attrs.function in COMPARED else a_lookup
    return rule(attrs, inputs, output, tensors)


def _taps(
    attrs: Attributes, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count the taps: each output multiplies a row of one matrix with a column of the other."""
    return Work(macs=math.prod(output) * inputs[0][-1])


def _taps_recomputed(attrs: Attributes, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    """Recompute the products in which a factor has changed."""
    rows, columns = changed
    return rows.shape[-1] - (1 - rows) @ (1 - columns)


def _softmax_work(
    attrs: Along, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count for a row of n: its maximum, n differences and n of ``exp``, their sum and 1/sum."""
    values = math.prod(output)
    rows = values // output[attrs.dim - 1]
    additions = 2 * (values - rows) + values
    return Work(macs=values, lookups=values + rows, additions=additions)


def _log_softmax_work(
    attrs: Along, inputs: Sequence[Shape], output: Shape, tensors: Mapping[str, Shape]
) -> Work:
    """Count for a row of n: its maximum, n differences and ``exp``, and the sum's logarithm."""
    values = math.prod(output)
    rows = values // output[attrs.dim - 1]
    return Work(lookups=values + rows, additions=2 * (values - rows) + 2 * values)


def _row_recomputed(attrs: Along, tensors: Tensors, changed: list[Tensor]) -> Tensor:
    """Return the rows in which something has changed."""
    return changed[0].amax(attrs.dim)


def _softmax(attrs: Along, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return torch.softmax(inputs[0], attrs.dim)


def _log_softmax(attrs: Along, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return torch.log_softmax(inputs[0], attrs.dim)


def _pointwise_shape(
    attrs: Pointwise, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the input's shape, if the function takes one number with these arguments."""
    try:
        POINTWISE[attrs.function](torch.zeros(1), *attrs.arguments)
    except (LookupError, RuntimeError, TypeError):
        return None
    return inputs[0]


def _matmul_shape(
    attrs: Attributes, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the shape of the products: of matrices behind axes that broadcast."""
    if len(inputs[0]) < 2:
        return None
    (*before, rows, shared), (*behind, wanted, columns) = inputs
    outer = broadcast(attrs, [tuple(before), tuple(behind)], tensors)
    return None if shared != wanted or outer is None else (*outer, rows, columns)


OPERATIONS: tuple[Op[Any], ...] = (
    Op(
        name="pointwise",
        role=Role.ANALOG,
        attributes=Pointwise,
        value=_pointwise,
        wiring=passed,
        rule=any_shape,
        work=_pointwise_work,
        silence=Silence.NOWHERE,
        recomputed=each_value,
        shape=_pointwise_shape,
    ),
    Op(
        name="multiply",
        role=Role.ANALOG,
        attributes=Attributes,
        value=_multiply,
        wiring=_sum,
        rule=of_one_rank,
        work=a_product,
        silence=Silence.NOWHERE,
        recomputed=each_value,
        sources=2,
        shape=broadcast,
    ),
    Op(
        name="matmul",
        role=Role.ANALOG,
        attributes=Attributes,
        value=_matmul,
        wiring=_matmul,
        rule=of_one_rank,
        work=_taps,
        silence=Silence.NOWHERE,
        recomputed=_taps_recomputed,
        sources=2,
        shape=_matmul_shape,
    ),
    Op(
        name="softmax",
        role=Role.ANALOG,
        attributes=Along,
        value=_softmax,
        wiring=passed,
        rule=any_shape,
        work=_softmax_work,
        silence=Silence.NOWHERE,
        recomputed=_row_recomputed,
        shape=kept_along,
    ),
    Op(
        name="log_softmax",
        role=Role.ANALOG,
        attributes=Along,
        value=_log_softmax,
        wiring=passed,
        rule=any_shape,
        work=_log_softmax_work,
        silence=Silence.NOWHERE,
        recomputed=_row_recomputed,
        shape=kept_along,
    ),
)

"""Operations that are not linear between zero and a clip: no neuron stands for them.

They are taken on request only (``--non-relu analog``), and computed outside the spiking domain, as
:mod:`snnconv.simulation.network` says.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attrs = Mapping[str, Any]
Tensors = Mapping[str, Tensor]

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
"""Functions of one number, and of a slope, a scale or an exponent where the node has one."""


def pointwise(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """A function of :data:`POINTWISE`."""
    return POINTWISE[attrs["function"]](inputs[0], *attrs["arguments"])


def multiply(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """The product of two activations, which may broadcast over places."""
    return inputs[0] * inputs[1]


def layer_norm(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """LayerNorm over the last axes."""
    shape = tuple(attrs["shape"])
    return F.layer_norm(inputs[0], shape, tensors.get("weight"), tensors.get("bias"), attrs["eps"])


def group_norm(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """GroupNorm; of groups of one channel it is InstanceNorm."""
    weight, bias = tensors.get("weight"), tensors.get("bias")
    # unlike its functional form it takes one sample of one place
    return torch.group_norm(inputs[0], attrs["groups"], weight, bias, attrs["eps"])


def softmax(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Softmax along an axis of the samples."""
    return torch.softmax(inputs[0], attrs["dim"])


def log_softmax(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Its logarithm."""
    return torch.log_softmax(inputs[0], attrs["dim"])


def local_response_norm(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """``x / (k + alpha*mean(x**2))**beta``, the mean over ``size`` channels around each.

    Of an even number the one more comes before it. Beyond the first and the last are zeros.
    """
    (x,), size = inputs, attrs["size"]
    squares = F.pad(x.square().transpose(1, -1), (size // 2, (size - 1) // 2))
    means = squares.unfold(-1, size, 1).mean(-1).transpose(1, -1)
    scale: Tensor = (attrs["k"] + attrs["alpha"] * means) ** attrs["beta"]
    return x / scale


def matmul(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """The matrix product of two activations, over the last two axes of each sample."""
    return inputs[0] @ inputs[1]


def reach(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """What is computed from what: every output from the inputs at its place."""
    total = inputs[0]
    for value in inputs[1:]:
        total = total + value
    return total

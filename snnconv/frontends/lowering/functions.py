"""Forms of functions that no neuron stands for; they are taken on request only."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconv.frontends.lowering import layers
from snnconv.frontends.lowering.contract import (
    Activation,
    NodeSpec,
    Refused,
    Shape,
    Stored,
    activation,
    batched,
    stored,
    weights,
)
from snnconv.graph.remedies import BATCH_FIRST


def pointwise(name: str, shape: Shape, x: object, inplace: bool = False) -> NodeSpec:
    """A function of one number."""
    return NodeSpec("pointwise", [activation(x)], {"function": name, "arguments": []})


def gelu(shape: Shape, x: object, approximate: str = "none") -> NodeSpec:
    """GELU, exact or by tanh."""
    return pointwise("gelu" if approximate == "none" else "gelu_tanh", shape, x)


def elu(shape: Shape, x: object, alpha: float = 1.0, inplace: bool = False) -> NodeSpec:
    """An exponential below 0."""
    return _with(shape, x, "elu", alpha)


def softplus(shape: Shape, x: object, beta: float = 1.0, threshold: float = 20.0) -> NodeSpec:
    """``ln(1 + exp(beta*x))/beta``."""
    return _with(shape, x, "softplus", beta, threshold)


def _with(shape: Shape, x: object, name: str, *arguments: float) -> NodeSpec:
    given = [float(number) for number in arguments]
    return NodeSpec("pointwise", [activation(x)], {"function": name, "arguments": given})


def power(shape: Shape, x: object, exponent: object) -> NodeSpec:
    """``x**exponent``, the exponent one number."""
    if isinstance(exponent, Stored) and exponent.value.numel() == 1:
        exponent = exponent.value.item()
    if not isinstance(exponent, int | float):
        raise Refused("a power whose exponent is no number")
    return _with(shape, x, "pow", exponent)


def square(shape: Shape, x: object) -> NodeSpec:
    """``x**2``."""
    return power(shape, x, 2)


def matmul(shape: Shape, x: object, other: object) -> NodeSpec:
    """A product with a matrix of the network's own, a linear layer; or of two activations."""
    if isinstance(other, Activation):
        source = activation(x)
        if not len(source.shape) == len(other.shape) > 2:
            raise Refused("a matrix product that mixes samples", BATCH_FIRST)
        return NodeSpec("matmul", [source, other])
    matrix = stored("weight", other).value
    if matrix.dim() != 2:
        raise Refused(f"a product with a constant of shape {list(matrix.shape)}")
    return layers.linear(shape, x, Stored("", matrix.t()))


def softmax(
    function: Callable[..., Tensor],
    shape: Shape,
    x: object,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: object = None,
) -> NodeSpec:
    """A softmax or its logarithm, along an axis of the samples.

    Over the classes at the end it is dropped: argmax keeps its meaning, and logits are what a
    spiking network's currents are.
    """
    rank, name = len(shape), function.__name__
    if dim is None:  # as PyTorch has it, of old
        dim = 0 if rank in (0, 1, 3) else 1
    if dtype not in (None, torch.float32):
        raise Refused(f"numbers of type {dtype}")
    if dim % rank == 0:
        raise Refused("a softmax over the batch", BATCH_FIRST)
    inside = NodeSpec(name, [activation(x)], {"dim": dim % rank})
    if rank != 2:
        return inside
    ending = partial(function, dim=1)
    return NodeSpec("identity", inside.sources, {"dropped": name}, ending=ending, inside=inside)


def local_response_norm(
    shape: Shape,
    x: object,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> NodeSpec:
    """Each value by a power of the mean square of channels around it."""
    source = activation(x)
    if len(source.shape) < 3:
        raise Refused(f"an input of shape [B, {', '.join(map(str, source.shape[1:]))}]")
    attrs = {"size": size, "alpha": float(alpha), "beta": float(beta), "k": float(k)}
    return NodeSpec("local_response_norm", [source], attrs)


def layer_norm(
    shape: Shape,
    x: object,
    normalized_shape: Any,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
) -> NodeSpec:
    """LayerNorm over the last axes."""
    over: Sequence[int] = (
        [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    )
    if len(over) >= len(shape):
        raise Refused("a LayerNorm over the batch", BATCH_FIRST)
    attrs = {"shape": list(over), "eps": eps}
    return NodeSpec("layer_norm", [activation(x)], attrs, weights(weight=weight, bias=bias))


def group_norm(
    shape: Shape,
    x: object,
    num_groups: int,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
) -> NodeSpec:
    """GroupNorm."""
    attrs = {"groups": num_groups, "eps": eps}
    return NodeSpec("group_norm", [activation(x)], attrs, weights(weight=weight, bias=bias))


def instance_norm(
    shape: Shape,
    x: object,
    running_mean: object = None,
    running_var: object = None,
    weight: object = None,
    bias: object = None,
    use_input_stats: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    batches: object = None,
) -> NodeSpec:
    """InstanceNorm: GroupNorm of a channel a group, or, by running statistics, BatchNorm."""
    if not use_input_stats:
        statistics = (running_mean, running_var)
        return layers.batch_norm(shape, x, *statistics, weight, bias, False, momentum, eps, batches)
    return group_norm(shape, x, activation(x).shape[1], weight, bias, eps)


def instance_norm_module(
    rank: int,
    shape: Shape,
    x: object,
    running_mean: object,
    running_var: object,
    weight: object,
    bias: object,
    momentum: float | None,
    eps: float,
    num_batches_tracked: object,
) -> NodeSpec:
    """InstanceNorm, by running statistics where it has some."""
    source, own = batched(x, rank), running_mean is None
    statistics, batches = (running_mean, running_var), num_batches_tracked
    return instance_norm(shape, source, *statistics, weight, bias, own, momentum, eps, batches)

"""Forms of functions that no neuron stands for; they are taken on request only."""

from collections.abc import Sequence
from typing import Any

from snnconv.graph.form import Made, Refused, Shape, activation, weights
from snnconv.graph.remedies import BATCH_FIRST


def pointwise(name: str, shape: Shape, x: object, inplace: bool = False) -> Made:
    """A function of one number."""
    return Made("pointwise", [activation(x)], {"function": name, "arguments": []})


def gelu(shape: Shape, x: object, approximate: str = "none") -> Made:
    """GELU, exact or by tanh."""
    return pointwise("gelu" if approximate == "none" else "gelu_tanh", shape, x)


def leaky_relu(
    shape: Shape, x: object, negative_slope: float = 0.01, inplace: bool = False
) -> Made:
    """A ReLU with a slope below 0."""
    return _with(shape, x, "leaky_relu", negative_slope)


def elu(shape: Shape, x: object, alpha: float = 1.0, inplace: bool = False) -> Made:
    """An exponential below 0."""
    return _with(shape, x, "elu", alpha)


def softplus(shape: Shape, x: object, beta: float = 1.0, threshold: float = 20.0) -> Made:
    """``ln(1 + exp(beta*x))/beta``."""
    return _with(shape, x, "softplus", beta, threshold)


def _with(shape: Shape, x: object, name: str, *arguments: float) -> Made:
    given = [float(number) for number in arguments]
    return Made("pointwise", [activation(x)], {"function": name, "arguments": given})


def layer_norm(
    shape: Shape,
    x: object,
    normalized_shape: Any,
    weight: object = None,
    bias: object = None,
    eps: float = 1e-5,
) -> Made:
    """LayerNorm over the last axes."""
    over: Sequence[int] = (
        [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    )
    if len(over) >= len(shape):
        raise Refused("a LayerNorm over the batch", BATCH_FIRST)
    attrs = {"shape": list(over), "eps": eps}
    return Made("layer_norm", [activation(x)], attrs, weights(weight=weight, bias=bias))

"""PyTorch's forms of the graph's operations: what a call of a module or function amounts to.

Each function here is one such form. Its parameters are those of PyTorch's functional form, in their
order and with their defaults, so positions and keywords mean what they mean there; a module, whose
attributes carry the same names, goes through the same function. What a form can't take, it refuses.
"""

import math
from collections.abc import Sequence
from typing import Any

from snnconv.graph.form import Made, Refused, Shape, activation, batched, sizes, stored, weights
from snnconv.graph.remedies import BATCH_FIRST


def conv(
    rank: int,
    shape: Shape,
    x: object,
    weight: object,
    bias: object = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Made:
    """A convolution."""
    if padding_mode != "zeros":
        raise Refused(
            f"padding mode '{padding_mode}'",
            "pad before it, by nn.ReflectionPad2d, nn.ReplicationPad2d or nn.CircularPad2d",
        )
    taken, dilation = stored("weight", weight), sizes(dilation, rank)
    attrs = {
        "stride": sizes(stride, rank),
        "padding": _padding(padding, taken.value.shape[2:], dilation),
        "dilation": dilation,
        "groups": groups,
    }
    return Made("conv", [batched(x, rank)], attrs, weights(weight=weight, bias=bias))


def _padding(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    if padding == "valid":
        return [0] * len(kernel)
    if padding != "same":
        return sizes(padding, len(kernel))
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(n % 2 for n in total):
        raise Refused(
            "padding 'same' that is not the same on both sides", "pad before it, by nn.ZeroPad2d"
        )
    return [n // 2 for n in total]


def conv_transpose(
    rank: int,
    shape: Shape,
    x: object,
    weight: object,
    bias: object = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Made:
    """A transposed convolution."""
    attrs = {
        "stride": sizes(stride, rank),
        "padding": sizes(padding, rank),
        "output_padding": sizes(output_padding, rank),
        "dilation": sizes(dilation, rank),
        "groups": groups,
    }
    return Made("conv_transpose", [batched(x, rank)], attrs, weights(weight=weight, bias=bias))


def linear(shape: Shape, x: object, weight: object, bias: object = None) -> Made:
    """A matrix on the last axis."""
    return Made("linear", [activation(x)], {}, weights(weight=weight, bias=bias))


def batch_norm(
    shape: Shape,
    x: object,
    running_mean: object,
    running_var: object,
    weight: object = None,
    bias: object = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Made:
    """BatchNorm by its running statistics."""
    if running_mean is None or training:
        raise Refused(
            "BatchNorm without running statistics", "train it with track_running_stats=True"
        )
    tensors = weights(mean=running_mean, var=running_var, weight=weight, bias=bias)
    return Made("batch_norm", [activation(x)], {"eps": eps}, tensors)


def relu(shape: Shape, x: object, inplace: bool = False) -> Made:
    """``max(x, 0)``."""
    return clamp(shape, x, 0)


def relu6(shape: Shape, x: object, inplace: bool = False) -> Made:
    """``min(max(x, 0), 6)``."""
    return clamp(shape, x, 0, 6)


def hardtanh(
    shape: Shape, x: object, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Made:
    """``min(max(x, min_val), max_val)``."""
    return clamp(shape, x, min_val, max_val)


def clamp(shape: Shape, x: object, min: Any = None, max: Any = None) -> Made:  # noqa: A002
    """``min(max(x, 0), ceiling)``: with a floor other than 0 no neuron stands for it."""
    numbers = isinstance(min, int | float) and isinstance(max, int | float | None)
    if not numbers or min != 0 or not (max is None or max > 0):
        raise Refused(
            f"a clip to [{min}, {max}]: a spiking neuron starts at 0",
            "train the network with a clip from 0: ReLU6, or clamp(x, 0, c)",
        )
    return Made("relu", [activation(x)], {"ceiling": None if max is None else float(max)})


def threshold(
    shape: Shape, x: object, threshold: float, value: float, inplace: bool = False
) -> Made:
    """``x if x > threshold else value``: a ReLU where both are 0."""
    if threshold != 0 or value != 0:
        raise Refused(
            f"a threshold at {threshold} with value {value}: only 0 and 0 is a ReLU",
            "train the network with ReLU in its place",
        )
    return relu(shape, x)


def max_pool(
    rank: int,
    shape: Shape,
    x: object,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Made:
    """Max pooling."""
    if return_indices:
        raise Refused("max pooling that returns indices", "call it without return_indices")
    attrs = _window(rank, kernel_size, stride, padding)
    attrs |= {"dilation": sizes(dilation, rank), "ceil_mode": bool(ceil_mode)}
    return Made("max_pool", [batched(x, rank)], attrs)


def avg_pool(
    rank: int,
    shape: Shape,
    x: object,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Made:
    """Average pooling."""
    if divisor_override is not None:
        raise Refused(
            f"divisor_override={divisor_override}", "leave it out, and scale the weights behind it"
        )
    attrs = _window(rank, kernel_size, stride, padding)
    attrs |= {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)}
    return Made("avg_pool", [batched(x, rank)], attrs)


def _window(rank: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    kernel = sizes(kernel, rank)
    no_stride = stride is None or stride in ((), [])
    return {
        "kernel": kernel,
        "stride": kernel if no_stride else sizes(stride, rank),
        "padding": sizes(padding, rank),
    }


def adaptive_avg_pool(rank: int, shape: Shape, x: object, output_size: object) -> Made:
    """Average pooling to a given size."""
    return Made("adaptive_avg_pool", [batched(x, rank)], {"output": list(shape[2:])})


def adaptive_max_pool(
    rank: int, shape: Shape, x: object, output_size: object, return_indices: bool = False
) -> Made:
    """Max pooling to a given size."""
    if return_indices:
        raise Refused("max pooling that returns indices")
    return Made("adaptive_max_pool", [batched(x, rank)], {"output": list(shape[2:])})


def amax(shape: Shape, x: object, dim: Any = (), keepdim: bool = False) -> Made:
    """The largest over axes of the samples that lie side by side: max pooling of all of them."""
    source, dims = activation(x), list(dim) if isinstance(dim, tuple | list) else [dim]
    rank = len(source.shape)
    over = sorted(int(d) % rank for d in dims)
    if not over or over[0] == 0:
        raise Refused("a maximum over the batch", BATCH_FIRST)
    if over != list(range(over[0], over[-1] + 1)):
        raise Refused(
            f"a maximum over axes {over}, which do not lie side by side", "take one after another"
        )
    extent = source.shape[1:]
    before, behind = extent[: over[0] - 1], extent[over[-1] :]
    places = math.prod(extent[over[0] - 1 : over[-1]])
    rows = [math.prod(before), places, math.prod(behind)]  # a column of places for each behind
    one = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "ceil_mode": False}
    columns = Made("reshape", [source], {"shape": rows})
    largest = Made("max_pool", [columns], {"kernel": [places, 1], **one})
    left = [*before, *([1] * len(over) if keepdim else []), *behind]
    return Made("reshape", [largest], {"shape": left})


def largest(shape: Shape, x: object, dim: Any = None, keepdim: bool = False) -> list[Made]:
    """``max(x, dim)``, which gives indices as well: those can't be used."""
    if not isinstance(dim, int):
        raise Refused(
            "a maximum of two values, or over the batch", "name an axis of the samples: amax(dim)"
        )
    return [amax(shape, x, dim, keepdim)]


def mean(shape: Shape, x: object, dim: Any = None, keepdim: bool = False) -> Made:
    """The mean over axes."""
    if dim is None:
        raise Refused("a mean over the batch", BATCH_FIRST)
    source, dims = activation(x), list(dim) if isinstance(dim, tuple | list) else [dim]
    dims = sorted(d % len(source.shape) for d in dims)
    if not dims or 0 in dims:
        raise Refused("a mean over the batch", BATCH_FIRST)
    return Made("mean", [source], {"dims": dims, "keepdim": bool(keepdim)})

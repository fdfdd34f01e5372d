"""PyTorch's forms of the graph's operations: what a call of a module or function amounts to.

Each function here is one such form. Its parameters are those of PyTorch's functional form, in their
order and with their defaults, so positions and keywords mean what they mean there; a module, whose
attributes carry the same names, goes through the same function. What a form can't take, it refuses.
"""

from collections.abc import Sequence
from typing import Any

import torch

from snnconv.frontends.lowering.arithmetic import line
from snnconv.frontends.lowering.contract import (
    Activation,
    NodeSpec,
    Refused,
    Shape,
    activation,
    batched,
    sizes,
    stored,
    weights,
)
from snnconv.graph.ops import OPS


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
) -> NodeSpec:
    """A convolution."""
    if padding_mode != "zeros":
        raise Refused(
            f"padding mode '{padding_mode}'",
            "pad before it, by nn.ReflectionPad2d, nn.ReplicationPad2d or nn.CircularPad2d",
        )
    taken, dilation = stored("weight", weight), sizes(dilation, rank)
    before, more = _padding(padding, taken.value.shape[2:], dilation)
    attrs = {
        "stride": sizes(stride, rank),
        "padding": before,
        "dilation": dilation,
        "groups": groups,
    }
    source: Activation | NodeSpec = batched(x, rank)
    if any(more):
        widths = [n for size in more[::-1] for n in (0, size)]  # the last axis first
        source = NodeSpec("pad", [source], {"pad": widths, "mode": "constant"})
    return NodeSpec("conv", [source], attrs, weights(weight=weight, bias=bias))


def _padding(
    padding: Any, kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[list[int], list[int]]:
    """On both sides of each axis, and how much more behind: 'same' may want an odd number."""
    none = [0] * len(kernel)
    if padding == "valid":
        return none, none
    if padding != "same":
        return sizes(padding, len(kernel)), none
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return [n // 2 for n in total], [n % 2 for n in total]


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
) -> NodeSpec:
    """A transposed convolution."""
    attrs = {
        "stride": sizes(stride, rank),
        "padding": sizes(padding, rank),
        "output_padding": sizes(output_padding, rank),
        "dilation": sizes(dilation, rank),
        "groups": groups,
    }
    return NodeSpec("conv_transpose", [batched(x, rank)], attrs, weights(weight=weight, bias=bias))


def linear(shape: Shape, x: object, weight: object, bias: object = None) -> NodeSpec:
    """A matrix on the last axis."""
    return NodeSpec("linear", [activation(x)], {}, weights(weight=weight, bias=bias))


def batch_norm(
    shape: Shape,
    x: object,
    running_mean: object,
    running_var: object,
    weight: object = None,
    bias: object = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    num_batches_tracked: object = None,
) -> NodeSpec:
    """BatchNorm by its running statistics.

    A momentum of None makes them, in training, the mean over all batches: their number is kept.
    """
    if running_mean is None or training:
        raise Refused(
            "BatchNorm without running statistics", "train it with track_running_stats=True"
        )
    tensors = weights(mean=running_mean, var=running_var, weight=weight, bias=bias)
    if momentum is None:
        tensors["batches"] = stored("number of batches", num_batches_tracked)
    return NodeSpec("batch_norm", [activation(x)], {"eps": eps, "momentum": momentum}, tensors)


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
) -> NodeSpec:
    """Max pooling."""
    if return_indices:
        raise Refused("max pooling that returns indices", "call it without return_indices")
    attrs = _window(rank, kernel_size, stride, padding)
    attrs |= {"dilation": sizes(dilation, rank), "ceil_mode": bool(ceil_mode)}
    return NodeSpec("max_pool", [batched(x, rank)], attrs)


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
) -> NodeSpec:
    """Average pooling."""
    attrs = _window(rank, kernel_size, stride, padding)
    attrs |= {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)}
    pooled = NodeSpec("avg_pool", [batched(x, rank)], attrs)
    if divisor_override is None:
        return pooled
    ones = torch.ones(1, 1, *batched(x, rank).shape[2:])
    average = OPS["avg_pool"]
    counts = average.reach(attrs, {}, [ones]) / average.run(attrs, {}, [ones])
    scale = counts[0] / divisor_override  # of each place: windows at a border may hold fewer
    uniform = bool((scale == scale.flatten()[0]).all())
    return line(pooled, scale.flatten()[:1] if uniform else scale)


def _window(rank: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    kernel = sizes(kernel, rank)
    no_stride = stride is None or stride in ((), [])
    return {
        "kernel": kernel,
        "stride": kernel if no_stride else sizes(stride, rank),
        "padding": sizes(padding, rank),
    }


def adaptive_avg_pool(rank: int, shape: Shape, x: object, output_size: object) -> NodeSpec:
    """Average pooling to a given size."""
    return NodeSpec("adaptive_avg_pool", [batched(x, rank)], {"output": list(shape[2:])})


def adaptive_max_pool(
    rank: int, shape: Shape, x: object, output_size: object, return_indices: bool = False
) -> NodeSpec:
    """Max pooling to a given size."""
    if return_indices:
        raise Refused("max pooling that returns indices")
    return NodeSpec("adaptive_max_pool", [batched(x, rank)], {"output": list(shape[2:])})

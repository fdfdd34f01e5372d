"""PyTorch's forms of the graph's operations: what a call of a module or function amounts to.

Each function here is one such form. Its parameters are those of PyTorch's functional form, in their
order and with their defaults, so positions and keywords mean what they mean there; a module, whose
attributes carry the same names, goes through the same function. What a form can't take, it refuses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor


class Refused(Exception):  # noqa: N818 - collected by the translator, never seen by the user
    """A call that no operation of the closed list stands for."""


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input.

    Attributes:
        node: the graph node that gives it.
        shape: with the batch.
    """

    node: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A tensor of the network's own."""

    name: str
    value: Tensor


@dataclass(frozen=True)
class Made:
    """The node a call amounts to.

    Attributes:
        sources: what it reads.
        tensors: by role; those that are absent are None.
        ending: for a softmax, which is dropped at the end of a network: what was dropped.
    """

    op: str
    sources: Sequence[Activation]
    attrs: dict[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Stored | None] = field(default_factory=dict)
    ending: Callable[[Tensor], Tensor] | None = None


Shape = tuple[int, ...]
Form = Callable[..., Made]
"""``(shape of the value, arguments of the call) -> node``."""


def _activation(value: object) -> Activation:
    if isinstance(value, Activation):
        return value
    shown = f"the tensor '{value.name}'" if isinstance(value, Stored) else repr(value)
    raise Refused(f"an operand that is no activation ({shown})")


def _stored(role: str, value: object) -> Stored:
    if isinstance(value, Stored):
        return value
    raise Refused(f"a {role} that is no tensor of the network")


def _weights(**tensors: object) -> dict[str, Stored | None]:
    return {role: None if t is None else _stored(role, t) for role, t in tensors.items()}


def _sizes(value: Any, rank: int) -> list[int]:
    """One number for all axes, or one an axis."""
    sizes = [int(n) for n in value] if isinstance(value, tuple | list) else [int(value)]
    return sizes * rank if len(sizes) == 1 else sizes


def _batched(x: object, rank: int) -> Activation:
    activation = _activation(x)
    if len(activation.shape) != rank + 2:
        raise Refused(f"an input of shape [B, {', '.join(map(str, activation.shape[1:]))}]")
    return activation


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
        raise Refused(f"padding mode '{padding_mode}'")
    taken, dilation = _stored("weight", weight), _sizes(dilation, rank)
    attrs = {
        "stride": _sizes(stride, rank),
        "padding": _padding(padding, taken.value.shape[2:], dilation),
        "dilation": dilation,
        "groups": groups,
    }
    return Made("conv", [_batched(x, rank)], attrs, _weights(weight=weight, bias=bias))


def _padding(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    if padding == "valid":
        return [0] * len(kernel)
    if padding != "same":
        return _sizes(padding, len(kernel))
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(n % 2 for n in total):
        raise Refused("padding 'same' that is not the same on both sides")
    return [n // 2 for n in total]


def linear(shape: Shape, x: object, weight: object, bias: object = None) -> Made:
    """A matrix on the last axis."""
    return Made("linear", [_activation(x)], {}, _weights(weight=weight, bias=bias))


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
        raise Refused("BatchNorm without running statistics")
    tensors = _weights(mean=running_mean, var=running_var, weight=weight, bias=bias)
    return Made("batch_norm", [_activation(x)], {"eps": eps}, tensors)


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
        raise Refused(f"a clip to [{min}, {max}]: a spiking neuron starts at 0")
    return Made("relu", [_activation(x)], {"ceiling": None if max is None else float(max)})


def threshold(
    shape: Shape, x: object, threshold: float, value: float, inplace: bool = False
) -> Made:
    """``x if x > threshold else value``: a ReLU where both are 0."""
    if threshold != 0 or value != 0:
        raise Refused(f"a threshold at {threshold} with value {value}: only 0 and 0 is a ReLU")
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
        raise Refused("max pooling that returns indices")
    attrs = _window(rank, kernel_size, stride, padding)
    attrs |= {"dilation": _sizes(dilation, rank), "ceil_mode": bool(ceil_mode)}
    return Made("max_pool", [_batched(x, rank)], attrs)


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
        raise Refused(f"divisor_override={divisor_override}")
    attrs = _window(rank, kernel_size, stride, padding)
    attrs |= {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)}
    return Made("avg_pool", [_batched(x, rank)], attrs)


def _window(rank: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    kernel = _sizes(kernel, rank)
    no_stride = stride is None or stride in ((), [])
    return {
        "kernel": kernel,
        "stride": kernel if no_stride else _sizes(stride, rank),
        "padding": _sizes(padding, rank),
    }


def adaptive_avg_pool(rank: int, shape: Shape, x: object, output_size: object) -> Made:
    """Average pooling to a given size."""
    return Made("adaptive_avg_pool", [_batched(x, rank)], {"output": list(shape[2:])})


def mean(shape: Shape, x: object, dim: Any = None, keepdim: bool = False) -> Made:
    """The mean over axes."""
    if dim is None:
        raise Refused("a mean over the batch")
    source, dims = _activation(x), list(dim) if isinstance(dim, tuple | list) else [dim]
    dims = sorted(d % len(source.shape) for d in dims)
    if not dims or 0 in dims:
        raise Refused("a mean over the batch")
    return Made("mean", [source], {"dims": dims, "keepdim": bool(keepdim)})


def add(shape: Shape, x: object, other: object, alpha: float = 1) -> Made:
    """A sum of two activations."""
    if alpha != 1:
        raise Refused(f"a sum with alpha={alpha}")
    sources = [_activation(x), _activation(other)]
    if any(len(source.shape) != len(shape) for source in sources):
        raise Refused("a sum that mixes samples")
    return Made("add", sources)


def concat(shape: Shape, tensors: Sequence[object], dim: int = 0) -> Made:
    """A concatenation along an axis of the samples."""
    if dim % len(shape) == 0:
        raise Refused("a concatenation over the batch")
    return Made("concat", [_activation(x) for x in tensors], {"dim": dim % len(shape)})


def reshape(shape: Shape, x: object, *sizes: object, **named: object) -> Made:
    """Any reshape that keeps samples apart; the shape it leads to is the value's own."""
    if not shape or shape[0] != _activation(x).shape[0]:
        raise Refused("a reshape that mixes samples")
    return Made("reshape", [_activation(x)], {"shape": list(shape[1:])})


def dropout(
    shape: Shape, x: object, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Made:
    """The identity outside training."""
    if training:
        raise Refused("dropout that is on outside training: pass training=self.training")
    return Made("dropout", [_activation(x)], {"p": p})


def identity(shape: Shape, x: object, memory_format: object = None) -> Made:
    """The value itself, perhaps laid out anew."""
    return Made("identity", [_activation(x)])


def softmax(
    function: Callable[..., Tensor],
    shape: Shape,
    x: object,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: object = None,
) -> Made:
    """Dropped: argmax keeps its meaning, and logits are what a spiking network's currents are."""
    if dtype is not None or len(shape) != 2 or dim not in (None, 1, -1):
        raise Refused("a softmax that is not over the classes")
    ending = partial(function, dim=1)
    return Made("identity", [_activation(x)], {"dropped": function.__name__}, ending=ending)

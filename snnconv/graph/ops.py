"""The closed list of operations a graph may hold.

Each operation says what it is for a spiking network (its role), computes itself on ``[B, *N]``, and
has a *reach*: the same wiring with every weight set to one and every average to a sum. The gradient
of a reach counts the paths from an input to what lies behind it, so synapses driven by a spike are
counted exactly at borders, with strides, groups and dilation.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from snnconv.graph import attributes, ops_analog, ops_interpolation, ops_qcfs, ops_recurrent
from snnconv.graph.ir import Node

Attrs = Mapping[str, Any]
Tensors = Mapping[str, Tensor]
Compute = Callable[[Attrs, Tensors, list[Tensor]], Tensor]


class Role(StrEnum):
    """What an operation is to a spiking network."""

    SYNAPSE = "synapse"  # it has weights: a spike drives operations here
    SITE = "site"  # where a neuron goes
    LINEAR = "linear"  # the mean over time passes through it unchanged
    MAX = "max"  # needs the cumulative rule (spiking.py)
    ANALOG = "analog"  # needs the cumulative rule, and does not spike


@dataclass(frozen=True)
class Op:
    """An operation of the list.

    Attributes:
        role: what it is to a spiking network.
        run: its value, from attributes, tensors by role, and inputs ``[B, *N]``.
        reach: the same wiring, weights one, no bias, sums for averages.
        required: the tensor roles it can't do without.
        optional: those it can.
        sources: how many values it reads; none where that is open.
    """

    role: Role
    run: Compute
    reach: Compute
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    sources: int | None = 1


_ByRank = dict[int, Callable[..., Tensor]]
_CONV_TRANSPOSE: _ByRank = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_CONV: _ByRank = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_MAX_POOL: _ByRank = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVG_POOL: _ByRank = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE_AVG: _ByRank = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_ADAPTIVE_MAX: _ByRank = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}


def _conv(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    weight = tensors["weight"]
    return _CONV[weight.dim() - 2](
        inputs[0],
        weight,
        tensors.get("bias"),
        tuple(attrs["stride"]),
        tuple(attrs["padding"]),
        tuple(attrs["dilation"]),
        attrs["groups"],
    )


def _conv_transpose(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    weight = tensors["weight"]
    return _CONV_TRANSPOSE[weight.dim() - 2](
        inputs[0],
        weight,
        tensors.get("bias"),
        tuple(attrs["stride"]),
        tuple(attrs["padding"]),
        tuple(attrs["output_padding"]),
        attrs["groups"],
        tuple(attrs["dilation"]),
    )


def _linear(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.linear(inputs[0], tensors["weight"], tensors.get("bias"))


def _with_ones(run: Compute) -> Compute:
    def reach(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
        ones = torch.ones_like(tensors["weight"], dtype=inputs[0].dtype)
        return run(attrs, {"weight": ones}, inputs)

    return reach


def _for_samples(values: Tensor, like: Tensor) -> Tensor:
    """One number for all, one a channel, or, with the rank of a sample, as they broadcast."""
    if values.dim() > 1:
        return values[None]
    return values.reshape(1, -1, *[1] * (like.dim() - 2))


def _batch_norm(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.batch_norm(
        inputs[0],
        tensors["mean"],
        tensors["var"],
        tensors.get("weight"),
        tensors.get("bias"),
        training=False,
        eps=attrs["eps"],
    )


def _affine(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x * _for_samples(tensors["scale"], x) + _for_samples(tensors["shift"], x)


def _relu(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    ceiling = attrs["ceiling"]
    return F.relu(inputs[0]) if ceiling is None else inputs[0].clamp(0, ceiling)


def _window(attrs: Attrs) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return tuple(attrs["kernel"]), tuple(attrs["stride"]), tuple(attrs["padding"])


def _max_pool(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    dilation, ceil_mode = tuple(attrs["dilation"]), attrs["ceil_mode"]
    return _MAX_POOL[x.dim() - 2](x, *_window(attrs), dilation, ceil_mode=ceil_mode)


def _avg_pool(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    ceil_mode, count_pad = attrs["ceil_mode"], attrs["count_include_pad"]
    return _AVG_POOL[x.dim() - 2](x, *_window(attrs), ceil_mode, count_pad)


def _sum_pool(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    (kernel, stride, padding), ceil_mode = _window(attrs), attrs["ceil_mode"]
    if x.dim() == 3:  # avg_pool1d knows no divisor_override: a row of height one instead
        row = x.unsqueeze(2)
        window = (1, *kernel), (1, *stride), (0, *padding)
        return F.avg_pool2d(row, *window, ceil_mode, divisor_override=1).squeeze(2)
    return _AVG_POOL[x.dim() - 2](x, kernel, stride, padding, ceil_mode, divisor_override=1)


def _adaptive_avg_pool(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return _ADAPTIVE_AVG[x.dim() - 2](x, tuple(attrs["output"]))


def _adaptive_max_pool(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return _ADAPTIVE_MAX[x.dim() - 2](x, tuple(attrs["output"]))


def _adaptive_sum_pool(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    for axis, out in enumerate(attrs["output"], start=2):
        size = x.shape[axis]
        position, window = torch.arange(size), torch.arange(out)[:, None]
        start = window * size // out
        stop = -(-(window + 1) * size // out)  # ceil((i + 1) * size / out)
        inside = (position >= start) & (position < stop)
        x = torch.tensordot(x, inside.to(x), dims=([axis], [1])).movedim(-1, axis)
    return x


def _mean(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].mean(tuple(attrs["dims"]), keepdim=attrs["keepdim"])


def _sum_over(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].sum(tuple(attrs["dims"]), keepdim=attrs["keepdim"])


def _add(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0] + inputs[1]


def _concat(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return torch.cat(inputs, dim=attrs["dim"])


def _reshape(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x.reshape(x.shape[0], *attrs["shape"])


def _permute(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].permute(0, *attrs["dims"])


def _slice(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    index = torch.arange(attrs["start"], attrs["stop"], attrs["step"], device=x.device)
    return x.index_select(attrs["dim"], index)


def _take(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x.index_select(attrs["dim"], _places(tuple(attrs["places"]), x.device))


@functools.lru_cache(maxsize=64)
def _places(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places, device=device)


def _pad(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.pad(inputs[0], tuple(attrs["pad"]), mode=attrs["mode"])


def _upsample(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.interpolate(inputs[0], tuple(attrs["size"]), mode="nearest")


def _expand(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x.expand(len(x), *attrs["shape"])


def _identity(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


def _linear_op(run: Compute, sources: int | None = 1) -> Op:
    return Op(Role.LINEAR, run, run, sources=sources)


_WEIGHT, _BIAS, _AFFINE = ("weight",), ("bias",), ("weight", "bias")


OPS: Mapping[str, Op] = {
    "conv": Op(Role.SYNAPSE, _conv, _with_ones(_conv), _WEIGHT, _BIAS),
    "conv_transpose": Op(
        Role.SYNAPSE, _conv_transpose, _with_ones(_conv_transpose), _WEIGHT, _BIAS
    ),
    "linear": Op(Role.SYNAPSE, _linear, _with_ones(_linear), _WEIGHT, _BIAS),
    "batch_norm": Op(Role.LINEAR, _batch_norm, _identity, ("mean", "var"), (*_AFFINE, "batches")),
    "affine": Op(Role.LINEAR, _affine, _identity, ("scale", "shift")),
    "relu": Op(Role.SITE, _relu, _identity),
    "qcfs": Op(Role.SITE, ops_qcfs.run, _identity, ("threshold",)),
    "max_pool": Op(Role.MAX, _max_pool, _identity),
    "adaptive_max_pool": Op(Role.MAX, _adaptive_max_pool, _identity),
    "avg_pool": Op(Role.LINEAR, _avg_pool, _sum_pool),
    "adaptive_avg_pool": Op(Role.LINEAR, _adaptive_avg_pool, _adaptive_sum_pool),
    "mean": Op(Role.LINEAR, _mean, _sum_over),
    "add": _linear_op(_add, sources=2),
    "concat": _linear_op(_concat, sources=None),
    "reshape": _linear_op(_reshape),
    "permute": _linear_op(_permute),
    "slice": _linear_op(_slice),
    "take": _linear_op(_take),
    "pad": _linear_op(_pad),
    "upsample": _linear_op(_upsample),
    "expand": _linear_op(_expand),
    "interpolate": Op(Role.LINEAR, ops_interpolation.run, ops_interpolation.reach),
    "pointwise": Op(Role.ANALOG, ops_analog.pointwise, ops_analog.reach),
    "multiply": Op(Role.ANALOG, ops_analog.multiply, ops_analog.reach, sources=2),
    "layer_norm": Op(Role.ANALOG, ops_analog.layer_norm, ops_analog.reach, (), _AFFINE),
    "group_norm": Op(Role.ANALOG, ops_analog.group_norm, ops_analog.reach, (), _AFFINE),
    "softmax": Op(Role.ANALOG, ops_analog.softmax, ops_analog.reach),
    "log_softmax": Op(Role.ANALOG, ops_analog.log_softmax, ops_analog.reach),
    "local_response_norm": Op(Role.ANALOG, ops_analog.local_response_norm, ops_analog.reach),
    "matmul": Op(Role.ANALOG, ops_analog.matmul, ops_analog.matmul, sources=2),
    "embedding": Op(
        Role.LINEAR, ops_recurrent.embedding, ops_recurrent.embedding_reach, ("weight",)
    ),
    "lstm": Op(Role.ANALOG, ops_recurrent.lstm, ops_recurrent.reach),
    "gru": Op(Role.ANALOG, ops_recurrent.gru, ops_recurrent.reach),
    "dropout": _linear_op(_identity),
    "identity": _linear_op(_identity),
}
"""Every operation a graph may hold. ``dropout`` drops only in training (:mod:`.build`)."""


def misfit(node: Node) -> str | None:
    """What is wrong with a node by itself: its operation, attributes, inputs or tensors' roles."""
    if node.op not in OPS:
        return f"the unknown operation '{node.op}'"
    op = OPS[node.op]
    try:
        attributes.of(node.op).model_validate(node.attrs)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"an attribute that can't be ({node.op}, {where}: {first['msg']})"
    if len(node.inputs) != op.sources and (op.sources or not node.inputs):
        return f"{len(node.inputs)} inputs, where {node.op} reads {op.sources or 'one or more'}"
    required, optional = op.required, op.optional
    if node.op in ops_recurrent.GATES:
        required = tuple(
            role for layer in ops_recurrent.names(node.attrs) for d in layer for role in d.values()
        )
    if node.op == "batch_norm" and node.attrs.get("momentum", 0.1) is None:
        required = (*required, "batches")
    if lacking := [role for role in required if role not in node.tensors]:
        return f"no {', '.join(lacking)} ({node.op})"
    if surplus := sorted(set(node.tensors) - {*required, *optional}):
        return f"tensors it has no use for: {', '.join(surplus)} ({node.op})"
    return None


_ONE_AN_AXIS = {"kernel", "stride", "padding", "output_padding", "dilation", "output", "size"}
"""Attributes with a number for each axis behind the channels."""


def _misfit_weights(node: Node, shape: tuple[int, ...], tensors: Tensors) -> str | None:
    """What is wrong with the weights of a layer: its channels, or its bias."""
    weight, groups = tuple(tensors["weight"].shape), node.attrs.get("groups", 1)
    if node.op == "linear":
        given, wanted, outputs = shape[-1:], weight[1:], weight[0]
    elif len(weight) != len(shape) + 1 or weight[0] % groups:
        return f"a weight of shape {list(weight)} in {groups} groups"
    elif node.op == "conv":
        given, wanted, outputs = shape[:1], (weight[1] * groups,), weight[0]
    else:
        given, wanted, outputs = shape[:1], weight[:1], weight[1] * groups
    if given != wanted:
        return f"{list(given)} channels for a weight of shape {list(weight)}"
    if "bias" in tensors and tensors["bias"].shape != (outputs,):
        return f"a bias of shape {list(tensors['bias'].shape)} for {outputs} outputs"
    return None


def misplaced(node: Node, shapes: Sequence[tuple[int, ...]], tensors: Tensors) -> str | None:
    """What is wrong with a node among its inputs that PyTorch finds only when it computes.

    Args:
        node: one that is no :func:`misfit`.
        shapes: of its inputs, without the batch.
        tensors: by role.
    """
    shape = shapes[0]
    if node.op in ("slice", "take"):
        kind = attributes.Slice if node.op == "slice" else attributes.Take
        places, dim = kind.model_validate(node.attrs).places(), node.attrs["dim"]
        # a range may name 10**9 places, and its ends are all that counts
        ends = (places[0], places[-1]) if isinstance(places, range) else places
        if dim > len(shape) or not 0 <= min(ends) <= max(ends) < shape[dim - 1]:
            return f"places {min(ends)} to {max(ends)} of axis {dim}"
    if node.op in ("batch_norm", "group_norm", "qcfs"):
        sizes = {tuple(t.shape) for role, t in tensors.items() if role != "batches"}
        known = {shape[:1]} | ({(1,), ()} if node.op == "qcfs" else set())
        if not sizes <= known:
            return f"tensors of shapes {sorted(map(list, sizes))} for {shape[:1]} channels"
    for name in _ONE_AN_AXIS & node.attrs.keys():
        if node.op != "local_response_norm" and len(node.attrs[name]) != len(shape) - 1:
            return f"{name} {list(node.attrs[name])} for {len(shape) - 1} axes"
    if node.op in ("conv", "conv_transpose", "linear"):
        return _misfit_weights(node, shape, tensors)
    if "batches" in tensors and tensors["batches"].dim():
        return f"a number of batches of shape {list(tensors['batches'].shape)}"
    if node.op in ("add", "multiply", "matmul") and len(shape) != len(shapes[1]):
        return f"operands of {len(shape)} and {len(shapes[1])} axes"
    return None

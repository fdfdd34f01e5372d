"""Reshapes that keep samples apart, concatenations and stacks."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from snnconv.frontends.lowering.arithmetic import line
from snnconv.frontends.lowering.batch_axis import Result, moved, of_more_samples
from snnconv.frontends.lowering.call import Call, as_moved, file_dims
from snnconv.frontends.lowering.contract import (
    BATCH,
    Activation,
    BatchAxis,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
)
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.wiring import Shaped, Slice
from snnconv.graph.remedies import BATCH_FIRST


def reshape(shape: Shape, x: object, *to: object, **named: object) -> NodeSpec:
    """Lower any reshape that keeps samples apart; the value's own shape is the target."""
    if not shape or shape[0] != activation(x).shape[0]:
        raise Refused("a reshape that mixes samples", BATCH_FIRST)
    return NodeSpec("reshape", [activation(x)], Shaped(shape=list(shape[1:])))


def concat(shape: Shape, tensors: Sequence[object], dim: int = 0) -> NodeSpec:
    """Lower a concatenation of activations and tensors along an axis of the samples.

    Such a tensor is the same for every sample, as the class token of a transformer is.
    """
    dim %= len(shape)
    if dim == 0:
        raise Refused("a concatenation over the batch", BATCH_FIRST)
    among = next((x for x in tensors if isinstance(x, Activation)), None)
    if among is None:
        raise Refused("a concatenation without an activation")
    sources = [_for_each_sample(x, among, dim) if isinstance(x, Stored) else x for x in tensors]
    return NodeSpec("concat", [_operand(x) for x in sources], Along(dim=dim))


def _operand(x: object) -> Activation | NodeSpec:
    return x if isinstance(x, NodeSpec) else activation(x)


def _for_each_sample(tensor: Stored, among: Activation, dim: int) -> NodeSpec:
    """Return a tensor ``[1 or B, *N]`` as a value of every sample.

    Args:
        tensor: the network's own.
        among: an activation of the same shape but for one axis; places of it are cleared.
        dim: the axis that may differ.
    """
    value, size = tensor.value.detach(), tensor.value.shape[dim]
    if not bool((value == value[:1]).all()):
        raise Refused(f"the constant '{tensor.name}', which differs from sample to sample")
    if size > among.shape[dim]:
        found = f"the tensor '{tensor.name}', which is longer than the value it stands by"
        raise Refused(f"a concatenation with {found}")
    places = Slice(dim=dim, start=0, stop=size, step=1)
    return line(NodeSpec("slice", [among], places), 0.0, value[0].float(), learned=True)


def stack(shape: Shape, tensors: Sequence[object], dim: int = 0) -> NodeSpec:
    """Lower a concatenation along a new axis of the samples."""
    dim %= len(shape)
    if dim == 0:
        raise Refused("a stack over the batch", BATCH_FIRST)
    one = [1 if axis == dim else n for axis, n in enumerate(shape)][1:]
    sources = [NodeSpec("reshape", [activation(x)], Shaped(shape=one)) for x in tensors]
    return NodeSpec("concat", sources, Along(dim=dim))


def _as_shape(x: Activation, sample: Sequence[int]) -> NodeSpec:
    """Reshape each sample by itself."""
    if math.prod(sample) != math.prod(x.shape[1:]):
        raise Refused("a reshape that mixes samples", BATCH_FIRST)
    return NodeSpec("reshape", [x], Shaped(shape=[int(n) for n in sample]))


def onnx_reshape(call: Call) -> NodeSpec:
    """Lower ``Reshape``; a literal batch in it counts as the batch, whatever its size."""
    x, sizes = call.x, call.numbers("shape", 1) or []
    if not call.number("allowzero", 0):
        sizes = [x.shape[k] if n == 0 and k < len(x.shape) else n for k, n in enumerate(sizes)]
    batch, sample = sizes[:1], sizes[1:]
    if sample.count(-1) == 1:
        known = -math.prod(sample)
        sample[sample.index(-1)] = math.prod(x.shape[1:]) // max(known, 1)
    if not batch or batch[0] not in {-1, 1, BATCH, call.batch}:
        raise Refused("a reshape that mixes samples", BATCH_FIRST)
    return _as_shape(x, sample)


def onnx_flatten(call: Call) -> NodeSpec:
    """Lower ``Flatten`` to two axes: the batch, and all others."""
    x = call.x
    axis = call.number("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    if axis < 1 or math.prod(x.shape[1:axis]) != 1:
        raise Refused(f"flattening from axis {axis}, which mixes samples", BATCH_FIRST)
    return _as_shape(x, [math.prod(x.shape[1:])])


def onnx_squeeze(call: Call) -> NodeSpec:
    """Lower ``Squeeze``, which drops axes of size 1: the named ones, or all of the sample's."""
    x = call.x
    axes = call.numbers("axes", 1)
    if axes is None:
        axes = [k for k, n in enumerate(x.shape) if k and n == 1]
    gone = {int(axis) % len(x.shape) for axis in axes}
    if 0 in gone:
        raise Refused("a squeeze of the batch", BATCH_FIRST)
    return _as_shape(x, [n for k, n in enumerate(x.shape) if k and k not in gone])


def onnx_unsqueeze(call: Call) -> NodeSpec:
    """Lower ``Unsqueeze``, which adds axes of size 1."""
    x, axes = call.x, call.numbers("axes", 1) or []
    rank = len(x.shape) + len(axes)
    new = {int(axis) % rank for axis in axes}
    if 0 in new:
        raise Refused("an axis before the batch", BATCH_FIRST)
    old = iter(x.shape)
    return _as_shape(x, [1 if k in new else next(old) for k in range(rank)][1:])


def onnx_shape(call: Call) -> Stored:
    """Lower ``Shape``, which is constant except for the batch."""
    start, end = call.number("start", 0), call.number("end", None)
    return Stored("", torch.tensor(call.x.shape[start:end], dtype=torch.int64))


def onnx_concat(call: Call) -> NodeSpec:
    """Lower ``Concat`` along an axis of the samples."""
    among = next((x for x in call.operands if isinstance(x, Activation)), None)
    if among is None:
        raise Refused("a concatenation without an activation")
    return concat(among.shape, call.operands, call.number("axis", 0))


def moved_reshape(call: Call) -> Result | list[Any]:
    """Lower a reshape with the batch at any axis, which it may share with places of a sample.

    Where the file has the batch as a number, any size that is a multiple of it may be the one.
    """
    x = as_moved(call.operand(0))
    dims, sizes = file_dims(x), [int(n) for n in call.numbers("shape", 1) or []]
    if not call.number("allowzero", 0):
        sizes = [dims[k] if n == 0 and k < len(dims) else n for k, n in enumerate(sizes)]
    for meant in _meant(sizes, dims, x.batch, call.batch or 1):
        try:
            return moved(x, partial(torch.reshape, shape=meant))
        except (Refused, RuntimeError):  # sizes that do not fit, or that mix samples
            continue
    raise Refused("a reshape that mixes samples", BATCH_FIRST)


def _meant(sizes: list[int], dims: list[int], batch: int, literal: int) -> Iterator[list[int]]:
    """Yield the sizes that a reshape of :data:`BATCH` samples may have, the likeliest first.

    Args:
        sizes: the file's.
        dims: the shape before.
        batch: the axis that the batch is before.
        literal: the file's own number of samples.
    """
    places = sorted(range(len(sizes)), key=lambda k: (k != batch, k))
    for place in places:
        if sizes[place] in {-1, 1, BATCH, literal}:
            yield [BATCH if k == place else n for k, n in enumerate(sizes)]
    # if axes become one, the samples come first: they are rows of a matrix
    yield from of_more_samples(sizes, sorted(places) if len(sizes) < len(dims) else places, literal)


def moved_shape(call: Call) -> Stored:
    """Lower ``Shape`` to the sizes that the file has."""
    start, end = call.number("start", 0), call.number("end", None)
    return Stored(
        "", torch.tensor(file_dims(as_moved(call.operand(0)))[start:end], dtype=torch.int64)
    )


LOWERINGS = (
    Lowering(
        make=reshape,
        batch_axis=BatchAxis.MOVES,
        modules={nn.Flatten: (), nn.Unflatten: ()},
        functions=(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze),
        methods=(
            *("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze"),
            *("view_as", "reshape_as"),
        ),
        aten=(
            *("view", "reshape", "_unsafe_view", "view_as", "reshape_as"),
            *("flatten.using_ints", "unflatten.int"),
            *("squeeze", "squeeze.dim", "squeeze.dims", "unsqueeze"),
        ),
        onnx={
            "Reshape": Onnx(onnx_reshape, moved=moved_reshape),
            "Flatten": Onnx(onnx_flatten),
            "Squeeze": Onnx(onnx_squeeze),
            "Unsqueeze": Onnx(onnx_unsqueeze),
            "Shape": Onnx(onnx_shape, moved=moved_shape),
        },
    ),
    Lowering(
        make=concat,
        batch_axis=BatchAxis.ALONG,
        functions=(torch.cat, torch.concat, torch.concatenate),
        aten=("cat", "concat"),
        onnx={"Concat": Onnx(onnx_concat, ("axis", None))},
    ),
    Lowering(make=stack, batch_axis=BatchAxis.FIRST, functions=(torch.stack,), aten=("stack",)),
)

"""``einsum``: products over labelled axes, as matrix products, linear layers and scales."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from snnconv.frontends.lowering.arithmetic import constant, line
from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.call import Call
from snnconv.frontends.lowering.contract import (
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
from snnconv.graph.operations.pooling import Mean
from snnconv.graph.operations.weighted import Conv
from snnconv.graph.operations.wiring import Permute, Shaped
from snnconv.graph.remedies import BATCH_FIRST

Labels = list[str]
"""The names of a value's axes, in order."""


class _Value(NamedTuple):
    """An activation and the names of its axes, the first of which is the batch."""

    x: Activation | NodeSpec
    labels: Labels


class _Own(NamedTuple):
    """A tensor of the network's own and the names of its axes."""

    tensor: Tensor
    labels: Labels


def einsum(shape: Shape, equation: object, *operands: object, path: object = None) -> NodeSpec:
    """Lower a sum of products over labelled axes: one activation, two, or one and a tensor.

    The batch has a label of its own, which stands first in every activation and in the output.
    """
    given = operands[0] if len(operands) == 1 else operands
    given = given if isinstance(given, list | tuple) else [given]
    if not isinstance(equation, str):
        found = "an einsum whose axes are lists of numbers"
        raise Refused(found, 'name them by letters: torch.einsum("bij,bjk->bik", x, y)')
    if len(given) > 2:
        found = f"einsum '{equation}' of {len(given)} operands"
        raise Refused(found, "multiply two of them first: one einsum after another")
    taken = [x if isinstance(x, Stored) else activation(x) for x in given]
    shapes = [tuple(x.value.shape) if isinstance(x, Stored) else x.shape for x in taken]
    named, output = _parsed(equation, [len(own) for own in shapes])
    if any(len(set(labels)) < len(labels) for labels in named):
        found = f"einsum '{equation}', which takes a diagonal"
        raise Refused(found, "multiply by torch.eye(n) instead, and sum: (x * eye).sum(-1)")
    _check_batch(equation, taken, named, output)
    size: dict[str, int] = {}
    for label, n in chain(*(zip(*pair, strict=True) for pair in zip(named, shapes, strict=True))):
        size[label] = n if size.get(label, 1) == 1 else size[label]
    values, owned = [], []
    for x, labels in zip(taken, named, strict=True):
        elsewhere = set(output).union(*(other for other in named if other is not labels))
        if isinstance(x, Stored):
            owned.append(_own(x.value.detach(), labels, elsewhere, size))
        else:
            values.append(_expanded(_summed(_Value(x, labels), elsewhere), size))
    made = values[0]
    if owned:
        made = _with_tensor(made, owned[0], output, size)
    elif len(values) == 2:
        made = _of_two(made, values[1], output, size)
    turned = _in_blocks(made, [[label] for label in output], size)
    return turned if isinstance(turned, NodeSpec) else NodeSpec("identity", [turned])


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Return the labels of all operands and of the output; the equation may leave out the latter.

    Axes of an ellipsis are numbered from the right, as they broadcast.
    """
    before, arrow, behind = equation.replace(" ", "").partition("->")
    dots = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(before.split(","), ranks, strict=True)
    ]
    named = [_labels(term, n) for term, n in zip(before.split(","), dots, strict=True)]
    if arrow:
        return named, _labels(behind, max(dots))
    count = Counter(chain(*named))
    once = sorted(label for label, n in count.items() if n == 1 and len(label) == 1)
    return named, _labels("...", max(dots)) + once


def _labels(term: str, dots: int) -> Labels:
    """Return the labels of a term whose ellipsis stands for this many axes."""
    before, ellipsis, behind = term.partition("...")
    between = [f"...{n}" for n in range(dots, 0, -1)] if ellipsis else []
    return [*before, *between, *behind]


def _check_batch(
    equation: str, given: Sequence[object], named: Sequence[Labels], output: Labels
) -> None:
    """Refuse an einsum whose batch has no label of its own, the first of activations and output."""
    batch = output[:1]
    for x, labels in zip(given, named, strict=True):
        apart = not set(batch) & set(labels) if isinstance(x, Stored) else labels[:1] == batch
        if not apart or not batch:
            raise Refused(f"einsum '{equation}', which mixes samples", BATCH_FIRST)


def _summed(value: _Value, kept: set[str]) -> _Value:
    """Sum a value over the axes that neither the output nor the other operand has."""
    dims = [axis for axis, label in enumerate(value.labels) if label not in kept]
    if not dims:
        return value
    own = shape_of(value.x)
    mean = NodeSpec("mean", [value.x], Mean(dims=dims, keepdim=True))
    total = line(mean, math.prod(own[axis] for axis in dims))
    left = [axis for axis, label in enumerate(value.labels) if label in kept]
    summed = _reshaped(total, [own[axis] for axis in left[1:]])
    return _Value(summed, [value.labels[axis] for axis in left])


def _expanded(value: _Value, size: dict[str, int]) -> _Value:
    """Expand a value's axes of size 1 to the length of the other operand's."""
    wanted = [size[label] for label in value.labels[1:]]
    if wanted == list(shape_of(value.x)[1:]):
        return value
    return _Value(NodeSpec("expand", [value.x], Shaped(shape=wanted)), value.labels)


def _own(tensor: Tensor, labels: Labels, kept: set[str], size: dict[str, int]) -> _Own:
    """Sum and expand a tensor of the network in the same way."""
    alone = [axis for axis, label in enumerate(labels) if label not in kept]
    left = [label for label in labels if label in kept]
    summed = tensor.sum(alone) if alone else tensor
    return _Own(summed.expand([size[label] for label in left]), left)


def _of_two(x: _Value, y: _Value, output: Labels, size: dict[str, int]) -> _Value:
    """Multiply two activations: as matrices, or each number if the product sums over nothing."""
    shared = [label for label in x.labels if label in y.labels]
    each = [[label] for label in shared if label in output]
    over = [label for label in shared if label not in output]
    rows = [label for label in x.labels if label not in shared]
    columns = [label for label in y.labels if label not in shared]
    if over:
        left = _in_blocks(x, [*each, rows, over], size)
        right = _in_blocks(y, [*each, over, columns], size)
    else:
        left = _in_blocks(x, [*each, *([row] for row in rows), *([] for _ in columns)], size)
        right = _in_blocks(y, [*each, *([] for _ in rows), *([one] for one in columns)], size)
    product = NodeSpec("matmul" if over else "multiply", [left, right])
    return _apart(product, [*chain(*each), *rows, *columns], size)


def _with_tensor(x: _Value, own: _Own, output: Labels, size: dict[str, int]) -> _Value:
    """Multiply by a tensor: a scale, a linear layer, or a linear layer for each part."""
    batch, *places = x.labels
    each = [label for label in places if label in own.labels and label in output]
    over = [label for label in places if label in own.labels and label not in output]
    rows = [label for label in places if label not in own.labels]
    columns = [label for label in own.labels if label not in places]
    matrix = own.tensor.permute([own.labels.index(label) for label in [*each, *columns, *over]])
    if not over and not columns:
        order = [each.index(label) for label in places if label in each]
        sizes = [size[label] if label in each else 1 for label in places] or [1]
        source = _reshaped(x.x, [size[label] for label in places] or [1])
        factor = constant(shape_of(source), Stored("", matrix.permute(order).reshape(sizes)))
        return _apart(line(source, factor, learned=True), x.labels, size)
    parts, inner = (math.prod(size[label] for label in labels) for labels in (each, over))
    if not each:
        weight = {"weight": Stored("", matrix.reshape(-1, inner))}
        source = _in_blocks(x, [[batch], *([row] for row in rows), over], size)
        return _apart(NodeSpec("linear", [source], None, weight), [batch, *rows, *columns], size)
    weight = {"weight": Stored("", matrix.reshape(-1, inner, 1))}
    source = _in_blocks(x, [[batch], [*each, *over], rows], size)
    attrs = Conv(stride=[1], padding=[0], dilation=[1], groups=parts)
    layers = NodeSpec("conv", [source], attrs, weight)
    return _apart(layers, [batch, *each, *columns, *rows], size)


def _in_blocks(
    value: _Value, blocks: Sequence[Labels], size: dict[str, int]
) -> Activation | NodeSpec:
    """Return a value with one axis for each block of labels; the first block is the batch alone."""
    order, x = [value.labels.index(label) for label in chain(*blocks)], value.x
    if order != sorted(order):
        x = NodeSpec("permute", [x], Permute(dims=order[1:]))
    return _reshaped(x, [math.prod(size[label] for label in block) for block in blocks[1:]])


def _apart(x: NodeSpec, labels: Labels, size: dict[str, int]) -> _Value:
    """Return a value with one axis for each label."""
    return _Value(_reshaped(x, [size[label] for label in labels[1:]]), labels)


def _reshaped(x: Activation | NodeSpec, sample: list[int]) -> Activation | NodeSpec:
    same = list(shape_of(x)[1:]) == sample
    return x if same else NodeSpec("reshape", [x], Shaped(shape=sample))


def onnx_einsum(call: Call) -> NodeSpec:
    """Lower ``Einsum`` of an ONNX file."""
    return einsum((), call.attrs["equation"], *call.operands)


LOWERINGS = (
    Lowering(
        make=einsum,
        batch_axis=BatchAxis.FIRST,
        functions=(torch.einsum,),
        aten=("einsum",),
        onnx={"Einsum": Onnx(onnx_einsum)},
    ),
)

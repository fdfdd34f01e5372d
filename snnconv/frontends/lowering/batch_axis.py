"""Values whose batch is not the first axis, as recurrences without ``batch_first`` want it.

In the graph the batch comes first always. A call that only moves the batch makes no node: the value
stays, and which axis the network has for its batch is noted beside it.

What a move does is seen in what it does to the places of a sample's numbers, whatever it is called.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconv.frontends.lowering import (
    arithmetic,
    attention,
    functions,
    layers,
    movement,
    piecewise,
    reductions,
    sequences,
)
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchMoved,
    NodeMaker,
    NodeSpec,
    Refused,
    Shape,
    Stored,
)
from snnconv.frontends.torch import aten
from snnconv.graph.remedies import BATCH_FIRST

Result = NodeSpec | Activation | BatchMoved
Again = Callable[[Tensor], Any]
"""A call of the trace, made once more on other numbers of the same shape."""

MOVES: frozenset[NodeMaker] = frozenset(
    (
        *(movement.reshape, movement.permute, movement.transpose, movement.t, movement.movedim),
        *(
            movement.getitem,
            movement.select,
            movement.narrow,
            movement.split,
            movement.chunk,
            movement.unbind,
        ),
        movement.tensor_split,
        *(movement.index_select, movement.identity, movement.rearranged, aten.slice_, aten.index),
    )
)
"""Forms that move numbers, and change none."""

_EACH: frozenset[NodeMaker] = frozenset(
    (
        *(piecewise.relu, piecewise.relu6, piecewise.hardtanh, piecewise.hardsigmoid),
        *(piecewise.clamp, piecewise.clamp_max, piecewise.threshold, piecewise.softshrink),
        *(piecewise.leaky_relu, piecewise.prelu, piecewise.rrelu, piecewise.magnitude),
        *(layers.linear, movement.dropout, sequences.embedding, aten.embedding, sequences.whole),
        *(functions.pointwise, functions.gelu, functions.elu, functions.softplus),
        aten.identity,
    )
)
"""Forms that change each number by itself, or each row of the last axis."""

_SUMS: frozenset[NodeMaker] = frozenset(
    (
        *(arithmetic.add, arithmetic.sub, arithmetic.rsub, arithmetic.neg, arithmetic.mul),
        *(piecewise.maximum, piecewise.minimum),
    )
)
_COMPARISONS: Mapping[NodeMaker, NodeMaker] = {
    reductions.max_: piecewise.maximum,
    reductions.min_: piecewise.minimum,
}
"""What ``max(x, other)`` is, of which ``max(x, dim)`` is along an axis."""
_ALONG: frozenset[NodeMaker] = frozenset(
    (
        *(movement.concat, reductions.mean, reductions.sum_),
        *(reductions.amax, reductions.max_, reductions.amin, reductions.min_),
    )
)
"""Forms along axes that are named."""


def made(
    form: NodeMaker,
    shape: Shape,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    again: Again,
) -> Result | list[Any]:
    """What a call gives of operands whose batch is not the first axis.

    Args:
        form: the call's, for a batch that comes first.
        shape: of its value, as the network has it.
        arguments: its own, by position.
        keywords: its own, by name.

    Raises:
        Refused: it mixes samples, or is not known for such operands.
    """
    kind = form.func if isinstance(form, partial) else form
    if kind is aten.typed and isinstance(form, partial):
        form = kind = form.args[0]
        aten.float32(keywords.get("dtype"))
        keywords = {name: value for name, value in keywords.items() if name != "dtype"}
    others = [*arguments[1:2], *[keywords[name] for name in ("other",) if name in keywords]]
    if kind in _COMPARISONS and any(
        isinstance(x, Activation | BatchMoved | Stored) for x in others
    ):
        form = kind = _COMPARISONS[kind]
    if kind in MOVES:
        return moved(arguments[0], again)
    bound = inspect.signature(form).bind(shape, *arguments, **keywords).arguments
    given = [x for value in bound.values() for x in (value if isinstance(value, list) else [value])]
    batches = {x.batch for x in given if isinstance(x, BatchMoved)}
    batches |= {0 for x in given if isinstance(x, Activation)}
    (x, *_) = (x for x in given if isinstance(x, BatchMoved))
    if len(batches) > 1:
        raise Refused("operands whose batch is not the same axis", BATCH_FIRST)
    first = {name: _first(value) for name, value in bound.items()}
    if kind in (sequences.recurrent, sequences.operator, attention.module):
        return _recurrence(form, x.batch, first)
    rank, last = len(_shape(x)), x.batch == len(_shape(x)) - 1
    if kind in _ALONG:
        return _along(form, first, x.batch, rank)
    constants = [value.value for value in given if isinstance(value, Stored)]
    by_place = kind in _SUMS and any(constant.dim() > 1 for constant in constants)
    by_place |= kind is piecewise.prelu and any(c.numel() > 1 for c in constants)
    by_row = kind is layers.linear or (kind in _SUMS and any(c.numel() > 1 for c in constants))
    if kind not in _EACH | _SUMS or by_place or (last and by_row):
        raise Refused("it stands behind what moves the batch", BATCH_FIRST)
    first["shape"] = (shape[x.batch], *shape[: x.batch], *shape[x.batch + 1 :])
    return BatchMoved(_called(form, first), x.batch)


def moved(x: Activation | BatchMoved, again: Again) -> Result | list[Any]:
    """What a move of numbers gives, wherever it leaves the batch.

    Raises:
        Refused: it leaves the samples on no axis of their own.
    """
    source, batch = (x.x, x.batch) if isinstance(x, BatchMoved) else (x, 0)
    assert isinstance(source, Activation)
    codes = torch.arange(math.prod(source.shape)).view(source.shape)  # of samples, then of places
    found = again(codes.movedim(0, batch).contiguous())
    if isinstance(found, Tensor):
        return _moved(source, found)
    return [_moved(source, piece) for piece in found]


def _moved(x: Activation, codes: Tensor) -> Result:
    """The value that has the numbers with these codes."""
    count = math.prod(x.shape[1:])
    samples = torch.arange(x.shape[0]).view(-1, *[1] * (codes.dim() - 1))
    for axis in range(codes.dim()):
        rows = codes.movedim(axis, 0)
        mine = len(rows) == len(samples) and bool((rows[0] < count).all())
        if mine and torch.equal(rows, rows[:1] + samples * count):
            value = _picked(x, rows[0])
            return BatchMoved(value, axis) if axis else value
    raise Refused("a reshape that mixes samples", BATCH_FIRST)


def _picked(x: Activation, places: Tensor) -> NodeSpec | Activation:
    """A sample's numbers at places, in their shape."""
    shape, own, flat = list(places.shape), x.shape[1:], places.reshape(-1)
    every = torch.arange(math.prod(own)).view(own)
    for order in itertools.permutations(range(len(own))):
        if torch.equal(every.permute(order).reshape(-1), flat):
            dims = [axis + 1 for axis in order]
            turned = x if dims == sorted(dims) else NodeSpec("permute", [x], {"dims": dims})
            same = [own[axis] for axis in order] == shape
            return turned if same else NodeSpec("reshape", [turned], {"shape": shape})
    if not flat.numel():
        raise Refused("a value without a place")
    if (taken := _by_axes(x, places)) is not None:
        return taken
    row = NodeSpec("reshape", [x], {"shape": [every.numel()]})
    start, step = int(flat[0]), int(flat[1] - flat[0]) if len(flat) > 1 else 1
    stop = start + step * len(flat)
    if step > 0 and torch.equal(torch.arange(start, stop, step), flat):
        taken = NodeSpec("slice", [row], {"dim": 1, "start": start, "stop": stop, "step": step})
    else:
        taken = NodeSpec("take", [row], {"dim": 1, "places": flat.tolist()})
    return NodeSpec("reshape", [taken], {"shape": shape})


def _by_axes(x: Activation, places: Tensor) -> NodeSpec | None:
    """The same where each axis keeps its own: turned round, repeated, or a part of it."""
    own = x.shape[1:]
    if places.dim() != len(own):
        return None
    value: NodeSpec | Activation = x
    for axis, index in enumerate(torch.unravel_index(places, own)):
        rows = index.movedim(axis, 0).flatten(1)
        if not (rows == rows[:, :1]).all():
            return None
        if own[axis] > 1 and (taken := rows[:, 0].tolist()) != list(range(own[axis])):
            value = NodeSpec("take", [value], {"dim": axis + 1, "places": taken})
    if any(n > 1 == old for n, old in zip(places.shape, own, strict=True)):
        value = NodeSpec("expand", [value], {"shape": list(places.shape)})
    assert isinstance(value, NodeSpec)  # else it would have been no move
    return value


def _recurrence(form: NodeMaker, batch: int, first: dict[str, Any]) -> list[Any]:
    """A recurrence or an attention over the first axis, of samples on the second."""
    if first["batch_first"] or batch != 1:
        raise Refused("sequences whose batch is not where batch_first says", BATCH_FIRST)
    outputs, *states = _called(form, first | {"batch_first": True})
    return [BatchMoved(outputs, 1), *states]


def _along(form: NodeMaker, first: dict[str, Any], batch: int, rank: int) -> Result | list[Any]:
    """A form along axes, which are others where the batch comes first."""
    dim = first.get("dim")
    if dim is None:
        raise Refused("all axes at once, which mixes samples", BATCH_FIRST)
    dims = [int(n) % rank for n in (dim if isinstance(dim, list | tuple) else [dim])]
    own = [0 if axis == batch else axis + (axis < batch) for axis in dims]
    found = _called(form, first | {"dim": own if isinstance(dim, list | tuple) else own[0]})
    stays = "tensors" in first or first.get("keepdim", False)
    left = batch if stays else batch - sum(axis < batch for axis in dims)

    def back(value: NodeSpec) -> Result:
        return BatchMoved(value, left) if left else value

    return [back(one) for one in found] if isinstance(found, list) else back(found)


def _called(form: NodeMaker, arguments: Mapping[str, Any]) -> Any:
    signature = inspect.signature(form)
    bound = signature.bind_partial()
    bound.arguments = dict(arguments)
    return form(*bound.args, **bound.kwargs)


def _first(value: Any) -> Any:
    """An operand, or several, with the batch first."""
    if isinstance(value, list):
        return [_first(one) for one in value]
    return value.x if isinstance(value, BatchMoved) else value


def _shape(x: BatchMoved) -> Shape:
    assert isinstance(x.x, Activation)
    return x.x.shape

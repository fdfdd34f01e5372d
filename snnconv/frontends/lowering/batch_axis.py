"""Values whose batch is not the first axis, as in recurrences without ``batch_first``.

In the graph the batch always comes first. A call that only moves the batch makes no node: the value
stays as it is, and a note says which axis is the batch in the network.

The translator runs a move on the places of a sample's numbers to see what it does; the name of the
call does not matter.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconv.frontends.lowering.contract import (
    BATCH,
    Activation,
    BatchAxis,
    BatchMoved,
    Lowering,
    NodeMaker,
    NodeSpec,
    Refused,
    Shape,
    Stored,
)
from snnconv.graph.operations.wiring import Permute, Shaped, Slice, Take
from snnconv.graph.remedies import BATCH_FIRST

Result = NodeSpec | Activation | BatchMoved
Again = Callable[[Tensor], Any]
"""A call of the trace, made once more on other numbers of the same shape."""


def lowered(
    lowering: Lowering,
    shape: Shape,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    again: Again,
) -> Result | list[Any]:
    """Lower a call on operands whose batch is not the first axis.

    Args:
        lowering: the lowering of the call.
        shape: the shape of its value in the network.
        arguments: its arguments by position.
        keywords: its arguments by name.
        again: makes the call once more.

    Raises:
        Refused: the call mixes samples, or is unknown for these operands.
    """
    make, rule = lowering.make, lowering.batch_axis
    others = [*arguments[1:2], *[keywords[name] for name in ("other",) if name in keywords]]
    if lowering.pair and any(isinstance(x, Activation | BatchMoved | Stored) for x in others):
        make, rule = lowering.pair, BatchAxis.BROADCASTS
    if rule is BatchAxis.MOVES:
        return moved(arguments[0], again)
    bound = inspect.signature(make).bind(shape, *arguments, **keywords).arguments
    given = [
        x
        for value in bound.values()
        for x in (value if isinstance(value, list | tuple) else [value])
    ]
    moves = [x for x in given if isinstance(x, BatchMoved)]
    places = {(x.batch, x.before, x.behind) for x in moves}
    if len(places) > 1 or any(isinstance(x, Activation) for x in given):
        raise Refused("operands whose batch is not the same axis", BATCH_FIRST)
    x = moves[0]
    first = {name: _first(value) for name, value in bound.items()}
    if rule is BatchAxis.SEQUENCES:
        return _recurrence(make, x, first)
    if rule is BatchAxis.ALONG:
        return _along(make, first, x, shape)
    first["shape"] = in_graph(shape, x)
    constants = [value.value for value in given if isinstance(value, Stored)]
    if rule is BatchAxis.BROADCASTS:
        first = {
            name: beside(value, x) if isinstance(value, Stored) else value
            for name, value in first.items()
        }
    if rule is BatchAxis.LAST:
        over = bound["normalized_shape"]
        rule = BatchAxis.ROWS if isinstance(over, int) or len(over) == 1 else BatchAxis.FIRST
    if not keeps_samples(rule, constants, axes_behind=_rank(x) - 1 - x.batch):
        raise Refused("it stands behind what moves the batch", BATCH_FIRST)
    found = _called(make, first)
    if isinstance(found, list):
        return [replace(x, x=one) for one in found]
    return replace(x, x=found)


def keeps_samples(rule: BatchAxis, constants: Sequence[Tensor], *, axes_behind: int) -> bool:
    """Whether a call does the same to values whose batch comes first.

    Args:
        rule: the rule of the call.
        constants: the network's own tensors among its operands.
        axes_behind: how many axes follow the batch.
    """
    match rule:
        case BatchAxis.EACH | BatchAxis.BROADCASTS:
            return True
        case BatchAxis.CHANNELS:
            return all(constant.numel() == 1 for constant in constants)
        case BatchAxis.ROWS:
            return axes_behind > 0
        case BatchAxis.MATRICES:
            return axes_behind > (0 if constants else 1)
    return False


def beside(constant: Stored, x: BatchMoved) -> Stored:
    """Return a constant operand of a value, in the shape in which it broadcasts in the graph.

    Raises:
        Refused: it differs along the axis of the batch.
    """
    value, rank = constant.value, _rank(x)
    if value.numel() == 1 or value.dim() < rank - x.batch:  # all of it stands behind the batch
        return constant
    if value.dim() > rank:
        raise Refused("a constant that the value is expanded to", "expand the value before")
    whole = value[(None,) * (rank - value.dim())]
    if whole.shape[x.batch] != 1:
        found = f"the constant '{constant.name}', which differs from sample to sample"
        raise Refused(found, BATCH_FIRST)
    first = whole.movedim(x.batch, 0)
    return Stored("", first.unsqueeze(1) if x.folded > 1 else first)


def moved(x: Activation | BatchMoved, again: Again) -> Result | list[Any]:
    """Return the value of a call that only moves numbers, with the batch at any axis.

    Raises:
        Refused: afterwards no axis has the samples, alone or together with their own places.
    """
    at = x if isinstance(x, BatchMoved) else BatchMoved(x, 0)
    source = at.x
    assert isinstance(source, Activation)
    codes = torch.arange(math.prod(source.shape)).view(source.shape)  # of samples, then of places
    found = again(_as_in_network(codes, at).contiguous())
    if isinstance(found, Tensor):
        return _moved(source, found)
    return [_moved(source, piece) for piece in found]


def of_more_samples(
    sizes: Sequence[int], places: Iterable[int], literal: int
) -> Iterator[list[int]]:
    """Return sizes as they are, and for :data:`BATCH` samples in place of the file's own number.

    Args:
        sizes: the sizes of a value in the file.
        places: the axes that may have the samples, the likeliest first.
        literal: the file's own number of samples.
    """
    yield list(sizes)
    for place in places:
        if sizes[place] > 0 and sizes[place] % literal == 0:
            more = sizes[place] // literal * BATCH
            yield [more if k == place else n for k, n in enumerate(sizes)]


def _as_in_network(value: Tensor, at: BatchMoved) -> Tensor:
    """Return a value of the graph as the network has it."""
    if at.folded > 1:
        samples, _, *others = value.shape
        apart = value.view(samples, at.before, at.behind, *others).movedim(0, 1)
        value = apart.reshape(-1, *others)
    return value.movedim(0, at.batch)


def in_graph(shape: Shape, at: BatchMoved) -> Shape:
    """Return the shape that a value of the network has in the graph."""
    others = (*shape[: at.batch], *shape[at.batch + 1 :])
    folded = (at.folded,) if at.folded > 1 else ()
    return (shape[at.batch] // at.folded, *folded, *others)


def _moved(x: Activation, codes: Tensor) -> Result:
    """Return the value whose numbers have these codes."""
    samples, count = x.shape[0], math.prod(x.shape[1:])
    first = torch.arange(samples) * count
    fitting = [axis for axis, n in enumerate(codes.shape) if n and n % samples == 0]
    for axis in sorted(fitting, key=lambda axis: codes.shape[axis] > samples):  # alone at best
        folded = codes.shape[axis] // samples
        others = [n for other, n in enumerate(codes.shape) if other != axis]
        for before in (n for n in range(1, folded + 1) if folded % n == 0):
            apart = codes.movedim(axis, 0).reshape(before, samples, folded // before, *others)
            rows = apart.movedim(1, 0).flatten(1)
            own = bool((rows[0] < count).all())
            if own and torch.equal(rows, rows[:1] + first[:, None]):
                shape = others if folded == 1 else [folded, *others]
                value = _picked(x, rows[0].reshape(shape))
                plain = axis == 0 and folded == 1
                return value if plain else BatchMoved(value, axis, before, folded // before)
    raise Refused("a reshape that mixes samples", BATCH_FIRST)


def _picked(x: Activation, places: Tensor) -> NodeSpec | Activation:
    """Return a sample's numbers at these places, in their shape."""
    shape, own, flat = list(places.shape), x.shape[1:], places.reshape(-1)
    every = torch.arange(math.prod(own)).view(own)
    for order in itertools.permutations(range(len(own))):
        if torch.equal(every.permute(order).reshape(-1), flat):
            dims = [axis + 1 for axis in order]
            turned = x if dims == sorted(dims) else NodeSpec("permute", [x], Permute(dims=dims))
            same = [own[axis] for axis in order] == shape
            return turned if same else NodeSpec("reshape", [turned], Shaped(shape=shape))
    if not flat.numel():
        raise Refused("a value without a place")
    if (taken := _by_axes(x, places)) is not None or (taken := _strided(x, places)) is not None:
        return taken
    row = NodeSpec("reshape", [x], Shaped(shape=[every.numel()]))
    start, step = int(flat[0]), int(flat[1] - flat[0]) if len(flat) > 1 else 1
    stop = start + step * len(flat)
    if step > 0 and torch.equal(torch.arange(start, stop, step), flat):
        taken = NodeSpec("slice", [row], Slice(dim=1, start=start, stop=stop, step=step))
    else:
        taken = NodeSpec("take", [row], Take(dim=1, places=flat.tolist()))
    return NodeSpec("reshape", [taken], Shaped(shape=shape))


def _by_axes(x: Activation, places: Tensor) -> NodeSpec | None:
    """Make the move if each axis keeps its own places: reversed, repeated, or some of them."""
    own = x.shape[1:]
    if places.dim() != len(own):
        return None
    value: NodeSpec | Activation = x
    for axis, index in enumerate(torch.unravel_index(places, own)):
        rows = index.movedim(axis, 0).flatten(1)
        if not (rows == rows[:, :1]).all():
            return None
        if own[axis] > 1 and (taken := rows[:, 0].tolist()) != list(range(own[axis])):
            value = NodeSpec("take", [value], Take(dim=axis + 1, places=taken))
    if any(n > 1 == old for n, old in zip(places.shape, own, strict=True)):
        value = NodeSpec("expand", [value], Shaped(shape=list(places.shape)))
    assert isinstance(value, NodeSpec)  # otherwise it would have been no move
    return value


def _strided(x: Activation, places: Tensor) -> NodeSpec | None:
    """Make the move if every number stays: axes are split, and put in another order."""
    count, shape = math.prod(x.shape[1:]), list(places.shape)
    axes = [axis for axis, n in enumerate(shape) if n > 1]
    origin = (0,) * len(shape)
    strides = {
        axis: int(places[tuple(int(other == axis) for other in range(len(shape)))] - places[origin])
        for axis in axes
    }
    order = sorted(axes, key=lambda axis: -strides[axis])
    apart = [shape[axis] for axis in order]
    back = [order.index(axis) for axis in axes]
    every = torch.arange(count)
    if math.prod(apart) != count or not torch.equal(
        every.view(apart).permute(back).reshape(shape), places
    ):
        return None
    split = NodeSpec("reshape", [x], Shaped(shape=apart))
    turned = NodeSpec("permute", [split], Permute(dims=[axis + 1 for axis in back]))
    return turned if len(axes) == len(shape) else NodeSpec("reshape", [turned], Shaped(shape=shape))


def _recurrence(make: NodeMaker, x: BatchMoved, first: dict[str, Any]) -> list[Any]:
    """Lower a recurrence or an attention over the first axis, with the batch as the second."""
    if first["batch_first"] or x.batch != 1 or x.folded > 1:
        raise Refused("sequences whose batch is not where batch_first says", BATCH_FIRST)
    outputs, *states = _called(make, first | {"batch_first": True})
    return [BatchMoved(outputs, 1), *states]


def _along(
    make: NodeMaker, first: dict[str, Any], x: BatchMoved, shape: Shape
) -> Result | list[Any]:
    """Lower a call along axes, whose numbers change if the batch comes first.

    Args:
        make: the lowering's function.
        first: the arguments; values have their batch first.
        x: a value among them.
        shape: the shape of the call's value in the network.
    """
    dim = first.get("dim")
    if dim is None:
        raise Refused("all axes at once, which mixes samples", BATCH_FIRST)
    dims = [int(n) % _rank(x) for n in (dim if isinstance(dim, list | tuple) else [dim])]
    if x.batch in dims and x.folded > 1:
        raise Refused("an axis that samples are on", BATCH_FIRST)
    own = [0 if n == x.batch else n + (n < x.batch) + (x.folded > 1) for n in dims]
    stays = len(shape) == _rank(x)
    if stays:
        first["shape"] = in_graph(shape, x)
    found = _called(make, first | {"dim": own if isinstance(dim, list | tuple) else own[0]})
    left = x.batch if stays else x.batch - sum(axis < x.batch for axis in dims)

    def back(value: NodeSpec) -> Result:
        value = value.inside or value  # a softmax is dropped at the end of a network only
        return replace(x, x=value, batch=left) if left or x.folded > 1 else value

    return [back(one) for one in found] if isinstance(found, list) else back(found)


def _called(make: NodeMaker, arguments: Mapping[str, Any]) -> Any:
    signature = inspect.signature(make)
    bound = signature.bind_partial()
    bound.arguments = dict(arguments)
    return make(*bound.args, **bound.kwargs)


def _first(value: Any) -> Any:
    """Return an operand, or several, with the batch first."""
    if isinstance(value, list):
        return [_first(one) for one in value]
    return value.x if isinstance(value, BatchMoved) else value


def _rank(x: BatchMoved) -> int:
    """Return how many axes a value has in the network."""
    assert isinstance(x.x, Activation)
    return len(x.x.shape) - (x.folded > 1)

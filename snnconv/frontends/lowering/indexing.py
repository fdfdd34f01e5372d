"""Pick places from axes: slices, pieces, and lists of places."""

import itertools
import operator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconv.frontends.lowering.batch_axis import moved
from snnconv.frontends.lowering.call import Call, as_moved, batch_first, file_dims
from snnconv.frontends.lowering.contract import (
    BATCH,
    Activation,
    BatchAxis,
    BatchMoved,
    Lowering,
    NodeSpec,
    Onnx,
    Refused,
    Shape,
    Stored,
    activation,
)
from snnconv.frontends.lowering.identities import identity
from snnconv.frontends.lowering.sequences import embedding
from snnconv.graph.operations.wiring import Shaped, Slice, Take
from snnconv.graph.remedies import BATCH_FIRST


def index_select(shape: Shape, x: object, dim: int, index: object) -> NodeSpec:
    """Lower the choice of an axis's places by a constant list."""
    axis = dim % len(shape)
    return _take(activation(x), axis, _places(index, activation(x).shape[axis]))


def _take(x: Activation | NodeSpec, axis: int, places: list[int]) -> NodeSpec:
    if axis == 0:
        raise Refused("an index that picks samples", BATCH_FIRST)
    return NodeSpec("take", [x], Take(dim=axis, places=places))


def _places(index: object, extent: int) -> list[int]:
    """Return a list of places, from a list or a constant tensor of numbers or booleans."""
    found = index.value if isinstance(index, Stored) else torch.tensor(index)
    if found.dtype is torch.bool:
        found = found.nonzero().reshape(-1) if found.dim() == 1 else found
    if found.dim() != 1 or found.is_floating_point() or not found.numel():
        raise Refused("an index that is not a list of places")
    return [int(place) % extent for place in found]


def getitem(shape: Shape, x: object, index: Any) -> NodeSpec:
    """Lower ``x[:, 3, 1:5, None]``: slices, then a reshape if axes come or go.

    One axis may be picked from by a row of places, ``x[:, [2, 0, 1]]``.
    """
    source: Activation | NodeSpec = activation(x)
    extent = activation(x).shape
    wanted = list(index) if isinstance(index, tuple) else [index]
    rows = sum(isinstance(entry, list | Stored) for entry in wanted)
    known = (int, slice, list, Stored, type(Ellipsis), type(None))
    if not all(isinstance(entry, known) for entry in wanted) or rows > 1:
        raise Refused("an index that is not a slice")
    if rows and any(isinstance(entry, int) for entry in wanted):
        raise Refused(
            "an index by a list of places and by a number", "index by one, and then by the other"
        )
    if dots := [at for at, entry in enumerate(wanted) if entry is Ellipsis]:
        (at,) = dots
        missing = len(extent) - sum(entry is not None for entry in wanted) + 1
        wanted[at : at + 1] = [slice(None)] * missing
    axis, left = 0, list(extent)
    for entry in wanted:
        if entry is None:
            continue
        if isinstance(entry, int):
            entry = slice(entry % extent[axis], entry % extent[axis] + 1)
        if isinstance(entry, list | Stored):
            places = _places(entry, extent[axis])
            source, left[axis] = _take(source, axis, places), len(places)
            axis += 1
            continue
        start, stop, step = entry.indices(extent[axis])
        taken = len(range(start, stop, step))
        if taken != extent[axis]:
            if axis == 0:
                raise Refused("an index that picks samples", BATCH_FIRST)
            source = _slice(source, axis, start, stop, step)
            left[axis] = taken
        axis += 1
    if tuple(left) == shape and isinstance(source, NodeSpec):
        return source
    if not shape or shape[0] != extent[0]:
        raise Refused("an index that picks samples", BATCH_FIRST)
    return NodeSpec("reshape", [source], Shaped(shape=list(shape[1:])))


def _slice(x: Activation | NodeSpec, dim: int, start: int, stop: int, step: int = 1) -> NodeSpec:
    return NodeSpec("slice", [x], Slice(dim=dim, start=start, stop=stop, step=step))


def select(shape: Shape, x: object, dim: int, index: int) -> NodeSpec:
    """Lower the choice of one place of an axis, which drops the axis."""
    picked: list[Any] = [slice(None)] * len(activation(x).shape)
    picked[dim] = int(index)
    return getitem(shape, x, tuple(picked))


def narrow(shape: Shape, x: object, dim: int, start: int, length: int) -> NodeSpec:
    """Lower the choice of successive places of an axis."""
    picked = [slice(None)] * len(shape)
    picked[dim] = slice(start, start + length)
    return getitem(shape, x, tuple(picked))


def split(shape: Shape, x: object, split_size_or_sections: Any, dim: int = 0) -> list[NodeSpec]:
    """Lower a split into pieces of given sizes."""
    source = activation(x)
    dim %= len(source.shape)
    if dim == 0:
        raise Refused("a split of the batch", BATCH_FIRST)
    total = source.shape[dim]
    if isinstance(split_size_or_sections, tuple | list):
        bounds = [sum(split_size_or_sections[:i]) for i in range(len(split_size_or_sections) + 1)]
    else:
        bounds = [*range(0, total, int(split_size_or_sections)), total]
    return [_slice(source, dim, a, b) for a, b in itertools.pairwise(bounds)]


def chunk(shape: Shape, x: object, chunks: int, dim: int = 0) -> list[NodeSpec]:
    """Lower a split into a given number of pieces; the last may be smaller."""
    total = activation(x).shape[dim]
    return split(shape, x, -(-total // chunks), dim)


def tensor_split(
    shape: Shape, x: object, indices_or_sections: Any, dim: int = 0
) -> list[NodeSpec | None]:
    """Lower a split into a number of pieces, the first larger by one, or at given places."""
    source, how = activation(x), indices_or_sections
    dim %= len(source.shape)
    if dim == 0:
        raise Refused("a split of the batch", BATCH_FIRST)
    total, how = source.shape[dim], how.value.tolist() if isinstance(how, Stored) else how
    if isinstance(how, int):
        size, larger = divmod(total, how)
        how = list(itertools.accumulate(size + (n < larger) for n in range(how - 1)))
    pieces = [slice(a, b).indices(total) for a, b in itertools.pairwise([None, *how, None])]
    return [_slice(source, dim, *one) if range(*one) else None for one in pieces]


def unbind(shape: Shape, x: object, dim: int = 0) -> list[NodeSpec]:
    """Lower a split of an axis into each of its places."""
    source = activation(x)
    dim %= len(source.shape)
    rest = [n for axis, n in enumerate(source.shape) if axis not in (0, dim)]
    return [NodeSpec("reshape", [piece], Shaped(shape=rest)) for piece in split(shape, x, 1, dim)]


def aten_index(shape: Shape, x: object, indices: Any) -> NodeSpec:
    """Lower an index of rows or places on axes; None leaves an axis as it is."""
    return getitem(shape, x, tuple(slice(None) if i is None else i for i in indices))


def aten_slice(
    shape: Shape,
    x: object,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> NodeSpec:
    """Lower a slice of an axis; a slice of all samples comes before it."""
    if step == 1 and shape == activation(x).shape:
        return identity(shape, x)
    picked = [slice(None)] * len(shape)
    picked[dim] = slice(start, end, step)
    return getitem(shape, x, tuple(picked))


def _axis(call: Call, default: int | None = None) -> int:
    """Return the axis that an operator works on, which has to be one of the sample."""
    axis = call.number("axis", default)
    if axis is None or not -len(call.x.shape) <= axis < len(call.x.shape):
        raise Refused(f"axis {axis} of {len(call.x.shape)}")
    return int(axis) % len(call.x.shape)


def onnx_split(call: Call) -> list[NodeSpec]:
    """Lower ``Split`` into pieces of given sizes, or into a given number of pieces of one size."""
    x = call.x
    axis = _axis(call, 0)
    sizes = call.numbers("split", 1)
    if sizes is None:
        pieces = call.number("num_outputs", call.outputs)
        step = -(-x.shape[axis] // pieces)
        bounds = [min(k * step, x.shape[axis]) for k in range(pieces + 1)]
        sizes = [b - a for a, b in itertools.pairwise(bounds)]
    if sum(sizes) != x.shape[axis]:
        raise Refused(f"a split of {x.shape[axis]} places into {sizes}")
    return split((), x, sizes, axis)


def onnx_slice(call: Call) -> NodeSpec:
    """Lower ``Slice``: some places of some axes."""
    x = call.x
    starts, ends = call.numbers("starts", 1) or [], call.numbers("ends", 2) or []
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Refused("a slice whose starts, ends, axes and steps are not equally many")
    value: Activation | NodeSpec = x
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        extent = x.shape[axis]
        first, stop, step = slice(start, end, step).indices(extent)
        value = _picked(value, axis % len(x.shape), range(first, stop, step), extent)
    return value if isinstance(value, NodeSpec) else NodeSpec("identity", [value])


def _picked(
    x: Activation | NodeSpec, axis: int, places: range, extent: int
) -> Activation | NodeSpec:
    """Take some places of one axis."""
    if places == range(extent):
        return x
    if axis == 0 or not places:
        raise Refused(
            "an index that picks samples" if places else "a slice without a place", BATCH_FIRST
        )
    attrs = Slice(dim=axis, start=places.start, stop=places.stop, step=places.step)
    return NodeSpec("slice", [x], attrs)


def _gathered(call: Call) -> NodeSpec:
    """Take places of an axis in any order; a single place drops the axis."""
    x, index = call.x, call.tensor(1, "index").value
    axis = _axis(call, 0)
    extent = x.shape[axis]
    wanted = [int(n) % extent for n in index.reshape(-1).tolist() if -extent <= n < extent]
    if len(wanted) != index.numel() or not wanted:
        raise Refused(f"places {index.tolist()} of an axis of {extent}")
    if axis == 0:
        raise Refused("an index that picks samples", BATCH_FIRST)
    step = wanted[1] - wanted[0] if len(wanted) > 1 else 1
    places = range(wanted[0], wanted[0] + step * len(wanted), step or 1)
    if step > 0 and list(places) == wanted:
        value = _picked(x, axis, places, extent)
    else:
        value = NodeSpec("take", [x], Take(dim=axis, places=wanted))
    if index.dim() == 1:
        return value if isinstance(value, NodeSpec) else NodeSpec("identity", [value])
    shape = [*x.shape[1:axis], *index.shape, *x.shape[axis + 1 :]]
    return NodeSpec("reshape", [value], Shaped(shape=shape))


def as_gather(call: Call) -> Call:
    """Return a ``GatherND`` by a column of places as a ``Gather`` from the first axis."""
    index, apart = call.tensor(1, "index").value, call.number("batch_dims", 0)
    if index.dim() < 2 or index.shape[-1] != 1 or apart:
        raise Refused(f"places of shape {list(index.shape)} with batch_dims {apart}")
    operands = [call.operand(0), Stored("", index.squeeze(-1))]
    return replace(call, op="Gather", operands=operands, attrs={"axis": 0})


def onnx_gather(call: Call) -> NodeSpec:
    """Lower ``Gather``: rows of a table for tokens, or places of an axis."""
    table, index = call.operand(0), call.operand(1)
    if not (isinstance(table, Stored) and isinstance(index, Activation)):
        return _gathered(call)
    if call.number("axis", 0) or table.value.dim() != 2:
        raise Refused(f"a lookup in a constant of shape {list(table.value.shape)}")
    return embedding((), index, table)


def moved_gather(call: Call) -> Any:
    """Lower ``Gather`` on an axis that samples share with places; the file may know one sample.

    Then they are those of each sample, as in the views by strides that an exporter writes so.
    """
    tokens = call.operand(1)
    if isinstance(tokens, BatchMoved):
        table = replace(call, operands=[call.operand(0), batch_first(tokens)])
        return replace(tokens, x=onnx_gather(table))
    x, index = as_moved(call.operand(0)), call.tensor(1, "index").value
    axis, literal = call.number("axis", 0) % len(file_dims(x)), call.batch or 1
    try:
        return moved(x, partial(_taken, axis=axis, index=index))
    except Refused:
        if axis != x.batch or not index.dim() or index.shape[0] % literal:
            raise
    one = index[: index.shape[0] // literal]
    every = torch.cat([one + sample * x.folded for sample in range(BATCH)])
    return moved(x, partial(_taken, axis=axis, index=every))


def _taken(codes: Tensor, axis: int, index: Tensor) -> Tensor:
    """Take the codes at places of an axis, as ONNX's ``Gather`` does."""
    shape = [*codes.shape[:axis], *index.shape, *codes.shape[axis + 1 :]]
    found = codes.index_select(axis, index.reshape(-1).long() % codes.shape[axis])
    return found.reshape(shape)


def onnx_gather_nd(call: Call) -> NodeSpec:
    """Lower ``GatherND`` by a column of indices, for a value whose first axis is the batch."""
    return _gathered(as_gather(call))


_AXIS, _AXES = ("axis", None), ("axes", 3)

LOWERINGS = (
    Lowering(
        make=index_select,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.index_select,),
        methods=("index_select",),
        aten=("index_select",),
        onnx={
            "Gather": Onnx(onnx_gather, _AXIS, moved_gather),
            "GatherND": Onnx(onnx_gather_nd),
        },
    ),
    Lowering(make=getitem, batch_axis=BatchAxis.MOVES, functions=(operator.getitem,)),
    Lowering(make=aten_index, batch_axis=BatchAxis.MOVES, aten=("index.Tensor",)),
    Lowering(
        make=aten_slice,
        batch_axis=BatchAxis.MOVES,
        aten=("slice.Tensor",),
        onnx={"Slice": Onnx(onnx_slice, _AXES)},
    ),
    Lowering(
        make=select,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.select,),
        methods=("select",),
        aten=("select.int",),
    ),
    Lowering(
        make=narrow,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.narrow,),
        methods=("narrow",),
        aten=("narrow",),
    ),
    Lowering(
        make=split,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.split,),
        methods=("split",),
        aten=("split.Tensor", "split.sizes", "split_with_sizes"),
        onnx={"Split": Onnx(onnx_split, _AXIS)},
    ),
    Lowering(
        make=chunk,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.chunk,),
        methods=("chunk",),
        aten=("chunk",),
    ),
    Lowering(
        make=tensor_split,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.tensor_split,),
        methods=("tensor_split",),
        aten=("tensor_split.sections", "tensor_split.indices"),
    ),
    Lowering(
        make=unbind,
        batch_axis=BatchAxis.MOVES,
        functions=(torch.unbind,),
        methods=("unbind",),
        aten=("unbind.int",),
    ),
)

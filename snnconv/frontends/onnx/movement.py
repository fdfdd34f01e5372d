"""ONNX's forms of what moves values and leaves them as they are: reshapes, slices, sums."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from snnconv.frontends.lowering import movement, sequences
from snnconv.frontends.lowering.contract import (
    Activation,
    NodeMaker,
    NodeSpec,
    Refused,
    Stored,
    activation,
    batched,
)
from snnconv.frontends.onnx.call import Call
from snnconv.frontends.onnx.tensors import LARGEST
from snnconv.frontends.torch.capture import BATCH
from snnconv.graph.remedies import BATCH_FIRST


def _as_shape(x: Activation, sample: Sequence[int]) -> NodeSpec:
    """A reshape of each sample by itself."""
    if math.prod(sample) != math.prod(x.shape[1:]):
        raise Refused("a reshape that mixes samples", BATCH_FIRST)
    return NodeSpec("reshape", [x], {"shape": [int(n) for n in sample]})


def _axis(call: Call, default: int | None = None) -> int:
    """The axis an operator works on, which has to be one of the sample."""
    axis = call.number("axis", default)
    if axis is None or not -len(call.x.shape) <= axis < len(call.x.shape):
        raise Refused(f"axis {axis} of {len(call.x.shape)}")
    return int(axis) % len(call.x.shape)


def reshape(call: Call) -> NodeSpec:
    """A reshape; a literal batch in it is taken for the batch, whatever its size."""
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


def flatten(call: Call) -> NodeSpec:
    """Two axes: the batch, and all others."""
    x = call.x
    axis = call.number("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    if axis < 1 or math.prod(x.shape[1:axis]) != 1:
        raise Refused(f"flattening from axis {axis}, which mixes samples", BATCH_FIRST)
    return _as_shape(x, [math.prod(x.shape[1:])])


def squeeze(call: Call) -> NodeSpec:
    """Axes of size 1 go: those that are named, or all of the sample's."""
    x = call.x
    axes = call.numbers("axes", 1)
    if axes is None:
        axes = [k for k, n in enumerate(x.shape) if k and n == 1]
    gone = {int(axis) % len(x.shape) for axis in axes}
    if 0 in gone:
        raise Refused("a squeeze of the batch", BATCH_FIRST)
    return _as_shape(x, [n for k, n in enumerate(x.shape) if k and k not in gone])


def expand(call: Call) -> NodeSpec:
    """Axes of size 1 repeated; a literal batch is taken for the batch."""
    x, sizes = call.x, call.numbers("shape", 1) or []
    sizes = [1] * (len(x.shape) - len(sizes)) + [int(n) for n in sizes]
    if len(sizes) > len(x.shape) or sizes[0] not in {1, BATCH, call.batch}:
        raise Refused("an expansion that mixes samples", BATCH_FIRST)
    shape = list(torch.broadcast_shapes(x.shape[1:], tuple(sizes[1:])))
    return NodeSpec("expand", [x], {"shape": shape})


def unsqueeze(call: Call) -> NodeSpec:
    """Axes of size 1 come."""
    x, axes = call.x, call.numbers("axes", 1) or []
    rank = len(x.shape) + len(axes)
    new = {int(axis) % rank for axis in axes}
    if 0 in new:
        raise Refused("an axis before the batch", BATCH_FIRST)
    old = iter(x.shape)
    return _as_shape(x, [1 if k in new else next(old) for k in range(rank)][1:])


def concat(call: Call) -> NodeSpec:
    """A concatenation along an axis of the samples."""
    sources = [activation(x) for x in call.operands]
    return movement.concat(sources[0].shape, sources, call.number("axis", 0))


def reduced(form: NodeMaker, call: Call) -> NodeSpec:
    """What makes one number of many over axes of the samples."""
    axes = call.numbers("axes", 1)
    if not axes and call.number("noop_with_empty_axes", 0):
        return movement.identity((), call.x)
    made = form((), call.x, axes or None, bool(call.number("keepdims", 1)))
    assert isinstance(made, NodeSpec)
    return made


def split(call: Call) -> list[NodeSpec]:
    """Pieces of given sizes, or so many of one size."""
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
    return movement.split((), x, sizes, axis)


def slices(call: Call) -> NodeSpec:
    """Some places of some axes."""
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
    return value if isinstance(value, NodeSpec) else movement.identity((), value)


def _picked(
    x: Activation | NodeSpec, axis: int, places: range, extent: int
) -> Activation | NodeSpec:
    """Some places of one axis."""
    if places == range(extent):
        return x
    if axis == 0 or not places:
        raise Refused(
            "an index that picks samples" if places else "a slice without a place", BATCH_FIRST
        )
    attrs = {"dim": axis, "start": places.start, "stop": places.stop, "step": places.step}
    return NodeSpec("slice", [x], attrs)


def gather(call: Call) -> NodeSpec:
    """Places of an axis in any order; of one the axis goes."""
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
        value = NodeSpec("take", [x], {"dim": axis, "places": wanted})
    if index.dim() == 1:
        return value if isinstance(value, NodeSpec) else movement.identity((), value)
    shape = [*x.shape[1:axis], *index.shape, *x.shape[axis + 1 :]]
    return NodeSpec("reshape", [value], {"shape": shape})


def gather_of_places(call: Call) -> Call:
    """``GatherND`` by a column of places, which is a ``Gather`` from the first axis."""
    index, apart = call.tensor(1, "index").value, call.number("batch_dims", 0)
    if index.dim() < 2 or index.shape[-1] != 1 or apart:
        raise Refused(f"places of shape {list(index.shape)} with batch_dims {apart}")
    operands = [call.operand(0), Stored("", index.squeeze(-1))]
    return replace(call, op="Gather", operands=operands, attrs={"axis": 0})


def gather_nd(call: Call) -> NodeSpec:
    """The same of a value whose first axis is the batch."""
    return gather(gather_of_places(call))


def tile(call: Call) -> NodeSpec:
    """Each axis so many times over."""
    x, times = call.x, [int(n) for n in call.numbers("repeats", 1) or []]
    if len(times) != len(x.shape) or times[0] != 1:
        raise Refused(f"a repetition of the batch ({times})", BATCH_FIRST)
    if min(times) < 1 or math.prod(x.shape) * math.prod(times) > BATCH * LARGEST:
        raise Refused(f"a repetition of {list(x.shape[1:])} by {times[1:]}")
    value: Activation | NodeSpec = x
    for axis, n in enumerate(times):
        if n != 1:
            places = [*range(x.shape[axis])] * n
            value = NodeSpec("take", [value], {"dim": axis, "places": places})
    return value if isinstance(value, NodeSpec) else movement.identity((), value)


def depth_to_space(call: Call) -> NodeSpec:
    """Channels to places: a block's place before the channels, or behind them."""
    x, r = batched(call.x, 2), call.number("blocksize", 1)
    _, channels, height, width = x.shape
    left = channels // r**2
    if call.attrs.get("mode", "DCR") == "CRD":
        return movement.pixel_shuffle((x.shape[0], left, height * r, width * r), x, r)
    apart = NodeSpec("reshape", [x], {"shape": [r, r, left, height, width]})
    turned = NodeSpec("permute", [apart], {"dims": [3, 4, 1, 5, 2]})
    return NodeSpec("reshape", [turned], {"shape": [left, height * r, width * r]})


def space_to_depth(call: Call) -> NodeSpec:
    """The other way round, a block's place before the channels."""
    x, r = batched(call.x, 2), call.number("blocksize", 1)
    _, channels, height, width = x.shape
    apart = NodeSpec("reshape", [x], {"shape": [channels, height // r, r, width // r, r]})
    turned = NodeSpec("permute", [apart], {"dims": [3, 5, 1, 2, 4]})
    return NodeSpec("reshape", [turned], {"shape": [channels * r**2, height // r, width // r]})


def dropout(call: Call) -> NodeSpec:
    """The identity outside training."""
    if call.number("training_mode", 0, 2) or call.read > 1:
        raise Refused("dropout that is on outside training, or gives its mask")
    return movement.dropout((), call.x, call.number("ratio", 0.5, 1), training=False)


def identity(call: Call) -> NodeSpec:
    """The value itself."""
    return movement.identity((), call.x)


_FLOATS = (1, 10, 11, 16)  # TensorProto's float32, float16, float64 and bfloat16


_WHOLE = (6, 7)  # int32, int64


def cast(call: Call) -> NodeSpec:
    """Floats as floats, the graph computes in float32 throughout; tokens are whole anyhow."""
    if call.texts and call.attrs.get("to") in _WHOLE:
        return sequences.whole((), call.x)
    if call.attrs.get("to") not in _FLOATS:
        raise Refused("a cast to something other than floats")
    return identity(call)


def cast_like(call: Call) -> NodeSpec | Stored:
    """As floats, since the other operand is of floats, or is itself made of them."""
    x, like = call.operand(0), call.operand(1)
    if isinstance(like, Stored) and not like.value.is_floating_point():
        raise Refused("a cast to something other than floats")
    return Stored("", x.value.float()) if isinstance(x, Stored) else identity(call)


def shape(call: Call) -> Stored:
    """The shape of a value, which is constant but for the batch."""
    start, end = call.number("start", 0), call.number("end", None)
    return Stored("", torch.tensor(call.x.shape[start:end], dtype=torch.int64))

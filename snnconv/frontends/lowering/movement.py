"""Forms of what moves values and leaves them as they are: reshapes, permutations, slices."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from snnconv.frontends.lowering.contract import (
    Activation,
    NodeSpec,
    Refused,
    Shape,
    Stored,
    activation,
    batched,
    sizes,
)
from snnconv.graph.remedies import BATCH_FIRST


def concat(shape: Shape, tensors: Sequence[object], dim: int = 0) -> NodeSpec:
    """A concatenation along an axis of the samples."""
    if dim % len(shape) == 0:
        raise Refused("a concatenation over the batch", BATCH_FIRST)
    return NodeSpec("concat", [activation(x) for x in tensors], {"dim": dim % len(shape)})


def stack(shape: Shape, tensors: Sequence[object], dim: int = 0) -> NodeSpec:
    """A concatenation along a new axis of the samples."""
    dim %= len(shape)
    if dim == 0:
        raise Refused("a stack over the batch", BATCH_FIRST)
    one = [1 if axis == dim else n for axis, n in enumerate(shape)][1:]
    sources = [NodeSpec("reshape", [activation(x)], {"shape": one}) for x in tensors]
    return NodeSpec("concat", sources, {"dim": dim})


def channel_shuffle(shape: Shape, x: object, groups: int) -> NodeSpec:
    """The first channel of each group, then the second of each, and so on."""
    source = activation(x)
    channels, *places = source.shape[1:]
    apart = NodeSpec("reshape", [source], {"shape": [groups, channels // groups, *places]})
    order = [2, 1, *range(3, len(places) + 3)]
    turned = NodeSpec("permute", [apart], {"dims": order})
    return NodeSpec("reshape", [turned], {"shape": [channels, *places]})


def pixel_shuffle(shape: Shape, x: object, upscale_factor: int) -> NodeSpec:
    """Channels to places: each gives a block of so many to a side."""
    height, width = batched(x, 2).shape[2:]
    r, (left, high, wide) = upscale_factor, shape[1:]
    apart = NodeSpec("reshape", [activation(x)], {"shape": [left, r, r, height, width]})
    turned = NodeSpec("permute", [apart], {"dims": [1, 4, 2, 5, 3]})
    return NodeSpec("reshape", [turned], {"shape": [left, high, wide]})


def pixel_unshuffle(shape: Shape, x: object, downscale_factor: int) -> NodeSpec:
    """Places to channels: the other way round."""
    channels, height, width = batched(x, 2).shape[1:]
    r = downscale_factor
    blocks = [channels, height // r, r, width // r, r]
    apart = NodeSpec("reshape", [activation(x)], {"shape": blocks})
    turned = NodeSpec("permute", [apart], {"dims": [1, 3, 5, 2, 4]})
    return NodeSpec("reshape", [turned], {"shape": list(shape[1:])})


def reshape(shape: Shape, x: object, *to: object, **named: object) -> NodeSpec:
    """Any reshape that keeps samples apart; the shape it leads to is the value's own."""
    if not shape or shape[0] != activation(x).shape[0]:
        raise Refused("a reshape that mixes samples", BATCH_FIRST)
    return NodeSpec("reshape", [activation(x)], {"shape": list(shape[1:])})


def permute(shape: Shape, x: object, *dims: Any) -> NodeSpec:
    """Axes in another order."""
    source = activation(x)
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    order = [int(d) % len(source.shape) for d in given]
    if order[0] != 0:
        raise Refused("a permutation that moves the batch", BATCH_FIRST)
    return NodeSpec("permute", [source], {"dims": order[1:]})


def transpose(shape: Shape, x: object, dim0: int, dim1: int) -> NodeSpec:
    """Two axes swapped."""
    order = list(range(len(shape)))
    first, second = dim0 % len(shape), dim1 % len(shape)
    order[first], order[second] = second, first
    return permute(shape, x, order)


def t(shape: Shape, x: object) -> NodeSpec:
    """The two axes swapped."""
    return transpose(shape, x, 0, 1)


def movedim(shape: Shape, x: object, source: Any, destination: Any) -> NodeSpec:
    """Axes at other places, the others in their order."""
    rank = len(shape)
    taken, put = ([int(d) % rank for d in sizes(dims, 1)] for dims in (source, destination))
    order = [axis for axis in range(rank) if axis not in taken]
    for place, axis in sorted(zip(put, taken, strict=True)):
        order.insert(place, axis)
    return permute(shape, x, order)


def index_select(shape: Shape, x: object, dim: int, index: object) -> NodeSpec:
    """Places of an axis in an order of the network's own."""
    axis = dim % len(shape)
    return _take(activation(x), axis, _places(index, activation(x).shape[axis]))


def _take(x: Activation | NodeSpec, axis: int, places: list[int]) -> NodeSpec:
    if axis == 0:
        raise Refused("an index that picks samples", BATCH_FIRST)
    return NodeSpec("take", [x], {"dim": axis, "places": places})


def _places(index: object, extent: int) -> list[int]:
    """A list of places, or a row of the network's own, of numbers or of yes and no."""
    found = index.value if isinstance(index, Stored) else torch.tensor(index)
    if found.dtype is torch.bool:
        found = found.nonzero().reshape(-1) if found.dim() == 1 else found
    if found.dim() != 1 or found.is_floating_point() or not found.numel():
        raise Refused("an index that is no row of places")
    return [int(place) % extent for place in found]


def getitem(shape: Shape, x: object, index: Any) -> NodeSpec:
    """``x[:, 3, 1:5, None]``: slices, then a reshape where axes come or go.

    One axis may be picked from by a row of places, ``x[:, [2, 0, 1]]``.
    """
    source: Activation | NodeSpec = activation(x)
    extent = activation(x).shape
    wanted = list(index) if isinstance(index, tuple) else [index]
    rows = sum(isinstance(entry, list | Stored) for entry in wanted)
    known = (int, slice, list, Stored, type(Ellipsis), type(None))
    if not all(isinstance(entry, known) for entry in wanted) or rows > 1:
        raise Refused("an index that is no slice")
    if rows and any(isinstance(entry, int) for entry in wanted):
        raise Refused(
            "an index by a row of places and by a number", "index by one, and then by the other"
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
    return NodeSpec("reshape", [source], {"shape": list(shape[1:])})


def _slice(x: Activation | NodeSpec, dim: int, start: int, stop: int, step: int = 1) -> NodeSpec:
    return NodeSpec("slice", [x], {"dim": dim, "start": start, "stop": stop, "step": step})


def select(shape: Shape, x: object, dim: int, index: int) -> NodeSpec:
    """One place of an axis, which goes."""
    picked: list[Any] = [slice(None)] * len(activation(x).shape)
    picked[dim] = int(index)
    return getitem(shape, x, tuple(picked))


def narrow(shape: Shape, x: object, dim: int, start: int, length: int) -> NodeSpec:
    """Some places of an axis."""
    picked = [slice(None)] * len(shape)
    picked[dim] = slice(start, start + length)
    return getitem(shape, x, tuple(picked))


def split(shape: Shape, x: object, split_size_or_sections: Any, dim: int = 0) -> list[NodeSpec]:
    """Pieces of given sizes."""
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
    """So many pieces, the last perhaps smaller."""
    total = activation(x).shape[dim]
    return split(shape, x, -(-total // chunks), dim)


def tensor_split(shape: Shape, x: object, indices_or_sections: Any, dim: int = 0) -> list[NodeSpec]:
    """So many pieces, the first of them one larger perhaps; or pieces that end at given places."""
    source, how = activation(x), indices_or_sections
    dim %= len(source.shape)
    if dim == 0:
        raise Refused("a split of the batch", BATCH_FIRST)
    total, how = source.shape[dim], how.value.tolist() if isinstance(how, Stored) else how
    if isinstance(how, int):
        size, larger = divmod(total, how)
        how = list(itertools.accumulate(size + (n < larger) for n in range(how - 1)))
    bounds = itertools.pairwise([None, *how, None])
    return [_slice(source, dim, *slice(a, b).indices(total)) for a, b in bounds]


def unbind(shape: Shape, x: object, dim: int = 0) -> list[NodeSpec]:
    """Each place of an axis by itself."""
    source = activation(x)
    dim %= len(source.shape)
    rest = [n for axis, n in enumerate(source.shape) if axis not in (0, dim)]
    return [NodeSpec("reshape", [piece], {"shape": rest}) for piece in split(shape, x, 1, dim)]


def rearranged(shape: Shape, x: object, *how: object, **named: object) -> NodeSpec:
    """What repeats, turns or moves places: the translator sees what it does by doing it."""
    raise Refused("a move that mixes samples", BATCH_FIRST)


def dropout(
    shape: Shape, x: object, p: float = 0.5, training: bool = True, inplace: bool = False
) -> NodeSpec:
    """The identity outside training."""
    if training:
        raise Refused("dropout that is on outside training: pass training=self.training")
    return NodeSpec("dropout", [activation(x)], {"p": p})


def stochastic_depth(
    shape: Shape, x: object, p: float, mode: str, training: bool = True
) -> NodeSpec:
    """torchvision's dropout of whole branches: the identity outside training."""
    return dropout(shape, x, p, training)


def identity(shape: Shape, x: object, memory_format: object = None) -> NodeSpec:
    """The value itself, perhaps laid out anew."""
    return NodeSpec("identity", [activation(x)])

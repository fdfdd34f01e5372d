"""Wiring: operations that move, repeat or add numbers, and change none.

Shape:
    Any; the batch is the first axis throughout.
"""

import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from snnconv.graph.operations.base import (
    Along,
    Attributes,
    Axes,
    Compute,
    Offset,
    Op,
    Role,
    Shape,
    ShapeOf,
    ShapeRule,
    Share,
    Silence,
    Size,
    Tensors,
    TensorShapes,
    Whole,
    any_shape,
    broadcast,
    kept,
    of_one_rank,
    of_pytorch,
    passed,
)
from snnconv.graph.operations.work import an_addition, each_value, no_work


class Shaped(Attributes):
    """Attributes of what gives a sample another shape."""

    shape: Annotated[list[Size], Field(max_length=16)] = Field(
        description="the sample's new shape, without the batch"
    )


class Permute(Attributes):
    """Attributes of a permutation."""

    dims: Axes = Field(description="the axes behind the batch, in their new order")


class Slice(Along):
    """Attributes of a slice."""

    start: Offset = Field(description="first place")
    stop: Offset = Field(description="the place before which it ends")
    step: Offset = Field(description="steps between places; below 0 it runs backwards")

    @model_validator(mode="after")
    def _some(self) -> "Slice":
        if self.step == 0 or not self.range:
            raise ValueError("a slice of no place")
        return self

    @property
    def range(self) -> range:
        """The places that it takes."""
        return range(self.start, self.stop, self.step)


class Take(Along):
    """Attributes of a choice of places."""

    places: Annotated[list[Whole], Field(min_length=1)] = Field(
        description="places in an order of their own, some repeatedly perhaps"
    )


class Pad(Attributes):
    """Attributes of a padding."""

    pad: Annotated[list[Offset], Field(min_length=2, max_length=32)] = Field(
        description="places before and after each axis, the last axis first; below 0 it crops"
    )
    mode: Literal["constant", "reflect", "replicate", "circular"] = Field(
        description="zeros, or copies of places"
    )


class Dropout(Attributes):
    """Attributes of a dropout."""

    p: Share = Field(description="share of numbers that it drops in training")


class Identity(Attributes):
    """Attributes of what does nothing."""

    dropped: str | None = Field(
        None, description="softmax that stood here, at the end of the network, and was dropped"
    )


def _add(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0] + inputs[1]


def _concat(attrs: Along, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return torch.cat(inputs, dim=attrs.dim)


def _reshape(attrs: Shaped, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x.reshape(x.shape[0], *attrs.shape)


def _expand(attrs: Shaped, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x.expand(len(x), *attrs.shape)


def _permute(attrs: Permute, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0].permute(0, *attrs.dims)


def _slice(attrs: Slice, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    index = torch.arange(attrs.start, attrs.stop, attrs.step, device=x.device)
    return x.index_select(attrs.dim, index)


def _take(attrs: Take, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    (x,) = inputs
    return x.index_select(attrs.dim, _index(tuple(attrs.places), x.device))


@functools.lru_cache(maxsize=64)
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places, device=device)


def _in_range(attrs: Slice | Take, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    """Say which places the axis lacks; None if it has them all."""
    shape, dim = shapes[0], attrs.dim
    if isinstance(attrs, Slice):  # it may name 10**9 places, and its ends are all that counts
        ends: Sequence[int] = (attrs.range[0], attrs.range[-1])
    else:
        ends = attrs.places
    if dim > len(shape) or not 0 <= min(ends) <= max(ends) < shape[dim - 1]:
        return f"places {min(ends)} to {max(ends)} of axis {dim}"
    return None


def _pad(attrs: Pad, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.pad(inputs[0], tuple(attrs.pad), mode=attrs.mode)


def _dropped(attrs: Dropout, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return F.dropout(inputs[0], attrs.p)


def _wiring(
    name: str,
    attributes: type[Any],
    value: Compute[Any],
    *,
    rule: ShapeRule[Any] = any_shape,
    silence: Silence = Silence.KEPT,
    sources: int | None = 1,
    trained: Compute[Any] | None = None,
    shape: ShapeOf[Any] = of_pytorch,
) -> Op[Any]:
    """Return an operation that is its own wiring."""
    return Op(
        name=name,
        role=Role.LINEAR,
        attributes=attributes,
        value=value,
        wiring=value,
        rule=rule,
        work=an_addition if sources == 2 else no_work,
        silence=silence,
        sources=sources,
        trained=trained,
        recomputed=each_value,
        shape=shape,
    )


def _concat_shape(attrs: Along, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape with as many places of the axis as all inputs have, if the others agree."""
    axis, first = attrs.dim - 1, inputs[0]
    if axis >= len(first):
        return None
    around = {(shape[:axis], shape[axis + 1 :]) for shape in inputs}
    total = sum(shape[axis] for shape in inputs if axis < len(shape))
    return (*first[:axis], total, *first[axis + 1 :]) if len(around) == 1 else None


def _slice_shape(attrs: Slice, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape with the places that it takes."""
    shape, axis = inputs[0], attrs.dim - 1
    return (*shape[:axis], len(attrs.range), *shape[axis + 1 :])


OPERATIONS = (
    _wiring(
        "add",
        Attributes,
        _add,
        rule=of_one_rank,
        silence=Silence.EITHER,
        sources=2,
        shape=broadcast,
    ),
    _wiring("concat", Along, _concat, sources=None, shape=_concat_shape),
    _wiring("reshape", Shaped, _reshape),
    _wiring("permute", Permute, _permute),
    _wiring("slice", Slice, _slice, rule=_in_range, shape=_slice_shape),
    _wiring("take", Take, _take, rule=_in_range),
    _wiring("pad", Pad, _pad),
    _wiring("expand", Shaped, _expand),
    _wiring("dropout", Dropout, passed, trained=_dropped, shape=kept),
    _wiring("identity", Identity, passed, shape=kept),
)

"""What an operation is: one record with every fact that the package asks about it.

A record has no defaults for its role, shape rule, work or silence, so an operation
can't be written down without them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from snnconv.graph.operations.work import Work, anything

LARGEST = 2**31 - 1
"""Bound of a whole number in an attribute."""

FLOAT32 = 3.4e38
"""Bound of any other number: what float32 holds, in which the graph computes."""

Size = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
Whole = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Offset = Annotated[int, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Axis = Annotated[int, Field(strict=True, ge=1, le=16)]
Number = Annotated[float, Field(strict=True, ge=-FLOAT32, le=FLOAT32)]
Ceiling = Annotated[float, Field(strict=True, gt=0, le=FLOAT32)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Small = Annotated[float, Field(strict=True, ge=0, le=1e6)]
Flag = Annotated[bool, Field(strict=True)]
Sizes = Annotated[list[Size], Field(min_length=1, max_length=16)]
Wholes = Annotated[list[Whole], Field(min_length=1, max_length=3)]
Window = Annotated[list[Size], Field(min_length=1, max_length=3)]
Axes = Annotated[list[Axis], Field(min_length=1, max_length=16)]


class Attributes(BaseModel):
    """The attributes of an operation; this one has none.

    A graph comes from a file, and PyTorch's functions check little of what a file says: a number of
    a wrong type, of no size at all or of more memory than there is is refused here, before anything
    is computed. Each field's description is its line in the documentation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def json_values(self) -> dict[str, Any]:
        """Return the attributes that were given, as a node holds them."""
        return self.model_dump(exclude_unset=True)


class Along(Attributes):
    """Attributes of an operation along one axis."""

    dim: Axis = Field(description="axis that it goes along; 0 is the batch, so never 0")


A = TypeVar("A", bound=Attributes)

Attrs = Mapping[str, Any]
Tensors = Mapping[str, Tensor]
Shape = tuple[int, ...]
Compute = Callable[[A, Tensors, list[Tensor]], Tensor]
"""A value from attributes, tensors by role, and inputs ``[B, *N]``."""

ShapeRule = Callable[[A, Sequence[Shape], Tensors], str | None]
"""Says what is wrong with a node and its inputs that PyTorch would find only when it computes.

It reads the attributes, the shapes of the inputs without the batch, and the tensors by role."""

TensorShapes = Mapping[str, Shape]
"""Shapes of tensors by role."""

ShapeOf = Callable[[A, Sequence[Shape], TensorShapes], Shape | None]
"""The output's shape by formula, from attributes, shapes of the inputs without the batch, and
shapes of tensors by role; None where the node may not fit.

It is asked where the shape rule has found nothing wrong. After None, PyTorch computes the value on
the device ``meta``, so that a user reads its own words about what does not fit. Its first such
answer makes it import its compiler, two seconds of a command, which is why there are formulas."""

WorkRule = Callable[[A, Sequence[Shape], Shape, Mapping[str, Shape]], Work]
"""The work for one sample, from attributes, shapes of inputs and output without the batch, and
shapes of tensors by role. Every tap counts, padding included."""


class Role(StrEnum):
    """What an operation is to a spiking network."""

    SYNAPSE = "synapse"  # it has weights: a spike drives operations here
    SITE = "site"  # where a neuron goes
    LINEAR = "linear"  # the mean over time passes through it unchanged
    MAX = "max"  # needs the cumulative rule (simulation/cumulative.py)
    GATE = "gate"  # of spikes, step by step: what passes it are spikes of its own
    STEPWISE = "stepwise"  # its value depends on the step (simulation/stepwise.py)
    ANALOG = "analog"  # needs the cumulative rule, and does not spike


class Silence(StrEnum):
    """Where an operation's output is zero, if its inputs are spikes."""

    KEPT = "kept"  # where its inputs are zero
    EITHER = "either"  # where all of its inputs are zero, which spike at different places
    WINDOW = "window"  # where every place of the window is zero: attribute ``kernel``
    UNSHIFTED = "unshifted"  # where its input is zero, if the tensor ``shift`` is zero
    NOWHERE = "nowhere"  # nothing is known to be zero


def of_pytorch(attrs: Attributes, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Leave the output's shape to PyTorch, which computes it from tensors without values."""
    return None


@dataclass(frozen=True, kw_only=True)
class Op(Generic[A]):
    """An operation of the closed list.

    Attributes:
        name: its name in files.
        role: what it is to a spiking network.
        attributes: their names, types and bounds.
        value: computes it.
        wiring: the same wiring, weights one, no bias, sums for averages. The gradient of it counts
            the paths from an input to what lies behind it.
        rule: its shape rule.
        work: what it computes, by kind, if it is computed as it stands.
        silence: says where its output is zero.
        required: the roles of the tensors that it can't do without.
        optional: the roles of those that it can.
        asked: the roles that attributes ask for, in addition to the required ones.
        sources: how many values it reads; None if that is open.
        trained: computes it in training, if that differs.
        recomputed: which units of its work to recompute, from masks ``[B, *N]`` of changed inputs;
            masks of ones give all units.
        averages: whether it averages over places, so that its value is its wiring, divided.
        shape: the formula of its value's shape, if it has one.
    """

    name: str
    role: Role
    attributes: type[A]
    value: Compute[A]
    wiring: Compute[A]
    rule: ShapeRule[A]
    work: WorkRule[A]
    silence: Silence
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    asked: Callable[[A], tuple[str, ...]] = lambda attrs: ()
    sources: int | None = 1
    trained: Compute[A] | None = None
    recomputed: Compute[A] = anything
    averages: bool = False
    shape: ShapeOf[A] = of_pytorch

    def typed(self, attrs: Attrs | A) -> A:
        """Return a node's attributes as their type; typed ones stay as they are.

        Raises:
            ValueError: a name, type or size that they can't have.
        """
        if isinstance(attrs, self.attributes):
            return attrs
        try:
            return self.attributes.model_validate(attrs)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{where or self.name}: {first['msg']}") from error

    def misfit(self, attrs: Attrs, inputs: Collection[str], roles: Collection[str]) -> str | None:
        """Say what is wrong with a node of this operation by itself; None if nothing is.

        Args:
            attrs: the node's attributes.
            inputs: the names of what it reads.
            roles: the roles of its tensors.
        """
        try:
            typed = self.typed(attrs)
        except ValueError as error:
            return f"an attribute that is not valid ({self.name}, {error})"
        if len(inputs) != self.sources and (self.sources or not inputs):
            wanted = self.sources or "one or more"
            return f"{len(inputs)} inputs, where {self.name} reads {wanted}"
        required = (*self.required, *self.asked(typed))
        if lacking := [role for role in required if role not in roles]:
            return f"no {', '.join(lacking)} ({self.name})"
        if surplus := sorted(set(roles) - {*required, *self.optional}):
            return f"tensors it has no use for: {', '.join(surplus)} ({self.name})"
        return None

    def run(self, attrs: Attrs | A, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
        """Compute the value in inference, from inputs ``[B, *N]``."""
        return self.value(self.typed(attrs), tensors, inputs)

    def outline(self, attrs: Attrs | A, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
        """Return the value without its numbers, by formula where there is one.

        Args:
            attrs: the attributes.
            tensors: by role, on the device ``meta``.
            inputs: ``[B, *N]``, on that device.

        Raises:
            Exception: whatever PyTorch raises for what does not fit.
        """
        typed, shapes = self.typed(attrs), [tuple(x.shape[1:]) for x in inputs]
        if self.rule(typed, shapes, tensors) is None:
            own = {role: tuple(tensor.shape) for role, tensor in tensors.items()}
            known = self.shape(typed, shapes, own)
            if known is not None:
                return torch.empty(len(inputs[0]), *known, device="meta")
        return self.value(typed, tensors, inputs)

    def train(self, attrs: Attrs | A, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
        """Compute the value in training."""
        return (self.trained or self.value)(self.typed(attrs), tensors, inputs)

    def wire(self, attrs: Attrs | A, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
        """Compute the wiring: the value with weights of one and sums for averages."""
        return self.wiring(self.typed(attrs), tensors, inputs)


# Rules that many share


def passed(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the input unchanged."""
    return inputs[0]


def any_shape(attrs: Attributes, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    """Accept any shape: PyTorch itself finds a misfit from the shapes."""
    return None


def one_an_axis(shape: Shape, **values: Sequence[int]) -> str | None:
    """Require one number for each axis behind the channels in these attributes."""
    for name, value in values.items():
        if len(value) != len(shape) - 1:
            return f"{name} {list(value)} for {len(shape) - 1} axes"
    return None


def of_one_rank(attrs: Attributes, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    """Require two operands with the same number of axes."""
    if len(shapes[0]) != len(shapes[1]):
        return f"operands of {len(shapes[0])} and {len(shapes[1])} axes"
    return None


def of_channels(shape: Shape, tensors: Tensors, *also: Shape) -> str | None:
    """Require tensors with one number for each channel, or of another shape that is allowed."""
    sizes = {tuple(tensor.shape) for tensor in tensors.values()}
    if not sizes <= {shape[:1], *also}:
        return f"tensors of shapes {sorted(map(list, sizes))} for {shape[:1]} channels"
    return None


# Formulas of shapes that many share


def kept(attrs: Attributes, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the input's shape."""
    return inputs[0]


def kept_along(attrs: Along, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the input's shape, if it has the axis."""
    return inputs[0] if attrs.dim <= len(inputs[0]) else None


def broadcast(attrs: Attributes, inputs: Sequence[Shape], tensors: TensorShapes) -> Shape | None:
    """Return the shape of a sum of values of one rank, in which a size of 1 repeats."""
    found = []
    for sizes in zip(*inputs, strict=True):
        larger = {size for size in sizes if size != 1}
        if len(larger) > 1:
            return None
        found.append(max(larger, default=1))
    return tuple(found)


def windows(
    size: int, kernel: int, stride: int, padding: int, dilation: int, *, ceil: bool = False
) -> int:
    """Return how many windows an axis has; below 1 if there is none.

    Args:
        size: places of the axis.
        kernel: places of a window.
        stride: steps between windows.
        padding: places added on either side.
        dilation: steps between places of a window.
        ceil: whether a last window may reach beyond the end, if it begins before the padding there.
    """
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-free // stride) if ceil else free // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + padding else count

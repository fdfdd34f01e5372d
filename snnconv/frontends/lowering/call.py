"""An operator of an ONNX file with its operands, in the form that lowerings take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchMoved,
    NodeMaker,
    NodeSpec,
    Refused,
    Stored,
    activation,
    stored,
)
from snnconv.graph.remedies import BATCH_FIRST

Operand = Activation | BatchMoved | Stored | None
"""None is one that is left out."""

OnnxResult = NodeSpec | BatchMoved | Stored | None
"""What an operator gives, or one of several values; None if nobody may read it."""


@dataclass(frozen=True)
class Call:
    """One operator of the file, with its operands.

    Attributes:
        op: the name of the operator.
        opset: the version of the operator's definition.
        batch: the size of the batch, if the file fixes it.
        operands: the operands in order.
        attrs: the attributes by name.
        outputs: the number of outputs.
        read: how many outputs are read, counted up to the last one.
        texts: whether the network's input is token numbers.
        last: whether only moves follow before the logits.
    """

    op: str
    opset: int
    batch: int | None
    operands: Sequence[Operand]
    attrs: Mapping[str, Any]
    outputs: int = 1
    read: int = 1
    texts: bool = False
    last: bool = False

    @property
    def x(self) -> Activation:
        """Return the first operand, which has to depend on the input."""
        return activation(self.operand(0))

    def operand(self, position: int) -> Operand:
        """Return the operand at a position; None if there is none."""
        return self.operands[position] if position < len(self.operands) else None

    def tensor(self, position: int, role: str) -> Stored:
        """Return an operand, which has to be constant."""
        return stored(role, self.operand(position))

    def optional(self, position: int, role: str) -> Stored | None:
        """Return an operand, which has to be constant; None if there is none."""
        return None if self.operand(position) is None else self.tensor(position, role)

    def numbers(self, name: str, position: int | None = None) -> list[Any] | None:
        """Return numbers from an attribute, or in newer opsets from a constant operand, if any."""
        if name in self.attrs:
            value = self.attrs[name]
            return list(value) if isinstance(value, Sequence) else [value]
        operand = None if position is None else self.operand(position)
        if isinstance(operand, Activation | BatchMoved):
            raise Refused(f"{name} that depend on data")
        return None if operand is None else operand.value.reshape(-1).tolist()

    def number(self, name: str, default: Any, position: int | None = None) -> Any:
        """Return one number from an attribute or a constant operand."""
        found = self.numbers(name, position)
        return found[0] if found else default


def spelled(make: NodeMaker, **arguments: tuple[str, Any]) -> Callable[[Call], Any]:
    """Lower an operator of one operand whose attributes are arguments under other names.

    Args:
        make: the function of the lowering.
        **arguments: the attribute for each argument, with its default.
    """

    def made(call: Call) -> Any:
        named = {
            argument: call.attrs.get(attribute, default)
            for argument, (attribute, default) in arguments.items()
        }
        return make(call.x.shape, call.x, **named)

    return made


def as_moved(value: Operand) -> BatchMoved:
    """Return an operand with the axis of its batch."""
    if isinstance(value, BatchMoved):
        return value
    if isinstance(value, Activation):
        return BatchMoved(value, 0)
    raise Refused("an operand that is not an activation")


def file_dims(x: BatchMoved) -> list[int]:
    """Return the shape of a value in the file."""
    samples, *dims = shape_of(x.x)
    if x.folded > 1:
        samples, dims = samples * x.folded, dims[1:]
    return [*dims[: x.batch], samples, *dims[x.batch :]]


def one_place(operands: Sequence[Operand]) -> BatchMoved:
    """Return the first value among operands that all have their batch at the same axis.

    Raises:
        Refused: another value has its batch elsewhere.
    """
    given = [as_moved(x) for x in operands if isinstance(x, Activation | BatchMoved)]
    if len({(x.batch, x.before, x.behind) for x in given}) > 1:
        raise Refused("operands whose batch is not the same axis", BATCH_FIRST)
    return given[0]


def axis_in_graph(x: BatchMoved, axis: int) -> int:
    """Return the number that an axis of the file has if the batch comes first."""
    return 0 if axis == x.batch else axis + (axis < x.batch) + (x.folded > 1)


def along(call: Call, make: Callable[[Call], Any], axes: tuple[str, int | None]) -> Any:
    """Lower an operator along named axes, for operands whose batch does not come first.

    Args:
        call: the operator in the file.
        make: makes its nodes if the batch comes first.
        axes: the attribute that names the axes, and in newer opsets the operand.
    """
    name, position = axes
    given = [as_moved(x) if isinstance(x, Activation | BatchMoved) else x for x in call.operands]
    x = one_place(given)
    batch, rank = x.batch, len(file_dims(x))
    named = call.numbers(name, position)
    if not named and call.op.startswith("Reduce"):
        if call.number("noop_with_empty_axes", 0):
            return x
        raise Refused("all axes at once, which mixes samples", BATCH_FIRST)
    default = range(len(call.numbers("starts", 1) or [])) if call.op == "Slice" else [0]
    meant = [int(axis) % rank for axis in named or default]
    if batch in meant and x.folded > 1:
        raise Refused("an axis that samples are on", BATCH_FIRST)
    own = [axis_in_graph(x, axis) for axis in meant]
    attrs = {**call.attrs, name: own if name == "axes" else own[0]}
    found = make(replace(call, operands=[batch_first(x) for x in given], attrs=attrs))

    def back(value: NodeSpec) -> NodeSpec | BatchMoved:
        fewer = len(shape_of(value)) < rank + (x.folded > 1)
        gone = sum(axis < batch for axis in meant) if fewer else 0
        return replace(x, x=value, batch=batch - gone) if batch > gone or x.folded > 1 else value

    return [back(one) for one in found] if isinstance(found, Sequence) else back(found)


def batch_first(value: Operand) -> Operand:
    """Return an operand as the graph has it."""
    if isinstance(value, BatchMoved):
        assert isinstance(value.x, Activation)
        return value.x
    return value

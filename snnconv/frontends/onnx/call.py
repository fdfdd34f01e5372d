"""An operator of a file with its operands: what an ONNX form is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snnconv.frontends.lowering.contract import (
    Activation,
    BatchMoved,
    Refused,
    Stored,
    activation,
    stored,
)

Operand = Activation | BatchMoved | Stored | None
"""None is one that is left out."""


@dataclass(frozen=True)
class Call:
    """One operator in place.

    Attributes:
        opset: the version of the operator's meaning.
        batch: the file's own size of the batch, where it fixes one.
        outputs: how many it has.
        read: how many of them somebody reads, counted to the last that is.
        texts: whether the network's input is token numbers.
        last: whether nothing but moves stands between it and the logits.
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
        """The first operand, which has to depend on the input."""
        return activation(self.operand(0))

    def operand(self, position: int) -> Operand:
        """The operand at a position, if there is one."""
        return self.operands[position] if position < len(self.operands) else None

    def tensor(self, position: int, role: str) -> Stored:
        """An operand that has to be constant."""
        return stored(role, self.operand(position))

    def optional(self, position: int, role: str) -> Stored | None:
        """An operand that has to be constant, if there is one."""
        return None if self.operand(position) is None else self.tensor(position, role)

    def numbers(self, name: str, position: int | None = None) -> list[Any] | None:
        """Numbers that are an attribute or, in newer opsets, a constant operand; None for none."""
        if name in self.attrs:
            value = self.attrs[name]
            return list(value) if isinstance(value, Sequence) else [value]
        operand = None if position is None else self.operand(position)
        if isinstance(operand, Activation | BatchMoved):
            raise Refused(f"{name} that depend on data")
        return None if operand is None else operand.value.reshape(-1).tolist()

    def number(self, name: str, default: Any, position: int | None = None) -> Any:
        """One such number."""
        found = self.numbers(name, position)
        return found[0] if found else default

"""What a form of an operation is: a function from a call's arguments to the node it amounts to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from snnconv.graph.ir import Node
from snnconv.graph.remedies import IN_OTHER_WORDS


class Refused(Exception):  # noqa: N818 - collected by the translator, never seen by the user
    """A call that no operation of the closed list stands for.

    Args:
        found: what it is.
        remedy: one way round it.
    """

    def __init__(self, found: str, remedy: str = IN_OTHER_WORDS) -> None:
        super().__init__(found)
        self.remedy = remedy


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input.

    Attributes:
        node: the graph node that gives it.
        shape: with the batch.
        made: that node, where a form may want to look at it.
    """

    node: str
    shape: tuple[int, ...]
    made: Node | None = None


@dataclass(frozen=True)
class Stored:
    """A tensor of the network's own; without a name it takes its node's."""

    name: str
    value: Tensor


@dataclass(frozen=True)
class NodeSpec:
    """The node a call amounts to.

    Attributes:
        sources: what it reads; a node that has to be made first, where one call amounts to two.
        tensors: by role; those that are absent are None.
        ending: for a softmax, which is dropped at the end of a network: what was dropped.
        inside: what it is elsewhere.
    """

    op: str
    sources: "Sequence[Activation | NodeSpec]"
    attrs: dict[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Stored | None] = field(default_factory=dict)
    ending: Callable[[Tensor], Tensor] | None = None
    inside: "NodeSpec | None" = None


@dataclass(frozen=True)
class BatchMoved:
    """A value whose batch is not the first axis where it comes from: often the second of sequences.

    Attributes:
        x: the value with its batch first, the other axes as they are; one that has to be made
            first, where a form gives it.
        batch: the axis that the batch is where it comes from.
    """

    x: Activation | NodeSpec
    batch: int


Shape = tuple[int, ...]
NodeMaker = Callable[..., NodeSpec | list[Any]]
"""``(shape of the value, arguments of the call) -> node``, or nodes where a call gives several.

Of several, one may be a list in turn, or None where no operation gives it."""


def activation(value: object) -> Activation:
    """An operand that has to depend on the input."""
    if isinstance(value, Activation):
        return value
    shown = f"the tensor '{value.name}'" if isinstance(value, Stored) else repr(value)
    raise Refused(f"an operand that is no activation ({shown})")


def stored(role: str, value: object) -> Stored:
    """An operand that has to be the network's own."""
    if isinstance(value, Stored):
        return value
    raise Refused(f"a {role} that is no tensor of the network")


def weights(**tensors: object) -> dict[str, Stored | None]:
    """Tensors by role, some of them absent."""
    return {role: None if t is None else stored(role, t) for role, t in tensors.items()}


def sizes(value: Any, rank: int) -> list[int]:
    """One number for all axes, or one an axis."""
    given = [int(n) for n in value] if isinstance(value, tuple | list) else [int(value)]
    return given * rank if len(given) == 1 else given


def batched(x: object, rank: int) -> Activation:
    """An operand with a batch, channels, and so many axes behind them."""
    source = activation(x)
    if len(source.shape) != rank + 2:
        raise Refused(f"an input of shape [B, {', '.join(map(str, source.shape[1:]))}]")
    return source

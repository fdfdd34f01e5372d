"""Lowerings: every way to write an operation, and the function that makes its nodes.

A front end finds a call in the table made from all lowerings, and passes its arguments to the
lowering's ``make``. The parameters of ``make`` are those of PyTorch's functional form, in the same
order and with the same defaults. A module goes through the same function, with those of its
attributes that are parameters. ``make`` refuses arguments that it can't take.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from torch import Tensor, nn

from snnconv.graph.ir import Node
from snnconv.graph.operations.base import Attributes
from snnconv.graph.remedies import IN_OTHER_WORDS

BATCH = 3
"""Samples of the example that fixes shapes: a size that no layer is likely to have."""


class Refused(Exception):  # noqa: N818 - collected by the translator, never seen by the user
    """A call that no operation of the closed list can express.

    Args:
        found: what was found.
        remedy: one way round it.
    """

    def __init__(self, found: str, remedy: str = IN_OTHER_WORDS) -> None:
        super().__init__(found)
        self.remedy = remedy


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input.

    Attributes:
        node: the name of the node that gives it.
        shape: the shape, with the batch.
        made: the node, for makers that examine it.
        mask: whether it is 0 or 1 everywhere, as comparisons are.
    """

    node: str
    shape: tuple[int, ...]
    made: Node | None = None
    mask: bool = False


@dataclass(frozen=True)
class Stored:
    """A tensor of the network; without a name it takes the name of its node."""

    name: str
    value: Tensor


@dataclass(frozen=True)
class NodeSpec:
    """The node that a call becomes.

    Attributes:
        op: the operation.
        sources: the values that it reads; or a node to make first, if one call becomes two.
        attrs: the attributes; None if there are none, or if all have their defaults.
        tensors: the tensors by role; absent ones are None.
        ending: what is dropped, for a softmax at the end of a network.
        inside: what this softmax is at any other place.
    """

    op: str
    sources: "Sequence[Activation | NodeSpec]"
    attrs: Attributes | None = None
    tensors: Mapping[str, Stored | None] = field(default_factory=dict)
    ending: Callable[[Tensor], Tensor] | None = None
    inside: "NodeSpec | None" = None


@dataclass(frozen=True)
class BatchMoved:
    """A value whose batch is not the first axis in the network that it comes from.

    There the batch may be one axis with other places, as in ``x.view(B * heads, ...)``. Such an
    axis has ``before * B * behind`` places; in the graph the second axis has those of a sample.

    Attributes:
        x: the value with its batch first and the other axes as they are; a node that has to be
            made first, if a call gives it.
        batch: the axis that the batch is there; often the second, in sequences.
        before: places that stand before the samples in that axis.
        behind: places that stand behind each sample in it.
    """

    x: Activation | NodeSpec
    batch: int
    before: int = 1
    behind: int = 1

    @property
    def folded(self) -> int:
        """Return how many places of a sample share the axis with the batch."""
        return self.before * self.behind


Shape = tuple[int, ...]
Extent = int | Sequence[int]
"""A number for all axes, or one for each."""

NodeMaker = Callable[..., NodeSpec | list[Any]]
"""``(shape of the value, arguments of the call) -> node``, or nodes if a call gives several.

One of several may be a list in turn, or None if no operation gives it."""


class BatchAxis(StrEnum):
    """What a call does to a value whose batch is not the first axis."""

    FIRST = "first"  # it refuses this value
    MOVES = "moves"  # it moves numbers and changes none, so a run shows what it does
    EACH = "each"  # it changes each number by itself
    CHANNELS = "channels"  # each number, by one number for all or one a channel
    ROWS = "rows"  # it changes each row of the last axis by itself
    LAST = "last"  # it works over the last axes, those of ``normalized_shape``
    MATRICES = "matrices"  # it multiplies matrices, which are the last two axes
    BROADCASTS = "broadcasts"  # each number, with constants that broadcast
    ALONG = "along"  # it works along axes that ``dim`` names
    SEQUENCES = "sequences"  # it takes sequences, and ``batch_first`` says where their batch is


OnnxMaker = Callable[[Any], Any]
"""``call -> node``, or nodes, for a :class:`snnconv.frontends.lowering.call.Call`."""


@dataclass(frozen=True)
class Onnx:
    """An operator of ONNX.

    Attributes:
        make: its nodes.
        axes: of an operator along axes that are named: the attribute that names them, and in newer
            opsets the operand.
        moved: the same as ``make``, for a value whose batch is not the first axis.
    """

    make: OnnxMaker
    axes: tuple[str, int | None] | None = None
    moved: OnnxMaker | None = None


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """Every way to write one operation.

    Attributes:
        make: its nodes.
        batch_axis: what it does to a value whose batch is not the first axis.
        modules: PyTorch's modules, each with its attributes that are arguments after ``x``;
            ``tensors`` stands for all of the module's own parameters, by name.
        functions: PyTorch's functions and Python's operators.
        methods: names of a tensor's methods.
        named: full names of functions of other packages, which need not be installed.
        aten: ATen's operators with these arguments in this order, with their overload if it is not
            ``default``.
        onnx: operators of ONNX.
        pair: the lowering for two values, as ``max(x, other)`` has another than ``max(x, dim)``.
    """

    make: NodeMaker
    batch_axis: BatchAxis
    modules: Mapping[type[nn.Module], tuple[str, ...]] = field(default_factory=dict)
    functions: tuple[Callable[..., Any], ...] = ()
    methods: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    aten: tuple[str, ...] = ()
    onnx: Mapping[str, Onnx] = field(default_factory=dict)
    pair: NodeMaker | None = None


def by_rank(
    make: NodeMaker,
    batch_axis: BatchAxis,
    *,
    modules: tuple[type[nn.Module], ...] = (),
    attributes: tuple[str, ...] = (),
    functions: tuple[tuple[Callable[..., Any], ...], ...] = (),
    aten: tuple[str, ...] = (),
    onnx: Mapping[str, Onnx] | None = None,
) -> list[Lowering]:
    """Return lowerings for one, two and three axes; ``make`` takes their number first.

    Args:
        make: takes the number of axes before everything else.
        batch_axis: of all three.
        modules: one for each number of axes.
        attributes: the attributes of each module.
        functions: tuples of one for each number of axes.
        aten: names with ``#`` for the number.
        onnx: operators, each for any number of axes; they are the first lowering's.
    """
    return [
        Lowering(
            make=partial(make, rank),
            batch_axis=batch_axis,
            modules={modules[rank - 1]: attributes} if modules else {},
            functions=tuple(three[rank - 1] for three in functions),
            aten=tuple(name.replace("#", str(rank)) for name in aten),
            onnx=onnx if onnx and rank == 1 else {},
        )
        for rank in (1, 2, 3)
    ]


def in_place(*names: str) -> tuple[str, ...]:
    """Return ATen's operators, and those that change their operand: ``relu`` and ``relu_``."""
    changing = []
    for name in names:
        packet, dot, overload = name.partition(".")
        changing.append(f"{packet}_{dot}{overload}")
    return (*names, *changing)


def activation(value: object) -> Activation:
    """Return an operand, which has to depend on the input."""
    if isinstance(value, Activation):
        return value
    shown = f"the tensor '{value.name}'" if isinstance(value, Stored) else repr(value)
    raise Refused(f"an operand that is not an activation ({shown})")


def stored(role: str, value: object) -> Stored:
    """Return an operand, which has to be a tensor of the network."""
    if isinstance(value, Stored):
        return value
    raise Refused(f"a {role} that is not a tensor of the network")


def weights(**tensors: object) -> dict[str, Stored | None]:
    """Return tensors by role; some may be absent."""
    return {role: None if t is None else stored(role, t) for role, t in tensors.items()}


def sizes(value: Extent, rank: int) -> list[int]:
    """Return a number for each axis, from one for all or one for each."""
    given = [int(n) for n in value] if isinstance(value, Sequence) else [int(value)]
    return given * rank if len(given) == 1 else given


def batched(x: object, rank: int) -> Activation:
    """Return an operand, which has to have a batch, channels, and this many axes behind them."""
    source = activation(x)
    if len(source.shape) != rank + 2:
        raise Refused(f"an input of shape [B, {', '.join(map(str, source.shape[1:]))}]")
    return source

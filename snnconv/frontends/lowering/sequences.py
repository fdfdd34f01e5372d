"""Sequences: lookups of tokens, LSTM and GRU, which give tuples.

ONNX has the gates in another order than PyTorch, one layer to an operator, and, unless ``layout``
is 1, the batch as the second axis of sequences and states.

Shape:
    In ONNX ``X [L, B, F]``, ``W [D, G*H, F]``, ``R [D, G*H, H]``, ``B [D, 2*G*H]`` for D directions
    and G gates; ``Y [L, D, B, H]`` and ``Y_h [D, B, H]`` come out.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.call import Call, OnnxResult
from snnconv.frontends.lowering.contract import (
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
    stored,
    weights,
)
from snnconv.graph.ir import INPUT
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.sequence import Recurrent, names
from snnconv.graph.operations.wiring import Shaped, Slice
from snnconv.graph.remedies import BATCH_FIRST

ATTRIBUTES = (
    *("hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"),
    "tensors",
)


def whole(shape: Shape, x: object, *to: object, **named: object) -> NodeSpec:
    """Return the network's input as whole numbers, which tokens are; refuse anything else."""
    if activation(x).node != INPUT:
        raise Refused("whole numbers of something other than tokens")
    return NodeSpec("identity", [activation(x)])


def embedding(
    shape: Shape,
    x: object,
    weight: object,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> NodeSpec:
    """Lower an embedding: a row of a table for each token."""
    if max_norm is not None:
        raise Refused("an embedding that changes its weights (max_norm)")
    return NodeSpec("embedding", [activation(x)], None, weights(weight=stored("weight", weight)))


def recurrent(
    op: str,
    shape: Shape,
    x: object,
    hx: object = None,
    *,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    dropout: float,
    bidirectional: bool,
    proj_size: int,
    tensors: Mapping[str, object],
) -> list[Any]:
    """Lower a recurrence: its outputs, and as many last states as are among these.

    The last states are those of the last layer, by direction. States that no caller uses are None:
    those of layers below, and an LSTM's cells.
    """
    source = activation(x)
    if not batch_first or len(source.shape) != 3:
        raise Refused(
            "a recurrence without batch_first=True: samples have to come first",
            "make it with batch_first=True, or transpose its input: x.transpose(0, 1)",
        )
    start_at_0(hx)
    if proj_size:
        raise Refused("an LSTM with proj_size")
    attrs = Recurrent(
        hidden=hidden_size,
        layers=num_layers,
        bias=bool(bias),
        bidirectional=bool(bidirectional),
        dropout=float(dropout),
    )
    outputs, last = recurrence(op, source, attrs, weights(**tensors))
    states: list[Any] = [*[None] * (len(last) * (num_layers - 1)), *last]
    return [outputs, [states, [None] * len(states)] if op == "lstm" else states]


def start_at_0(*states: object) -> None:
    """Refuse first states, a pair or one by one, that are anything else than zeros or absent."""
    for state in states:
        if isinstance(state, tuple | list):
            start_at_0(*state)
        elif state is not None and not (isinstance(state, Stored) and not state.value.any()):
            raise Refused("a recurrence that gets its first state: it has to start at 0")


def recurrence(
    op: str,
    source: Activation | NodeSpec,
    attrs: Recurrent,
    tensors: Mapping[str, Stored | None],
) -> tuple[NodeSpec, list[NodeSpec]]:
    """Return a recurrence's outputs ``[B, L, ways*H]`` and last states ``[B, H]`` by direction."""
    outputs = NodeSpec(op, [source], attrs, tensors)
    length, ways = shape_of(source)[1], 2 if attrs.bidirectional else 1
    return outputs, [_state(outputs, way, length, attrs.hidden) for way in range(ways)]


def aten_recurrent(
    op: str,
    shape: Shape,
    x: object,
    hx: object,
    params: Sequence[object],
    biases: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[Any]:
    """Lower ATen's recurrences: weights in a row, the states of each kind as one value."""
    if training and dropout:
        raise Refused("dropout that is on outside training: export it in evaluation mode")
    hidden = stored("weight", params[1]).value.shape[-1]
    attrs = Recurrent(
        hidden=hidden, layers=layers, bias=biases, bidirectional=bidirectional, dropout=dropout
    )
    parts = [part for layer in names(attrs) for part in layer]
    roles = [role for part in parts for role in part.values()]
    if len(roles) != len(params):
        raise Refused("an LSTM with proj_size")
    outputs, states = recurrent(
        op,
        shape,
        x,
        hx,
        hidden_size=hidden,
        num_layers=layers,
        bias=biases,
        batch_first=batch_first,
        dropout=dropout,
        bidirectional=bidirectional,
        proj_size=0,
        tensors=dict(zip(roles, params, strict=True)),
    )
    return [outputs, *(states if op == "lstm" else [states])]


def _state(outputs: NodeSpec, way: int, length: int, hidden: int) -> NodeSpec:
    """Return the last state of a direction: the output at the end that it reaches last."""
    place = 0 if way else length - 1
    end = Slice(dim=1, start=place, stop=place + 1, step=1)
    own = Slice(dim=2, start=way * hidden, stop=(way + 1) * hidden, step=1)
    cut = NodeSpec("slice", [NodeSpec("slice", [outputs], end)], own)
    return NodeSpec("reshape", [cut], Shaped(shape=[hidden]))


def aten_embedding(shape: Shape, weight: object, x: object, *options: object) -> NodeSpec:
    """Lower ATen's embedding, which has the table first."""
    return embedding(shape, x, weight)


_ORDER = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2)}  # of iofc as ifgo, of zrh as rzn


_ACTIVATIONS = {"lstm": ["sigmoid", "tanh", "tanh"], "gru": ["sigmoid", "tanh"]}


_PLAIN = "export it as PyTorch's own: nn.LSTM or nn.GRU"


def onnx_recurrent(op: str, call: Call) -> list[OnnxResult]:
    """Lower an LSTM or GRU of one layer: outputs and last states; an LSTM's cells can't be had."""
    if call.read > 2:
        raise Refused(
            "an LSTM's cells, which are not among its outputs", "use its outputs or last state"
        )
    x, first = _input(call)
    length = x.shape[1]
    direction = call.attrs.get("direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise Refused(f"the direction '{direction}'")
    ways = 2 if direction == "bidirectional" else 1
    _refuse_variants(op, call, ways, length)
    tensors = _tensors(op, call, ways)
    hidden = call.tensor(2, "R").value.shape[2]
    bias = "bias_ih_l0" in tensors
    attrs = Recurrent(hidden=hidden, layers=1, bias=bias, bidirectional=ways == 2, dropout=0.0)
    source = _backwards(x, length) if direction == "reverse" else x
    outputs, states = recurrence(op, source, attrs, tensors)
    outputs = _backwards(outputs, length) if direction == "reverse" else outputs
    every = NodeSpec("reshape", [outputs], Shaped(shape=[length, ways, hidden]))
    last = NodeSpec(
        "reshape", [NodeSpec("concat", states, Along(dim=1))], Shaped(shape=[ways, hidden])
    )
    return [BatchMoved(every, 2), BatchMoved(last, 1)] if first else [every, last]


def _input(call: Call) -> tuple[Activation, bool]:
    """Return the sequences ``[B, L, F]``, and whether places come before the batch in the file."""
    x, layout = call.operand(0), call.number("layout", 0)
    second = isinstance(x, BatchMoved) and x.batch == 1
    if not (layout == 1 and isinstance(x, Activation)) and not (layout == 0 and second):
        raise Refused("sequences whose batch is not the axis behind their places", BATCH_FIRST)
    source = activation(x.x if isinstance(x, BatchMoved) else x)
    if len(source.shape) != 3:
        raise Refused(f"sequences of shape {list(source.shape[1:])}")
    return source, layout == 0


def _refuse_variants(op: str, call: Call, ways: int, length: int) -> None:
    """Refuse what ONNX's recurrences can do and PyTorch's can't."""
    given = [name.lower() for name in call.attrs.get("activations", _plain(op, ways))]
    if given != _plain(op, ways):
        raise Refused(f"the activations {', '.join(given)}", _PLAIN)
    if "clip" in call.attrs:
        raise Refused(f"a clip of the gates' inputs at {call.attrs['clip']}", _PLAIN)
    if op == "lstm" and call.number("input_forget", 0):
        raise Refused("input and forget gates that are one (input_forget)", _PLAIN)
    if op == "lstm" and call.operand(7) is not None:
        raise Refused("gates that see the cell (peepholes)", _PLAIN)
    if op == "gru" and not call.number("linear_before_reset", 0):
        raise Refused("a reset before the matrix (linear_before_reset=0)", _PLAIN)
    lengths = call.operand(4)
    if lengths is not None and not (
        isinstance(lengths, Stored) and bool((lengths.value == length).all())
    ):
        raise Refused("sequences of different lengths (sequence_lens)", "pad them to one length")
    start_at_0(call.operand(5), call.operand(6))


def _plain(op: str, ways: int) -> list[str]:
    return _ACTIVATIONS[op] * ways


def _tensors(op: str, call: Call, ways: int) -> dict[str, Stored | None]:
    """Return the weights by their roles, with gates in PyTorch's order."""
    matrices = {"weight_ih": call.tensor(1, "W").value, "weight_hh": call.tensor(2, "R").value}
    bias, gates = call.optional(3, "B"), len(_ORDER[op])
    width, hidden = (matrix.shape[-1] for matrix in matrices.values())
    rows = gates * hidden
    wanted = [(ways, rows, width), (ways, rows, hidden), (ways, 2 * rows)]
    given = [*matrices.values(), *([] if bias is None else [bias.value])]
    if any(tuple(one.shape) != shape for one, shape in zip(given, wanted, strict=False)):
        raise Refused(f"weights of shape {', '.join(str(list(one.shape)) for one in given)}")
    if bias is not None:
        matrices["bias_ih"], matrices["bias_hh"] = bias.value.chunk(2, 1)
    roles = names(
        Recurrent(
            hidden=hidden, layers=1, bias=bias is not None, bidirectional=ways == 2, dropout=0.0
        )
    )[0]
    return {
        role: Stored("", _in_order(op, matrices[kind][way]))
        for way, part in enumerate(roles)
        for kind, role in part.items()
    }


def _in_order(op: str, rows: Tensor) -> Tensor:
    """Return blocks of rows in PyTorch's order."""
    blocks = rows.chunk(len(_ORDER[op]))
    return torch.cat([blocks[k] for k in _ORDER[op]])


def _backwards(x: Activation | NodeSpec, length: int) -> NodeSpec:
    return NodeSpec("slice", [x], Slice(dim=1, start=length - 1, stop=-1, step=-1))


LOWERINGS = (
    Lowering(
        make=embedding,
        batch_axis=BatchAxis.EACH,
        modules={nn.Embedding: ("weight", "padding_idx", "max_norm")},
        functions=(F.embedding,),
    ),
    Lowering(make=aten_embedding, batch_axis=BatchAxis.EACH, aten=("embedding",)),
    Lowering(make=whole, batch_axis=BatchAxis.EACH, methods=("long", "int")),
    *(
        Lowering(
            make=partial(recurrent, name),
            batch_axis=BatchAxis.SEQUENCES,
            modules={kind: ATTRIBUTES},
            onnx={name.upper(): Onnx(of_onnx, moved=of_onnx)},
        )
        for name, kind, of_onnx in (
            ("lstm", nn.LSTM, partial(onnx_recurrent, "lstm")),
            ("gru", nn.GRU, partial(onnx_recurrent, "gru")),
        )
    ),
    *(
        Lowering(
            make=partial(aten_recurrent, name),
            batch_axis=BatchAxis.SEQUENCES,
            aten=(f"{name}.input",),
        )
        for name in ("lstm", "gru")
    ),
)

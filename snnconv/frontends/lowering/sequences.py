"""Forms of sequences: lookups of tokens, LSTM and GRU, which give tuples."""

from collections.abc import Mapping, Sequence
from typing import Any

from snnconv.frontends.lowering.builder import shape_of
from snnconv.frontends.lowering.contract import (
    Activation,
    NodeSpec,
    Refused,
    Shape,
    Stored,
    activation,
    stored,
    weights,
)
from snnconv.graph import ops_recurrent as recurrences
from snnconv.graph.ir import INPUT

ATTRIBUTES = (
    *("hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"),
    "tensors",
)
"""Of a recurrent module, what its form takes."""


def whole(shape: Shape, x: object, *to: object, **named: object) -> NodeSpec:
    """The network's input as whole numbers, which tokens are; nothing else can be rounded."""
    if activation(x).node != INPUT:
        raise Refused("whole numbers of what is no token")
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
    """A row of a table for each token."""
    if max_norm is not None:
        raise Refused("an embedding that changes its weights (max_norm)")
    return NodeSpec("embedding", [activation(x)], {}, weights(weight=stored("weight", weight)))


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
    """The sequence of outputs, and the last states as far as they are among these.

    Those are the last layer's, by direction. What a caller does not use may be None: the states of
    layers below, and an LSTM's cells.
    """
    source = activation(x)
    if not batch_first or len(source.shape) != 3:
        raise Refused(
            "a recurrence without batch_first=True: samples are to come first",
            "make it with batch_first=True, or turn its input: x.transpose(0, 1)",
        )
    start_at_0(hx)
    if proj_size:
        raise Refused("an LSTM with proj_size")
    attrs = {
        "hidden": hidden_size,
        "layers": num_layers,
        "bias": bool(bias),
        "bidirectional": bool(bidirectional),
        "dropout": float(dropout),
    }
    outputs, last = run(op, source, attrs, weights(**tensors))
    states: list[Any] = [*[None] * (len(last) * (num_layers - 1)), *last]
    return [outputs, [states, [None] * len(states)] if op == "lstm" else states]


def start_at_0(*states: object) -> None:
    """Refuse first states, a pair or one by one, that are anything else than zeros or absent."""
    for state in states:
        if isinstance(state, tuple | list):
            start_at_0(*state)
        elif state is not None and not (isinstance(state, Stored) and not state.value.any()):
            raise Refused("a recurrence that is given its first state: it is to start at 0")


def run(
    op: str,
    source: Activation | NodeSpec,
    attrs: dict[str, Any],
    tensors: Mapping[str, Stored | None],
) -> tuple[NodeSpec, list[NodeSpec]]:
    """A recurrence's outputs ``[B, L, ways*H]``, and its last states ``[B, H]`` by direction."""
    outputs = NodeSpec(op, [source], attrs, tensors)
    length, ways = shape_of(source)[1], 2 if attrs["bidirectional"] else 1
    return outputs, [_state(outputs, way, length, attrs["hidden"]) for way in range(ways)]


def operator(
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
    """A recurrence as ATen has it: weights in a row, the states of each kind as one value."""
    if training and dropout:
        raise Refused("dropout that is on outside training: export it in evaluation mode")
    attrs = {"bias": biases, "bidirectional": bidirectional, "layers": layers}
    parts = [part for layer in recurrences.names(attrs) for part in layer]
    roles = [role for part in parts for role in part.values()]
    if len(roles) != len(params):
        raise Refused("an LSTM with proj_size")
    outputs, states = recurrent(
        op,
        shape,
        x,
        hx,
        hidden_size=stored("weight", params[1]).value.shape[-1],
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
    """The last state of a direction: the output at the end that it comes to last."""
    place = 0 if way else length - 1
    end = {"dim": 1, "start": place, "stop": place + 1, "step": 1}
    own = {"dim": 2, "start": way * hidden, "stop": (way + 1) * hidden, "step": 1}
    cut = NodeSpec("slice", [NodeSpec("slice", [outputs], end)], own)
    return NodeSpec("reshape", [cut], {"shape": [hidden]})

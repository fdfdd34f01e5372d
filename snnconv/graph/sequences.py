"""Forms of sequences: lookups of tokens, LSTM and GRU, which give tuples."""

from collections.abc import Mapping
from typing import Any

from snnconv.graph.form import Made, Refused, Shape, activation, stored, weights
from snnconv.graph.ir import INPUT

ATTRIBUTES = (
    *("hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"),
    "tensors",
)
"""Of a recurrent module, what its form takes."""


def whole(shape: Shape, x: object, *to: object, **named: object) -> Made:
    """The network's input as whole numbers, which tokens are; nothing else can be rounded."""
    if activation(x).node != INPUT:
        raise Refused("whole numbers of what is no token")
    return Made("identity", [activation(x)])


def embedding(
    shape: Shape,
    x: object,
    weight: object,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Made:
    """A row of a table for each token."""
    if max_norm is not None:
        raise Refused("an embedding that changes its weights (max_norm)")
    return Made("embedding", [activation(x)], {}, weights(weight=stored("weight", weight)))


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
        raise Refused("a recurrence without batch_first=True: samples are to come first")
    if hx is not None:
        raise Refused("a recurrence that is given its first state: it is to start at 0")
    if proj_size:
        raise Refused("an LSTM with proj_size")
    attrs = {
        "hidden": hidden_size,
        "layers": num_layers,
        "bias": bool(bias),
        "bidirectional": bool(bidirectional),
        "dropout": float(dropout),
    }
    outputs = Made(op, [source], attrs, weights(**tensors))
    length, ways = source.shape[1], 2 if bidirectional else 1
    last = [_state(outputs, way, length, hidden_size) for way in range(ways)]
    states: list[Any] = [*[None] * (ways * (num_layers - 1)), *last]
    return [outputs, [states, [None] * len(states)] if op == "lstm" else states]


def _state(outputs: Made, way: int, length: int, hidden: int) -> Made:
    """The last state of a direction: the output at the end that it comes to last."""
    place = 0 if way else length - 1
    end = {"dim": 1, "start": place, "stop": place + 1, "step": 1}
    own = {"dim": 2, "start": way * hidden, "stop": (way + 1) * hidden, "step": 1}
    cut = Made("slice", [Made("slice", [outputs], end)], own)
    return Made("reshape", [cut], {"shape": [hidden]})

"""Sequences: lookups of tokens, LSTM and GRU.

A lookup is wiring: what it reads is constant over time, so it is computed once. The recurrences are
functions that no neuron stands for; :mod:`snnconv.graph.unroll` makes networks of clipped-linear
sites of them.

Shape:
    ``[B, L]`` token numbers ``-> [B, L, E]``; ``[B, L, F] -> [B, L, H]``, or ``[B, L, 2*H]`` of
    both directions.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.errors import UnsupportedError

Attrs = Mapping[str, Any]
Tensors = Mapping[str, Tensor]

GATES: Mapping[str, int] = {"lstm": 4, "gru": 3}
"""The recurrences, with the number of blocks of H rows in a matrix of each."""

_POINTWISE = {"lstm": 5 + 3, "gru": 3 + 3}  # functions and products of each hidden unit and step


def embedding(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Row k of a table for token k.

    Raises:
        UnsupportedError: a number that is no row's.
    """
    (x,), table = inputs, tensors["weight"]
    if not x.is_meta:
        wrong = (x < 0) | (x >= len(table)) | (x != x.floor())
        if wrong.any():
            raise UnsupportedError(
                "the data do not fit the network's embedding",
                f"token {x[wrong][0].item():g}, where tokens are whole numbers 0..{len(table) - 1}",
                "give texts (--data textfolder:DIR), under the vocabulary that it was trained with",
            )
    return F.embedding(x.long(), table)


def embedding_reach(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """A token reaches each number of its row."""
    (x,) = inputs
    return x[..., None].expand(*x.shape, tensors["weight"].shape[1])


def names(attrs: Attrs) -> list[list[dict[str, str]]]:
    """The tensor roles of each layer and direction: by ``weight_ih``, ``bias_ih``, ..."""
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if attrs["bias"] else [])]
    ways = ["", "_reverse"] if attrs["bidirectional"] else [""]
    return [
        [{kind: f"{kind}_l{layer}{way}" for kind in kinds} for way in ways]
        for layer in range(attrs["layers"])
    ]


def _weights(attrs: Attrs, tensors: Tensors) -> list[Tensor]:
    return [tensors[role] for layer in names(attrs) for part in layer for role in part.values()]


def _start(attrs: Attrs, x: Tensor) -> Tensor:
    ways = 2 if attrs["bidirectional"] else 1
    return x.new_zeros(attrs["layers"] * ways, len(x), attrs["hidden"])


def lstm(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """The last layer's output at every place; both states start at 0."""
    (x,), start = _places(inputs), _start(attrs, inputs[0])
    found: Tensor = torch.lstm(x, (start, start), *_settings(attrs, tensors))[0]
    return found.expand(-1, inputs[0].shape[1], -1)


def gru(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """The last layer's output at every place; the state starts at 0."""
    (x,) = _places(inputs)
    found: Tensor = torch.gru(x, _start(attrs, x), *_settings(attrs, tensors))[0]
    return found.expand(-1, inputs[0].shape[1], -1)


def _places(inputs: list[Tensor]) -> list[Tensor]:
    """The sequence; where only shapes are computed one place of it, as PyTorch takes seconds."""
    return [x[:, :1] if x.is_meta else x for x in inputs]


def _settings(attrs: Attrs, tensors: Tensors) -> tuple[Any, ...]:
    """Weights, and how torch's functions use them; dropout between layers acts in training."""
    return (
        _weights(attrs, tensors),
        attrs["bias"],
        attrs["layers"],
        attrs["dropout"],
        attrs.get("training", False),
        attrs["bidirectional"],
        True,  # samples come first
    )


def reach(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """What is computed from what: every output from every input of the sequence."""
    (x,) = inputs
    ways = 2 if attrs["bidirectional"] else 1
    return x.sum((1, 2), keepdim=True).expand(len(x), x.shape[1], ways * attrs["hidden"])


def macs(op: str, attrs: Attrs, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of a recurrence for one sample ``[L, F]``.

    Every weight at every place, and one for each function and product of a hidden unit.
    """
    (length, width), hidden = shape, attrs["hidden"]
    ways = 2 if attrs["bidirectional"] else 1
    total = 0
    for _ in range(attrs["layers"]):
        total += ways * hidden * (GATES[op] * (width + hidden) + _POINTWISE[op])
        width = ways * hidden
    return length * total

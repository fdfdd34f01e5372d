"""Sequences: lookups of tokens, LSTM and GRU.

A lookup is wiring: what it reads is constant over time, so it is computed once. The recurrences are
functions that no neuron stands for; :mod:`snnconv.graph.unroll` makes networks of clipped-linear
sites of them.

Shape:
    ``[B, L]`` token numbers ``-> [B, L, E]``; ``[B, L, F] -> [B, L, H]``, or ``[B, L, 2*H]`` of
    both directions.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from snnconv.errors import UnsupportedError
from snnconv.graph.operations.base import (
    Attributes,
    Flag,
    Op,
    Role,
    Shape,
    Share,
    Silence,
    Size,
    Tensors,
    TensorShapes,
    any_shape,
)
from snnconv.graph.operations.work import Work, no_work


class Recurrent(Attributes):
    """Attributes of an LSTM or a GRU."""

    hidden: Size = Field(description="hidden units, H")
    layers: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(description="layers")
    bias: Flag = Field(description="whether its gates have biases")
    bidirectional: Flag = Field(description="whether it also runs from the end")
    dropout: Share = Field(description="share dropped between layers in training")

    @property
    def directions(self) -> int:
        """One, or two."""
        return 2 if self.bidirectional else 1


GATES: Mapping[str, int] = {"lstm": 4, "gru": 3}
"""The recurrences, with the number of blocks of H rows in a matrix of each."""

_OF_A_UNIT = {"lstm": Work(macs=3, lookups=5), "gru": Work(macs=3, lookups=3, additions=1)}
"""What a hidden unit computes at a step: sigmoids and tanh by tables, products, and GRU's 1 - z."""


def _embedding(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return row k of a table for token k; refuse a number without a row."""
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


def _embedding_wiring(attrs: Attributes, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the wiring: a token reaches each number of its row."""
    (x,) = inputs
    return x[..., None].expand(*x.shape, tensors["weight"].shape[1])


def names(attrs: Recurrent) -> list[list[dict[str, str]]]:
    """Return the tensor roles of each layer and direction: by ``weight_ih``, ``bias_ih``, ..."""
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if attrs.bias else [])]
    ways = ["", "_reverse"] if attrs.bidirectional else [""]
    return [
        [{kind: f"{kind}_l{layer}{way}" for kind in kinds} for way in ways]
        for layer in range(attrs.layers)
    ]


def _roles(attrs: Recurrent) -> tuple[str, ...]:
    return tuple(role for layer in names(attrs) for part in layer for role in part.values())


def _start(attrs: Recurrent, x: Tensor) -> Tensor:
    return x.new_zeros(attrs.layers * attrs.directions, len(x), attrs.hidden)


def _lstm(training: bool, attrs: Recurrent, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the last layer's output at every place; both states start at 0."""
    (x,), start = _places(inputs), _start(attrs, inputs[0])
    found: Tensor = torch.lstm(x, (start, start), *_settings(training, attrs, tensors))[0]
    return found.expand(-1, inputs[0].shape[1], -1)


def _gru(training: bool, attrs: Recurrent, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the last layer's output at every place; the state starts at 0."""
    (x,) = _places(inputs)
    found: Tensor = torch.gru(x, _start(attrs, x), *_settings(training, attrs, tensors))[0]
    return found.expand(-1, inputs[0].shape[1], -1)


def _places(inputs: list[Tensor]) -> list[Tensor]:
    """Compute the sequence, or one place of it for shapes alone, which take PyTorch seconds."""
    return [x[:, :1] if x.is_meta else x for x in inputs]


def _settings(training: bool, attrs: Recurrent, tensors: Tensors) -> tuple[Any, ...]:
    """Return the arguments of torch's functions; dropout between layers acts in training."""
    return (
        [tensors[role] for role in _roles(attrs)],
        attrs.bias,
        attrs.layers,
        attrs.dropout,
        training,
        attrs.bidirectional,
        True,  # samples come first
    )


def _wiring(attrs: Recurrent, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return the wiring: every output is computed from every input of the sequence."""
    (x,) = inputs
    width = attrs.directions * attrs.hidden
    return x.sum((1, 2), keepdim=True).expand(len(x), x.shape[1], width)


def _work(
    op: str,
    attrs: Recurrent,
    inputs: Sequence[Shape],
    output: Shape,
    tensors: Mapping[str, Shape],
) -> Work:
    """Count every weight at every place, and the functions of each hidden unit."""
    ((length, width),), hidden, total = inputs, attrs.hidden, Work()
    for _ in range(attrs.layers):
        unit = Work(weights=GATES[op] * (width + hidden)) + _OF_A_UNIT[op]
        total += unit * (attrs.directions * hidden)
        width = attrs.directions * hidden
    return total * length


_RECURRENCES = {"lstm": _lstm, "gru": _gru}


def _embedding_shape(
    attrs: Attributes, inputs: Sequence[Shape], tensors: TensorShapes
) -> Shape | None:
    """Return the shape of a row for each token."""
    table = tensors["weight"]
    return (*inputs[0], table[1]) if len(table) == 2 else None


OPERATIONS: tuple[Op[Any], ...] = (
    Op(
        name="embedding",
        role=Role.LINEAR,
        attributes=Attributes,
        value=_embedding,
        wiring=_embedding_wiring,
        rule=any_shape,
        work=no_work,
        silence=Silence.NOWHERE,
        required=("weight",),
        shape=_embedding_shape,
    ),
    *(
        Op(
            name=name,
            role=Role.ANALOG,
            attributes=Recurrent,
            value=partial(value, False),
            wiring=_wiring,
            rule=any_shape,
            work=partial(_work, name),
            silence=Silence.NOWHERE,
            asked=_roles,
            trained=partial(value, True),
        )
        for name, value in _RECURRENCES.items()
    ),
)

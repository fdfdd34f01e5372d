"""Gates: products of spikes, step by step.

A product of spikes is a spike or none, so a gate emits spikes of its own: it drives what is behind
it, and spikes that do not pass drive nothing.

Shape:
    Two values ``[B, *N] -> [B, *N]``.

Reference:
    Fang et al. 2021, *Deep Residual Learning in Spiking Neural Networks*, Table 1: AND and IAND.
"""

from pydantic import Field
from torch import Tensor

from snnconv.graph.operations.base import (
    Attributes,
    Ceiling,
    Op,
    Role,
    Silence,
    Tensors,
    broadcast,
    of_one_rank,
)
from snnconv.graph.operations.work import a_product, each_value


class Gate(Attributes):
    """Attributes of a gate."""

    unit: Ceiling = Field(1.0, description="what a spike carries: theta of the neurons before it")


def _and(attrs: Gate, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[0] * inputs[1] / attrs.unit


def _iand(attrs: Gate, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Return what the first input lets through of the second: all if it has no spike."""
    return (1 - inputs[0] / attrs.unit) * inputs[1]


def _second(attrs: Gate, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    return inputs[1]


OPERATIONS = tuple(
    Op(
        name=name,
        role=Role.GATE,
        attributes=Gate,
        value=value,
        wiring=_second,
        rule=of_one_rank,
        work=a_product,
        silence=Silence.NOWHERE,
        recomputed=each_value,
        sources=2,
        shape=broadcast,
    )
    for name, value in (("spike_and", _and), ("spike_iand", _iand))
)

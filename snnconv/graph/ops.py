"""The closed list of operations that a graph may hold.

Each operation is a record in :mod:`snnconv.graph.operations`: its role for a spiking network, its
attributes, its value on ``[B, *N]``, its wiring, its shape rule and its multiply-accumulates.
"""

from collections.abc import Mapping
from typing import Any

from snnconv.graph.operations import (
    activation,
    function,
    gate,
    normalisation,
    pooling,
    resizing,
    sequence,
    weighted,
    wiring,
)
from snnconv.graph.operations.base import Op, Role, Silence

__all__ = ["OPS", "Op", "Role", "Silence"]

_ROOMS = (weighted, normalisation, activation, pooling, wiring, resizing, function, gate, sequence)

OPS: Mapping[str, Op[Any]] = {op.name: op for room in _ROOMS for op in room.OPERATIONS}
"""Every operation that a graph may hold, by its name."""

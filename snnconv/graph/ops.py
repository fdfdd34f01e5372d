"""The closed list of operations that a graph may hold, and what is wrong with a node of one.

Each operation is a record in :mod:`snnconv.graph.operations`: its role for a spiking network, its
attributes, its value on ``[B, *N]``, its wiring, its shape rule and its multiply-accumulates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from snnconv.graph.ir import Node
from snnconv.graph.operations import (
    activation,
    function,
    normalisation,
    pooling,
    resizing,
    sequence,
    weighted,
    wiring,
)
from snnconv.graph.operations.base import Op, Role, Shape, Silence, Tensors

__all__ = ["OPS", "Op", "Role", "Silence", "misfit", "misplaced"]

_ROOMS = (weighted, normalisation, activation, pooling, wiring, resizing, function, sequence)

OPS: Mapping[str, Op[Any]] = {op.name: op for room in _ROOMS for op in room.OPERATIONS}
"""Every operation that a graph may hold, by its name."""


def misfit(node: Node) -> str | None:
    """What is wrong with a node by itself: its operation, attributes, inputs or tensors' roles."""
    if node.op not in OPS:
        return f"the unknown operation '{node.op}'"
    op = OPS[node.op]
    try:
        attrs = op.typed(node.attrs)
    except ValueError as error:
        return f"an attribute that can't be ({node.op}, {error})"
    if len(node.inputs) != op.sources and (op.sources or not node.inputs):
        return f"{len(node.inputs)} inputs, where {node.op} reads {op.sources or 'one or more'}"
    required = (*op.required, *op.asked(attrs))
    if lacking := [role for role in required if role not in node.tensors]:
        return f"no {', '.join(lacking)} ({node.op})"
    if surplus := sorted(set(node.tensors) - {*required, *op.optional}):
        return f"tensors it has no use for: {', '.join(surplus)} ({node.op})"
    return None


def misplaced(node: Node, shapes: Sequence[Shape], tensors: Tensors) -> str | None:
    """What is wrong with a node among its inputs that PyTorch finds only when it computes.

    Args:
        node: one that is no :func:`misfit`.
        shapes: of its inputs, without the batch.
        tensors: by role.
    """
    op = OPS[node.op]
    return op.rule(op.typed(node.attrs), shapes, tensors)

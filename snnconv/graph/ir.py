"""The intermediate representation: a network's graph as plain data.

A graph is a list of nodes in topological order, each an operation of the closed list in
:mod:`snnconv.graph.ops`, with JSON attributes and the names of the tensors it uses. Two nodes may
use one tensor (a module used twice). An activation *site*, where a conversion puts a neuron, is a
node of operation ``relu``, ``qcfs`` or ``transfer``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from snnconv.errors import CheckpointError
from snnconv.graph.operations.base import Op

INPUT = "input"

TRANSFER = "transfer"
"""The operation of a site whose activation may be negative; it changes nothing in the ANN."""

SITES = ("relu", "qcfs", TRANSFER)
"""The operations of activation sites."""


@dataclass(frozen=True)
class Node:
    """One operation in place.

    Attributes:
        name: a unique name: the path of its module in the original network, if it has one.
        op: the name of its operation in :data:`snnconv.graph.ops.OPS`.
        inputs: the names of the nodes that it reads, or ``input``.
        attrs: the attributes of its operation, as JSON values.
        tensors: the names of its tensors, by role: ``weight``, ``bias``, ...
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    tensors: Mapping[str, str]


@dataclass(frozen=True)
class Graph:
    """A network without its tensors.

    Attributes:
        input_shape: the shape of one sample, without the batch.
        nodes: topologically ordered.
        output: the node whose value is the logits.
    """

    input_shape: tuple[Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)], ...]
    nodes: tuple[Node, ...]
    output: str

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def sites(self) -> tuple[Node, ...]:
        """The nodes at which a conversion puts neurons."""
        return tuple(node for node in self.nodes if node.op in SITES)

    def consumers(self, name: str) -> Iterator[Node]:
        """Return the nodes that read a node's value."""
        return (node for node in self.nodes if name in node.inputs)

    def tensor_names(self) -> set[str]:
        """Return the names of all tensors that nodes use."""
        return {name for node in self.nodes for name in node.tensors.values()}

    def to_json(self) -> dict[str, Any]:
        """Return the graph as JSON data; :meth:`from_json` is the inverse."""
        return {
            "input_shape": list(self.input_shape),
            "output": self.output,
            "nodes": [
                {
                    "name": node.name,
                    "op": node.op,
                    "inputs": list(node.inputs),
                    "attrs": dict(node.attrs),
                    "tensors": dict(node.tensors),
                }
                for node in self.nodes
            ],
        }

    @staticmethod
    def from_json(
        data: Mapping[str, Any], operations: Mapping[str, Op[Any]], place: str
    ) -> "Graph":
        """Read and check a graph.

        Args:
            data: what :meth:`to_json` gave.
            operations: the operations that a graph may hold, :data:`snnconv.graph.ops.OPS`.
            place: the file, for the error.

        Raises:
            CheckpointError: an unknown operation, attributes it can't have, a dangling input, a
                name used twice.
        """

        def fail(found: str, remedy: str = "write the checkpoint again") -> CheckpointError:
            return CheckpointError(f"the graph in {place} can't be used", found, remedy)

        try:
            graph = TypeAdapter(Graph).validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise fail(f"a malformed graph ({where}: {first['msg']})") from error
        seen = {INPUT}
        for node in graph.nodes:
            op = operations.get(node.op)
            wrong = f"the unknown operation '{node.op}'"
            if op is not None:
                wrong = op.misfit(node.attrs, node.inputs, node.tensors) or ""
            if wrong:
                newer = "or use a version of snnconv that knows it: pip install --upgrade snnconv"
                raise fail(
                    f"node '{node.name}' has {wrong}",
                    f"write the checkpoint again, {newer}",
                )
            if missing := [name for name in node.inputs if name not in seen]:
                raise fail(f"node '{node.name}' reads {missing}, which no earlier node gives")
            if node.name in seen:
                raise fail(f"two nodes are named '{node.name}'")
            seen.add(node.name)
        if graph.output not in seen:
            raise fail(f"the output '{graph.output}' is no node")
        return graph

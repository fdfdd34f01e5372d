"""A graph under construction: it gives each node and each tensor a free name."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from snnconv.errors import one_line
from snnconv.frontends.lowering.contract import Activation, NodeSpec, Refused, Shape, Stored
from snnconv.graph.ir import INPUT, Node
from snnconv.graph.ops import OPS
from snnconv.graph.recognise import is_mask


class GraphBuilder:
    """Nodes in topological order, and their tensors in float32.

    Attributes:
        nodes: the nodes by name.
        tensors: the tensors by name, each once, even if several nodes use it.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.tensors: dict[str, Tensor] = {}
        self._given: dict[str, Tensor] = {}  # the tensor that each name was given for
        self._added: dict[
            int, tuple[NodeSpec, str]
        ] = {}  # by identity, which the pair keeps unique

    def add(self, made: NodeSpec, base: str) -> str:
        """Add a node and those that it is made of; add the same node only once.

        Args:
            made: the node that a lowering made.
            base: the name to take if it is free.

        Returns:
            The name of the node.

        Raises:
            Refused: its operation can't have these attributes.
        """
        if id(made) in self._added:
            return self._added[id(made)][1]
        try:
            attrs = OPS[made.op].typed(made.attrs or {})
        except ValueError as error:
            raise Refused(f"{made.op} with an attribute that is not valid ({error})") from error
        inputs = tuple(
            self.add(source, base) if isinstance(source, NodeSpec) else source.node
            for source in made.sources
        )
        name, count = base, 1
        while name == INPUT or name in self.nodes:
            count += 1
            name = f"{base}@{count}"
        self.nodes[name] = Node(name, made.op, inputs, attrs.json_values(), {})
        self.give(name, made.tensors)
        self._added[id(made)] = (made, name)
        return name

    def activation(self, name: str, shape: Shape) -> Activation:
        """Return a node's value, or the input, as an operand."""
        return Activation(
            name, shape, self.nodes.get(name), is_mask(self.nodes, self.tensors, name)
        )

    def give(self, name: str, tensors: Mapping[str, Stored | None]) -> None:
        """Let a node use more tensors, by role."""
        node = self.nodes[name]
        roles = {
            role: self._keep(tensor.name or f"{name}.{role}", tensor.value)
            for role, tensor in tensors.items()
            if tensor is not None
        }
        self.nodes[name] = replace(node, tensors={**node.tensors, **roles})

    def _keep(self, base: str, value: Tensor) -> str:
        name, count = base, 1
        while self._given.get(name, value) is not value:
            count += 1
            name = f"{base}@{count}"
        if name not in self._given:
            self._given[name] = value
            self.tensors[name] = value.detach().cpu().float().contiguous().clone()
        return name


def shape_of(value: Activation | NodeSpec) -> Shape:
    """Return the shape of a value, with the batch; this computes no value.

    Raises:
        Refused: attributes, tensors and sources that do not fit.
    """
    if isinstance(value, Activation):
        return value.shape
    sources = [torch.empty(shape_of(source), device="meta") for source in value.sources]
    tensors = {
        role: torch.empty(tensor.value.shape, device="meta")
        for role, tensor in value.tensors.items()
        if tensor is not None
    }
    try:
        return tuple(OPS[value.op].outline(value.attrs or {}, tensors, sources).shape)
    except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        shapes = [list(source.shape[1:]) for source in sources]
        raise Refused(
            f"inputs of shape {shapes} that do not fit the operation ({one_line(error)})"
        ) from error

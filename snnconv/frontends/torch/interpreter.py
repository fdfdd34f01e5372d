"""How a trace writes its calls, and what they do: each is run once, as the network runs them."""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx.node import map_aggregate, map_arg

from snnconv.frontends.lowering.contract import Stored
from snnconv.frontends.lowering.table import LEAVES

OF_SHAPES = frozenset(
    f"{kind}_{value}" if kind == "new" else f"{value}_{kind}"
    for kind in ("new", "like")
    for value in ("zeros", "ones", "full")
)
"""Calls that read only the shape of a value."""


class TraceInterpreter(torch.fx.Interpreter):
    """Runs a trace once, and notes what each node gives and changes.

    It keeps only the shape of values that depend on the input.

    Attributes:
        values: the values of each node.
        holders: the nodes of what depends on the input.
        changed: the nodes whose values a node changes in place.
    """

    def __init__(self, traced: torch.fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: dict[torch.fx.Node, Any] = {}
        self.holders: set[torch.fx.Node] = set()
        self.changed: dict[torch.fx.Node, list[torch.fx.Node]] = {}
        self._memory: dict[torch.fx.Node, int] = {}  # of a value; its aliases share it

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run one node."""
        before = [
            (source, value, value._version)
            for source in n.all_input_nodes
            if isinstance(value := self.env[source], Tensor)
        ]

        def shape_only(value: Any) -> Any:
            if not isinstance(value, Tensor) or not depends:
                return value
            self.holders.add(n)
            return value.to("meta")

        result = super().run_node(n)
        depends = n.op == "placeholder" or (
            any(source in self.holders for source in n.all_input_nodes)
            and target_name(n).partition(".")[0] not in OF_SHAPES
        )
        self.changed[n] = [source for source, value, old in before if value._version != old]
        self.values[n] = map_aggregate(result, shape_only)
        if isinstance(result, Tensor) and result.layout is torch.strided:
            self._memory[n] = result.untyped_storage().data_ptr()
        return result

    def needed(self) -> set[torch.fx.Node]:
        """Return the nodes that the output depends on, and those that change a value in place."""
        found: set[torch.fx.Node] = set()
        for node in reversed(self.graph.nodes):
            memory = {self._memory.get(source) for source in self.changed[node]}
            changes = bool(memory) and not memory.isdisjoint(self._memory.get(n) for n in found)
            if node.op == "output" or node in found or changes:
                found |= {node, *node.all_input_nodes}
        return found

    def again(self, node: torch.fx.Node) -> Callable[[Tensor], Any]:
        """Return a call to be made once more, with another tensor as its first operand."""
        operand = node.args[0] if node.args else node.kwargs["input"]

        def value(source: torch.fx.Node) -> Any:
            found = self.values[source]
            return torch.zeros(found.shape) if source in self.holders else found

        def call(x: Tensor) -> Any:
            args, kwargs = map_arg(
                (node.args, node.kwargs), lambda n: x if n is operand else value(n)
            )
            return getattr(self, node.op)(node.target, args, kwargs)

        return call


def attributes(path: str, module: nn.Module, names: tuple[str, ...]) -> dict[str, Any]:
    """Return a module's attributes as arguments; it may have fewer than its function takes."""
    values = {name: getattr(module, name) for name in names if hasattr(module, name)}
    if "tensors" in names:
        values["tensors"] = {
            name: Stored(f"{path}.{name}", value) for name, value in module.named_parameters()
        }
    return {
        name: Stored(f"{path}.{name}", value) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def index_of(node: torch.fx.Node) -> Any:
    """Return which of a call's values a node takes; None if it does something else."""
    if node.target is operator.getitem:
        return node.args[1]
    if of_attribute(node):  # of a named tuple
        return {"values": 0, "indices": 1}.get(str(node.args[1]))
    if node.target is torch.ops.aten.select.int and node.args[1] == 0:
        return node.args[2]
    return None


def of_attribute(node: torch.fx.Node) -> bool:
    """Whether a node reads an attribute of a value, such as ``x.mT``."""
    return node.target is getattr


def target_name(node: torch.fx.Node) -> str:
    """Return the name of a call, or of an attribute that is read."""
    if of_attribute(node):
        return str(node.args[1])
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")


def place(node: torch.fx.Node) -> str:
    """Return the path of the module that makes the call, and the call's name."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    path, kind = list(stack.values())[-1] if stack else ("", "")
    if kind in LEAVES and path:  # of an exported program, which looks into modules
        return str(path)
    return f"{path}.{node.name}" if path else node.name

"""From a traced network to a graph: one walk over the trace, node by node.

What a call is a form of stands in :mod:`snnconv.graph.spellings`; here are names, the values the
trace leads to, changes in place, and the list of everything that can't be converted.
"""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from snnconv.errors import Obstacle, ObstaclesError
from snnconv.graph.assembly import Assembly
from snnconv.graph.aten import ATEN, LEAVES
from snnconv.graph.form import Activation, Made, Refused, Stored
from snnconv.graph.ir import INPUT, Graph
from snnconv.graph.ops import OPS, Role
from snnconv.graph.remedies import ANALOG, of_function
from snnconv.graph.spellings import FUNCTIONS, MODULES

Ending = Callable[[Tensor], Tensor]
Translated = tuple[Graph, dict[str, Tensor], Ending | None]
"""A graph, its tensors, and the softmax at its end that was dropped, if any."""

STORED_AS = "stored_as"
"""Where a trace's node keeps the name of a tensor that it has under another one."""
_HIDDEN = "a state that a recurrence keeps to itself: a layer's below, or an LSTM's cells"


def translate(
    traced: torch.fx.GraphModule, example: Tensor, analog: bool, whose: str = "the network"
) -> Translated:
    """A trace as a graph.

    Args:
        traced: the network.
        example: an input ``[B, *input_shape]``.
        analog: whether to take operations that no neuron stands for.
        whose: what an error calls the network.

    Raises:
        ObstaclesError: operations outside the closed list, all of them, each with its place.
    """
    run = _Run(traced)
    with torch.no_grad():
        run.run(example)
    translator = _Translator(traced, run, analog)
    for node in traced.graph.nodes:
        translator.read(node)
    if translator.obstacles:
        raise ObstaclesError(whose, translator.obstacles)
    assembly = translator.assembly
    nodes = tuple(assembly.nodes.values())
    graph = reachable(Graph(tuple(example.shape[1:]), nodes, translator.output))
    tensors = {name: assembly.tensors[name] for name in sorted(graph.tensor_names())}
    return graph, tensors, translator.ending


class _Run(torch.fx.Interpreter):
    """Runs a trace once, and notes what each node gives and changes.

    Of what depends on the input it keeps the shape only.
    """

    def __init__(self, traced: torch.fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: dict[torch.fx.Node, Any] = {}
        self.holders: set[torch.fx.Node] = set()  # of what depends on the input
        self.changed: dict[torch.fx.Node, list[torch.fx.Node]] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
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
        depends = n.op == "placeholder" or any(
            source in self.holders for source in n.all_input_nodes
        )
        self.changed[n] = [source for source, value, old in before if value._version != old]
        self.values[n] = map_aggregate(result, shape_only)
        return result


class _Translator:
    """What is known of the graph so far."""

    def __init__(self, traced: torch.fx.GraphModule, run: _Run, analog: bool) -> None:
        self.traced = traced
        self.analog = analog
        self.run = run
        self.assembly = Assembly()
        self.output = ""
        self.obstacles: list[Obstacle] = []
        self.ending: Ending | None = None
        self._names: dict[torch.fx.Node, str] = {}  # the graph node that gives a trace node's value
        self._pieces: dict[torch.fx.Node, list[Any]] = {}  # those of a call that gives several
        self._unknown: set[torch.fx.Node] = set()  # what hangs on such a call that was refused

    def read(self, node: torch.fx.Node) -> None:
        """Take one node of the trace."""
        value = self.run.values[node]
        match node.op:
            case "placeholder":
                if node in self.run.holders:
                    self._names[node] = INPUT
                    if not isinstance(value, Tensor):
                        self._pieces[node] = [INPUT]  # of forward(self, *inputs)
            case "output":
                (result,) = node.args
                if isinstance(result, torch.fx.Node) and result in self._names:
                    self.output = self._names[result]
                else:
                    found = "not one tensor that depends on the input"
                    self.obstacles.append(Obstacle("output", found, "return the logits only"))
            case "call_module" | "call_function" | "call_method" if node in self.run.holders:
                self._call(node)
            case _:
                pass  # the network's own tensors; sizes and numbers: see _argument

    def _call(self, node: torch.fx.Node) -> None:
        sources = [source for source in node.all_input_nodes if source in self._names]
        self._names[node] = INPUT  # where it is refused, what comes behind it is looked at as well
        if not self._unknown.isdisjoint(sources):
            self._unknown.add(node)
            return
        if sources[0] in self._pieces and (index := _index(node)) is not None:
            self._pick(node, self._pieces[sources[0]], index)
            return
        try:
            made = self._made(node)
        except Refused as refusal:
            self._refuse(node, str(refusal), refusal.remedy)
            if not isinstance(self.run.values[node], Tensor):
                self._unknown.add(node)
            return
        if isinstance(made, list):
            self._pieces[node] = self._several(made, _place(node))
            return
        name = self.assembly.add(made, _place(node))
        for changed in (node, *self.run.changed[node]):
            self._names[changed] = name  # a change in place is seen by whoever reads later

    def _several(self, made: list[Any], place: str) -> list[Any]:
        """The names of a call's values, in lists as they came; None for what nothing gives."""
        return [
            self._several(one, place)
            if isinstance(one, list)
            else (None if one is None else self.assembly.add(one, place))
            for one in made
        ]

    def _pick(self, node: torch.fx.Node, pieces: list[Any], index: Any) -> None:
        """One of several values of a call, or some of them."""
        beyond = isinstance(index, int) and index >= len(pieces)
        if beyond or not isinstance(index, int | slice):
            if node.users:
                found = "indices or statistics beside a value" if beyond else f"the index {index}"
                self._refuse(node, found, "use the value only")
            return
        picked = pieces[index]
        if isinstance(picked, list):
            self._pieces[node] = picked
        elif picked is not None:
            self._names[node] = picked
        elif node.users:
            self._refuse(node, _HIDDEN, "use the whole sequence")

    def _refuse(self, node: torch.fx.Node, found: str, remedy: str) -> None:
        self.obstacles.append(Obstacle(_place(node), found, remedy))

    def _made(self, node: torch.fx.Node) -> Made | list[Any]:
        if node.op == "call_module":
            path = str(node.target)
            module = self.traced.get_submodule(path)
            known = next((MODULES[kind] for kind in type(module).__mro__ if kind in MODULES), None)
            called = f"module {type(module).__name__}"
            keywords = _attributes(path, module, known.attributes) if known else {}
        else:
            known = FUNCTIONS.get(node.target) or ATEN.get(str(node.target))
            called = f"{node.op.removeprefix('call_')} '{_target_name(node)}'"
            keywords = {}
        if known is None:
            raise Refused(called)
        arguments = list(map_aggregate(node.args, self._argument))
        keywords |= map_aggregate(node.kwargs, self._argument)
        if "input" in keywords:
            arguments.insert(0, keywords.pop("input"))
        value = self.run.values[node]
        first = value[0] if isinstance(value, tuple | list) and value else value
        shape = tuple(first.shape) if isinstance(first, Tensor) else ()
        try:
            bound = inspect.signature(known.form).bind(shape, *arguments, **keywords)
        except TypeError as error:
            raise Refused(f"{called} with arguments it is not known to take ({error})") from error
        made = known.form(*bound.args, **bound.kwargs)
        first = made[0] if isinstance(made, list) else made
        if OPS[first.op].role is Role.ANALOG and not self.analog:
            # what comes behind it is looked at as what it would be
            self._refuse(node, called, of_function(first.op))
        if isinstance(made, Made) and made.ending is not None:
            if {user.op for user in node.users} != {"output"}:
                raise Refused(f"{called} before the end", ANALOG)
            self.ending = made.ending
        return made

    def _argument(self, value: Any) -> Any:
        """An argument of a call, with what the run found in place of the trace's nodes."""
        if not isinstance(value, torch.fx.Node):
            return value
        found = self.run.values[value]
        if value in self._pieces:
            if any(not isinstance(name, str) for name in self._pieces[value]):
                raise Refused(f"all values of a call at once, or {_HIDDEN}")
            return [
                Activation(name, tuple(piece.shape))
                for name, piece in zip(self._pieces[value], found, strict=True)
            ]
        if value in self._names:
            name = self._names[value]
            return Activation(name, tuple(found.shape), self.assembly.nodes.get(name))
        if value.op == "get_attr":
            path = str(value.target)
            owner, _, attribute = path.rpartition(".")
            tensor = getattr(self.traced.get_submodule(owner), attribute)
            return Stored(value.meta.get(STORED_AS, path), tensor)
        return Stored(value.name, found) if isinstance(found, Tensor) else found


def _attributes(path: str, module: nn.Module, names: tuple[str, ...]) -> dict[str, Any]:
    """A module's attributes as arguments; AvgPool1d, for one, has not all that its form takes."""
    values = {name: getattr(module, name) for name in names if hasattr(module, name)}
    if "tensors" in names:
        values["tensors"] = {
            name: Stored(f"{path}.{name}", value)
            for name, value in module.named_parameters(recurse=False)
        }
    return {
        name: Stored(f"{path}.{name}", value) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def _index(node: torch.fx.Node) -> Any:
    """Which of several values of a call a node takes; None where it does something else."""
    if node.target is operator.getitem:
        return node.args[1]
    if node.target is getattr:  # of a named tuple
        return {"values": 0, "indices": 1}.get(str(node.args[1]))
    if node.target is torch.ops.aten.select.int and node.args[1] == 0:
        return node.args[2]
    return None


def _target_name(node: torch.fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")


def _place(node: torch.fx.Node) -> str:
    """The path of the module, or of the module whose forward() makes the call, and the name."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    path, kind = list(stack.values())[-1] if stack else ("", "")
    if kind in LEAVES and path:  # of an exported program, which looks into modules
        return str(path)
    return f"{path}.{node.name}" if path else node.name


def reachable(graph: Graph) -> Graph:
    """The nodes that the output depends on: a branch whose value is dropped has no sites."""
    needed = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed |= set(node.inputs)
    kept = tuple(node for node in graph.nodes if node.name in needed)
    return Graph(graph.input_shape, kept, graph.output)

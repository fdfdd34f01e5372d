"""From a traced network to a graph: one walk over the trace, node by node.

:mod:`snnconv.frontends.lowering` translates each call. This file keeps the names, the values of the
trace, changes in place, and the list of everything that can't be converted.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.fx
from pydantic import ValidationError
from torch import Tensor
from torch.fx.node import map_aggregate

from snnconv.core.validation import reason
from snnconv.errors import Obstacle, ObstaclesError, one_line
from snnconv.frontends.lowering import batch_axis
from snnconv.frontends.lowering.builder import GraphBuilder
from snnconv.frontends.lowering.contract import (
    Activation,
    BatchAxis,
    BatchMoved,
    Lowering,
    NodeSpec,
    Refused,
    Stored,
)
from snnconv.frontends.lowering.table import MODULES, of_target
from snnconv.frontends.torch.interpreter import (
    TraceInterpreter,
    attributes,
    index_of,
    of_attribute,
    place,
    target_name,
)
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.wiring import Shaped
from snnconv.graph.ops import OPS, Role
from snnconv.graph.recognise import recognised
from snnconv.graph.remedies import BATCH_FIRST, of_function

Ending = Callable[[Tensor], Tensor]
Translated = tuple[Graph, dict[str, Tensor], Ending | None]
"""A graph, its tensors, and the softmax at its end that was dropped, if any."""

STORED_AS = "stored_as"
"""The key under which a trace's node keeps the original name of its tensor."""
_HIDDEN = "a state that a recurrence keeps to itself: a layer's below, or an LSTM's cells"


def translate(
    traced: torch.fx.GraphModule, example: Tensor, analog: bool, whose: str = "the network"
) -> Translated:
    """Return a trace as a graph.

    Args:
        traced: the network.
        example: an input ``[B, *input_shape]``.
        analog: whether to take operations that no neuron stands for.
        whose: what an error calls the network.

    Raises:
        ObstaclesError: operations outside the closed list, all of them, each with its place.
    """
    run = TraceInterpreter(traced)
    with torch.no_grad():
        run.run(example)
    needed = run.needed()
    translator = _Translator(traced, run, analog, needed)
    for node in traced.graph.nodes:
        if node in needed:
            translator.read(node)
    builder = translator.builder
    nodes = tuple(builder.nodes.values())
    whole = Graph(tuple(example.shape[1:]), nodes, translator.output)
    made, own = recognised(whole, builder.tensors)
    graph = reachable(made) if translator.output else made
    if obstacles := translator.obstacles_in(graph):
        raise ObstaclesError(whose, obstacles)
    tensors = {name: own[name] for name in sorted(graph.tensor_names())}
    return graph, tensors, translator.ending


class _Held(NamedTuple):
    """The graph's node for a value of the trace, and where that value has its batch.

    The last three are those of :class:`snnconv.frontends.lowering.contract.BatchMoved`.
    """

    name: str
    batch: int = 0
    before: int = 1
    behind: int = 1

    @property
    def first(self) -> bool:
        """Whether the batch is the first axis, and nothing else is on it."""
        return self[1:] == (0, 1, 1)


class _Translator:
    """What is known of the graph so far."""

    def __init__(
        self,
        traced: torch.fx.GraphModule,
        run: TraceInterpreter,
        analog: bool,
        needed: set[torch.fx.Node],
    ) -> None:
        self._needed = needed
        self.traced = traced
        self.analog = analog
        self.run = run
        self.builder = GraphBuilder()
        self.output = ""
        self._obstacles: list[tuple[Obstacle, frozenset[str]]] = []
        self.ending: Ending | None = None
        self._values: dict[torch.fx.Node, _Held] = {}
        self._pieces: dict[torch.fx.Node, list[Any]] = {}  # those of a call that gives several
        self._unknown: set[torch.fx.Node] = set()  # refused calls of several values, and theirs
        self._batch: torch.Size | None = None  # of the input

    def obstacles_in(self, graph: Graph) -> list[Obstacle]:
        """Return what stands in the way; functions only if their nodes are still in the graph."""
        left = {node.name for node in graph.nodes if is_function(node)}
        return [found for found, nodes in self._obstacles if not nodes or nodes & left]

    def read(self, node: torch.fx.Node) -> None:
        """Take one node of the trace."""
        value = self.run.values[node]
        match node.op:
            case "placeholder":
                if node in self.run.holders:
                    self._values[node] = _Held(INPUT)
                    if isinstance(value, Tensor):
                        self._batch = value.shape[:1]
                    else:
                        self._pieces[node] = [_Held(INPUT)]  # of forward(self, *inputs)
            case "output":
                (result,) = node.args
                held = self._values.get(result) if isinstance(result, torch.fx.Node) else None
                if held and held.first:
                    self.output = held.name
                else:
                    found = "not one tensor that depends on the input"
                    obstacle = Obstacle("output", found, "return the logits only")
                    self._obstacles.append((obstacle, frozenset()))
            case "call_module" | "call_function" | "call_method" if node in self.run.holders:
                self._call(node)
            case _:
                pass  # the network's own tensors; sizes and numbers: see _argument

    def _call(self, node: torch.fx.Node) -> None:
        sources = [source for source in node.all_input_nodes if source in self._values]
        self._values[node] = _Held(INPUT)
        if not self._unknown.isdisjoint(sources):
            self._values[node] = self._placeholder(sources)
            value = self.run.values[node]
            # a state of a recurrent layer has its layers first, and its batch behind them
            if not (isinstance(value, Tensor) and value.shape[:1] == self._batch):
                self._unknown.add(node)
            return
        if sources[0] in self._pieces and (index := index_of(node)) is not None:
            self._pick(node, self._pieces[sources[0]], index)
            return
        count = len(self.builder.nodes)
        try:
            made = self._made(node)
            if isinstance(made, list):
                self._pieces[node] = self._several(made, place(node))
            else:
                held = self._held(made, place(node))
                for changed in (node, *self.run.changed[node]):
                    self._values[changed] = held  # later readers see a change in place
        except Refused as refusal:
            self._values[node] = self._placeholder(sources)
            self._refuse(node, str(refusal), refusal.remedy)
            if not isinstance(self.run.values[node], Tensor):
                self._unknown.add(node)
            return
        self._note_functions(node, list(self.builder.nodes.values())[count:])

    def _note_functions(self, node: torch.fx.Node, added: list[Node]) -> None:
        """Note functions that no neuron stands for, unless the user asked for them."""
        functions = [made for made in added if is_function(made)]
        if functions and not self.analog:
            found = Obstacle(place(node), self._called(node), of_function(functions[0].op))
            self._obstacles.append((found, frozenset(made.name for made in functions)))

    def _placeholder(self, sources: list[torch.fx.Node]) -> _Held:
        """Return a node for a refused call, so that the calls behind it are examined, too."""
        name = f"refused {len(self.builder.nodes)}"
        inputs = tuple(self._values[source].name for source in sources)
        self.builder.nodes[name] = Node(name, "refused", inputs, {}, {})
        return _Held(name)

    def _held(self, made: batch_axis.Result, where: str) -> _Held:
        """Return the value that a call gives, in the graph."""
        x = made.x if isinstance(made, BatchMoved) else made
        place = (made.batch, made.before, made.behind) if isinstance(made, BatchMoved) else ()
        return _Held(x.node if isinstance(x, Activation) else self.builder.add(x, where), *place)

    def _several(self, made: list[Any], where: str) -> list[Any]:
        """Return the names of a call's values, in lists as they came; None for no value."""
        return [
            self._several(one, where)
            if isinstance(one, list)
            else (None if one is None else self._held(one, where))
            for one in made
        ]

    def _pick(self, node: torch.fx.Node, pieces: list[Any], index: Any) -> None:
        """Return one of several values of a call, or some of them."""
        beyond = isinstance(index, int) and index >= len(pieces)
        if beyond or not isinstance(index, int | slice):
            if node.users:
                found = (
                    "indices or statistics in addition to a value"
                    if beyond
                    else f"the index {index}"
                )
                self._refuse(node, found, "use the value only")
            return
        picked = pieces[index]
        if isinstance(picked, list):
            self._pieces[node] = picked
        elif picked is not None:
            self._values[node] = picked
        elif node.users:
            value = self.run.values[node]
            if isinstance(value, Tensor) and not value.numel():
                self._refuse(node, "a value without a place", "leave it out")
            else:
                self._refuse(node, _HIDDEN, "use the whole sequence")

    def _refuse(self, node: torch.fx.Node, found: str, remedy: str) -> None:
        self._obstacles.append((Obstacle(place(node), found, remedy), frozenset()))

    def _called(self, node: torch.fx.Node) -> str:
        """Say what a call is, in an error."""
        if node.op == "call_module":
            return f"module {type(self.traced.get_submodule(str(node.target))).__name__}"
        kind = "attribute" if of_attribute(node) else node.op.removeprefix("call_")
        return f"{kind} '{target_name(node)}'"

    def _made(self, node: torch.fx.Node) -> batch_axis.Result | list[Any]:
        called = self._called(node)
        if node.op == "call_module":
            path = str(node.target)
            module = self.traced.get_submodule(path)
            of_module = next((MODULES[k] for k in type(module).__mro__ if k in MODULES), None)
            known = of_module and of_module.lowering
            keywords = attributes(path, module, of_module.attributes) if of_module else {}
        else:
            # an attribute is a method without arguments
            target = target_name(node) if of_attribute(node) else node.target
            known, keywords = of_target(target), {}
        if known is None:
            raise Refused(called)
        given = node.args[:1] if of_attribute(node) else node.args
        arguments = list(map_aggregate(given, self._argument))
        keywords |= map_aggregate(node.kwargs, self._argument)
        if "input" in keywords:
            arguments.insert(0, keywords.pop("input"))
        value = self.run.values[node]
        first = value[0] if isinstance(value, tuple | list) and value else value
        shape = tuple(first.shape) if isinstance(first, Tensor) else ()
        try:
            bound = inspect.signature(known.make).bind(shape, *arguments, **keywords)
        except TypeError as error:
            raise Refused(f"{called} with arguments that it does not accept ({error})") from error

        def again(x: Tensor) -> Any:
            return self.run.again(node)(x)

        try:
            if any(isinstance(one, BatchMoved) for one in _flat(arguments)):
                made = batch_axis.lowered(known, shape, arguments, keywords, again)
            else:
                made = self._of_samples_first(known, bound, next(iter(arguments), None), again)
        except ValidationError as error:
            raise Refused(
                f"{called} with an attribute that is not valid ({reason(error)})"
            ) from error
        except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
            raise Refused(
                f"{called} with arguments that do not fit it ({one_line(error)})"
            ) from error
        if isinstance(made, NodeSpec) and made.ending is not None:
            if {user.op for user in node.users if user in self._needed} == {"output"}:
                self.ending = made.ending
            else:
                assert made.inside is not None
                made = made.inside
        return made

    def _of_samples_first(
        self, known: Lowering, bound: inspect.BoundArguments, x: Any, again: batch_axis.Again
    ) -> batch_axis.Result | list[Any]:
        """Return the value of a call on operands whose batch is the first axis."""
        try:
            return known.make(*bound.args, **bound.kwargs)
        except Refused as refusal:
            moves = known.batch_axis is BatchAxis.MOVES and refusal.remedy == BATCH_FIRST
            if not moves or not isinstance(x, Activation):
                raise
            try:
                return batch_axis.moved(x, again)
            except Refused:  # the first refusal explains better what is mixed
                raise refusal from None

    def _argument(self, value: Any) -> Any:
        """Return an argument of a call, with what the run found instead of the trace's nodes."""
        if not isinstance(value, torch.fx.Node):
            return value
        found = self.run.values[value]
        if value in self._pieces:
            return self._all(self._pieces[value], found, place(value))
        if value in self._values:
            return self._operand(self._values[value], tuple(found.shape))
        if value.op == "get_attr":
            path = str(value.target)
            owner, _, attribute = path.rpartition(".")
            tensor = getattr(self.traced.get_submodule(owner), attribute)
            return Stored(value.meta.get(STORED_AS, path), tensor)
        return Stored(value.name, found) if isinstance(found, Tensor) else found

    def _operand(self, held: _Held, shape: tuple[int, ...]) -> Activation | BatchMoved:
        """Return a value as an operand, in the shape that the trace has."""
        plain = self.builder.activation(held.name, shape)
        if held.first:
            return plain
        moved = BatchMoved(plain, held.batch, held.before, held.behind)
        return replace(moved, x=replace(plain, shape=batch_axis.in_graph(shape, moved)))

    def _all(self, pieces: list[Any], found: Any, where: str) -> Any:
        """Return all values of a call as a list, or its last states in one tensor."""
        if not all(isinstance(piece, _Held) for piece in pieces):
            raise Refused(f"all values of a call at once, or {_HIDDEN}")
        if not isinstance(found, Tensor):
            pairs = zip(pieces, found, strict=True)
            return [self._operand(held, tuple(x.shape)) for held, x in pairs]
        states = [Activation(held.name, tuple(found.shape[1:])) for held in pieces]
        rows = [NodeSpec("reshape", [x], Shaped(shape=[1, *x.shape[1:]])) for x in states]
        whole = rows[0] if len(rows) == 1 else NodeSpec("concat", rows, Along(dim=1))
        return self._operand(_Held(self.builder.add(whole, where), 1), tuple(found.shape))


def is_function(node: Node) -> bool:
    """Whether it is one that no neuron stands for."""
    return node.op in OPS and OPS[node.op].role is Role.ANALOG


def _flat(arguments: Any) -> Iterator[Any]:
    """Yield operands, including those in lists."""
    for one in arguments:
        yield from _flat(one) if isinstance(one, list | tuple) else [one]


def reachable(graph: Graph) -> Graph:
    """Return the graph of the nodes that the output depends on: dropped branches have no sites."""
    needed = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed |= set(node.inputs)
    kept = tuple(node for node in graph.nodes if node.name in needed)
    return Graph(graph.input_shape, kept, graph.output)

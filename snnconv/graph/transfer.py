"""Transfer sites: neurons before the matrices that read functions which no neuron computes.

A matrix or convolution that reads GELU, LayerNorm, a product or attention would multiply analog
values at every step. A transfer site before it makes spikes of them, whatever function gives them.
Functions that feed functions, and residual sums that feed functions, stay as they are: they are
computed by the cumulative rule (:mod:`snnconv.simulation.cumulative`), at their own cost.

Where the site goes:

- Behind the function, or behind wiring that only moves its values: a permutation, a reshape. So an
  average takes spikes and evens out their rounding, as in a ReLU network, and a sum or
  concatenation of functions and neurons takes spikes.
- With ``everything``, also if a matrix reads currents: a linear bottleneck, a residual stream.
- With ``of_input``, also before the first layer.

A site has a channel for each column of the matrix: in the last axis for a linear layer, in the
first axis behind the batch for a convolution. The package's channels are the first
axis, so a site of tokens stands between two permutations, which move no memory.

Shape:
    A site gives what it reads.

Reference:
    Methods: "Transfer sites".

Deviations:
    None.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from torch import Tensor

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import INPUT, TRANSFER, Graph, Node
from snnconv.graph.operations.wiring import Permute
from snnconv.graph.ops import OPS, Role


class Origin(StrEnum):
    """Where the values that a matrix reads come from, through wiring."""

    INPUT = "input"
    SPIKES = "spikes"
    CURRENT = "current"
    FUNCTION = "function"


def with_transfer_sites(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    everything: bool = False,
    of_input: bool = False,
) -> Graph:
    """Return the graph with transfer sites; the ANN computes the same function.

    Args:
        graph: the graph of a network.
        tensors: the tensors of the graph.
        everything: whether to put sites also before matrices that read other currents.
        of_input: whether to put a site also before the first matrix.
    """
    placement = _Placement(Analysis.of(graph, tensors), everything, of_input)
    for node in graph.nodes:
        if OPS[node.op].role is Role.SYNAPSE:
            placement.reach(node)
    return placement.graph()


class _Placement:
    """Which values get a site, and which nodes then read the site."""

    def __init__(self, analysis: Analysis, everything: bool, of_input: bool) -> None:
        self._analysis = analysis
        self._nodes = {node.name: node for node in analysis.graph.nodes}
        self._origins = _origins(analysis.graph)
        self._everything, self._of_input = everything, of_input
        self._last_axis: dict[str, bool] = {}  # by the value that gets a site
        self._instead: set[tuple[str, str]] = set()  # readers of a site, with the value before it

    def reach(self, matrix: Node) -> None:
        """Put sites before a matrix or convolution, if it needs some."""
        (value,) = matrix.inputs
        origins = self._origins[value]
        if origins <= {Origin.FUNCTION, Origin.SPIKES}:
            self._behind_functions(matrix, value, matrix)
        elif self._of_input if origins == {Origin.INPUT} else self._everything:
            self._put(matrix, self._chain(value), 0, matrix)

    def _chain(self, value: str) -> list[str]:
        """Return a value, the value from which wiring makes it, and so on back."""
        chain = [value]
        while (node := self._nodes.get(chain[-1])) and _is_wiring(node) and len(node.inputs) == 1:
            chain += node.inputs
        return chain

    def _behind_functions(self, reader: Node, value: str, matrix: Node) -> None:
        """Put a site on each path from a function to the reader."""
        if self._origins[value] == {Origin.SPIKES}:
            return
        chain = self._chain(value)
        end = self._nodes[chain[-1]]
        if _is_wiring(end):  # a sum, a concatenation
            for name in dict.fromkeys(end.inputs):
                self._behind_functions(end, name, matrix)
            return
        place = len(chain) - 1
        while place and self._size(chain[place - 1]) == self._size(end.name):
            place -= 1
        self._put(reader, chain, place, matrix)

    def _put(self, reader: Node, chain: list[str], place: int, matrix: Node) -> None:
        """Put a site on a value of a chain, or before channels and places become one axis.

        Args:
            reader: reads the first value of the chain.
            chain: the nodes from there down.
            place: the value, by its number in the chain.
            matrix: the matrix that the site is for.
        """
        made_by = matrix.op
        for k, name in enumerate(chain[: place + 1]):
            if name != INPUT and self._flattens(name):
                place, made_by = k + 1, self._made_by(chain[k + 1])
                break
        value = chain[place]
        tokens = made_by == "linear" and len(self._analysis.shapes[value]) > 1
        self._last_axis.setdefault(value, tokens)
        self._instead.add((reader.name if place == 0 else chain[place - 1], value))

    def _made_by(self, value: str) -> str:
        """Return the operation with weights that gives these values, or the input."""
        while value != INPUT and OPS[self._nodes[value].op].role is not Role.SYNAPSE:
            value = self._nodes[value].inputs[0]
        return INPUT if value == INPUT else self._nodes[value].op

    def _size(self, name: str) -> int:
        return math.prod(self._analysis.shapes[name])

    def _flattens(self, name: str) -> bool:
        """Whether a node joins channels and places into one axis: a site has to come before it."""
        node, shapes = self._nodes[name], self._analysis.shapes
        before = shapes[node.inputs[0]]
        return node.op == "reshape" and len(shapes[name]) == 1 and math.prod(before[1:]) > 1

    def graph(self) -> Graph:
        """Return the graph with the sites."""
        given = self._analysis.graph
        taken = {INPUT, *self._nodes}
        made: dict[str, tuple[Node, ...]] = {}
        for value, last in self._last_axis.items():
            made[value] = self._site(value, last, taken)
        nodes = list(made.get(INPUT, ()))
        for node in given.nodes:
            inputs = tuple(
                made[value][-1].name if (node.name, value) in self._instead else value
                for value in node.inputs
            )
            nodes += [replace(node, inputs=inputs), *made.get(node.name, ())]
        return replace(given, nodes=tuple(nodes))

    def _site(self, value: str, last: bool, taken: set[str]) -> tuple[Node, ...]:
        """Return the nodes of a site; the last one gives its spikes."""

        def named(what: str) -> str:
            name = f"{value}.{what}"
            while name in taken:
                name += "_"
            taken.add(name)
            return name

        if not last:
            return (Node(named("spikes"), TRANSFER, (value,), {}, {}),)
        rank = len(self._analysis.shapes[value])
        first = Permute(dims=[rank, *range(1, rank)]).json_values()
        back = Permute(dims=[*range(2, rank + 1), 1]).json_values()
        channels = Node(named("channels"), "permute", (value,), first, {})
        site = Node(named("spikes"), TRANSFER, (channels.name,), {}, {})
        return channels, site, Node(named("tokens"), "permute", (site.name,), back, {})


def _is_wiring(node: Node) -> bool:
    return OPS[node.op].role is Role.LINEAR


def _origins(graph: Graph) -> dict[str, frozenset[Origin]]:
    """Find where each value comes from, through wiring and poolings of spikes."""
    found = {INPUT: frozenset({Origin.INPUT})}
    for node in graph.nodes:
        before = frozenset[Origin]().union(*(found[name] for name in node.inputs))
        match OPS[node.op].role:
            case Role.SITE:
                found[node.name] = frozenset({Origin.SPIKES})
            case Role.SYNAPSE:
                found[node.name] = frozenset({Origin.CURRENT})
            case Role.ANALOG:
                found[node.name] = frozenset({Origin.FUNCTION})
            case Role.MAX if before not in ({Origin.SPIKES}, {Origin.INPUT}):
                found[node.name] = frozenset({Origin.FUNCTION})  # of currents: as a function is
            case _:
                found[node.name] = before
    return found

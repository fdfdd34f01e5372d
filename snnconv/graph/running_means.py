"""What the running means of functions take at a step, in addition to the functions' own work.

A function that changes over time sees the mean of what it reads, and gives ``t*f - (t-1)*f`` (see
:mod:`snnconv.simulation.cumulative`). So each number that comes from weights or neurons takes a
product with 1/t, and each number that goes to a neuron or a matrix takes a product with t. Spikes
and frames also take an addition to their sum; what synapses add to it are their operations. Between
two functions none of this is needed, because one reads the mean that the other gives.

Shape:
    Numbers of operations for one sample and step.

Reference:
    Methods: "What functions cost".

Deviations:
    None.
"""

import math
from collections.abc import Mapping

from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import Shape
from snnconv.graph.operations.work import Work
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal


class RunningMeans:
    """What functions that change over time take at a step in addition to their own work.

    Args:
        graph: the network.
        signals: what each node carries.
        shapes: the shapes of each node's value for one sample.
        work: the work of each node that has some.
    """

    def __init__(
        self,
        graph: Graph,
        signals: Mapping[str, Signal],
        shapes: Mapping[str, Shape],
        work: Mapping[str, Work],
    ) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._signals, self._shapes, self._work = signals, shapes, work
        self._known: set[str] = set()  # values whose mean is known already
        self._given: set[str] = set()  # functions that one reads that is no function
        for node in graph.nodes:
            if not self._changes(node.name) and not _is_line(node):
                self._given.update(map(self._origin, node.inputs))
        self._given.add(self._origin(graph.output))

    def _changes(self, name: str) -> bool:
        """Whether a value is that of a function which changes over time."""
        node = self._nodes.get(name)
        return (
            node is not None
            and OPS[node.op].role is Role.ANALOG
            and self._signals[name] is Signal.CURRENT
        )

    def _origin(self, name: str) -> str:
        """Return the function whose values these are, perhaps scaled or moved, or else their node.

        A mean may be scaled as well as a sum, so what stands between two functions takes no more.
        """
        origin, moved = name, name
        while origin != INPUT and _is_line(node := self._nodes[origin]):
            (origin,) = node.inputs
            if moved == node.name and node.name not in self._work:
                moved = origin
        return origin if self._changes(origin) else moved

    def of(self, node: Node) -> Work:
        """Count what a function takes; means that another has taken count once."""
        found = Work()
        if not self._changes(node.name):
            return found
        for origin in map(self._origin, node.inputs):
            signal, size = self._signals[origin], math.prod(self._shapes[origin])
            if origin in self._known or self._changes(origin) or signal is Signal.CONSTANT:
                continue
            self._known.add(origin)
            summed = size if signal in (Signal.SPIKES, Signal.FRAMES) else 0
            found += Work(macs=size, additions=summed)
        if node.name in self._given:
            found += Work(macs=math.prod(self._shapes[node.name]))
        return found


def _is_line(node: Node) -> bool:
    """Return whether a node is linear in one value."""
    return OPS[node.op].role is Role.LINEAR and len(node.inputs) == 1

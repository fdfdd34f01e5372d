"""What each node's output is in a spiking network, derived from the graph alone.

An output is *constant* if it depends on a constant input alone, so that it is computed once. It is
*frames* if the input changes over time, so that it is computed for every frame. *Spikes* come from
a neuron or a max pooling of spikes, perhaps through averages, reshapes and concatenations. A
*current* comes from weights, or from frames by the cumulative rule: it is analog at every step.

*Functions* are computed outside the spiking domain. These are the nodes that no neuron stands for,
maxima of anything but spikes, and sums, averages and scalings of these values on their way to one
of them. A sum of currents that only neurons read is not a function: each of its operations is one
of a synapse, which adds to a membrane.
"""

from collections.abc import Mapping
from enum import StrEnum

from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import walk
from snnconv.graph.ops import OPS, Role


class Signal(StrEnum):
    """What a node's output is in a spiking network."""

    CONSTANT = "constant"
    FRAMES = "frames"
    SPIKES = "spikes"
    CURRENT = "current"


def signals(graph: Graph, source: Signal) -> dict[str, Signal]:
    """Return what the output of each node and the input carry.

    Args:
        graph: the network.
        source: what the input carries: constant, or frames.
    """
    found = {INPUT: source}

    def evaluate(node: Node, inputs: list[Signal]) -> Signal:
        found[node.name] = _signal(OPS[node.op].role, inputs, source)
        return found[node.name]

    walk(graph, source, evaluate)
    return found


def _signal(role: Role, inputs: list[Signal], source: Signal) -> Signal:
    """Return what a node's output carries, from what its inputs carry."""
    if role is Role.SITE:
        return Signal.SPIKES
    if role is Role.STEPWISE:
        return Signal.CURRENT
    if all(signal is source for signal in inputs):
        summed = role in (Role.MAX, Role.ANALOG) and source is Signal.FRAMES
        return Signal.CURRENT if summed else source
    analog = any(signal is not Signal.SPIKES for signal in inputs)
    if analog or role in (Role.SYNAPSE, Role.ANALOG):
        return Signal.CURRENT
    return Signal.SPIKES


def outside_spikes(graph: Graph, signals: Mapping[str, Signal]) -> tuple[Node, ...]:
    """Return the functions of a network, in its order.

    Args:
        graph: the network.
        signals: what each node carries.
    """
    read: set[str] = set()
    found: list[Node] = []
    for node in reversed(graph.nodes):
        match OPS[node.op].role:
            case Role.ANALOG:
                there = True
            case Role.MAX:
                there = signals[node.name] is not Signal.SPIKES
            case Role.LINEAR:
                there = node.name in read and signals[node.name] is not Signal.SPIKES
            case _:
                there = False
        if there:
            found.append(node)
            read.update(node.inputs)
    return tuple(reversed(found))

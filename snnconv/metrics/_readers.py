"""Who reads an emitter's events: what metrics of traffic ask of the graph."""

from collections.abc import Mapping

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal


def readers(analysis: Analysis) -> Mapping[str, tuple[Node, ...]]:
    """Return what each emitter's events reach through wiring, in the graph's order.

    That is synapses, sites whose membranes they reach without one, poolings and functions, and the
    output if they reach it.
    """
    found = {}
    for emitter in analysis.emitters:
        carrying, reached = {emitter.name}, []
        for node in analysis.graph.nodes:
            if carrying.isdisjoint(node.inputs):
                continue
            wiring = OPS[node.op].role is Role.LINEAR
            if wiring:
                carrying.add(node.name)
            if not wiring or node.name == analysis.graph.output:
                reached.append(node)
        found[emitter.name] = tuple(reached)
    return found


def first_layer(analysis: Analysis) -> tuple[Node, ...]:
    """Return the nodes with operations that depend on the input alone."""
    of_input = (Signal.CONSTANT, Signal.FRAMES)
    names = {name for name in analysis.work if analysis.signals[name] in of_input}
    return tuple(node for node in analysis.graph.nodes if node.name in names)


def analog(analysis: Analysis) -> tuple[Node, ...]:
    """Return the nodes whose work is done at every step: functions, and what currents feed."""
    first = {node.name for node in first_layer(analysis)}
    every = {node.name for node in analysis.functions} - first | analysis.fed_by_analog
    return tuple(node for node in analysis.graph.nodes if node.name in every & analysis.work.keys())

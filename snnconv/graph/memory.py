"""How many numbers of a graph exist at one time: each value lives until its last reader."""

from collections.abc import Callable

from snnconv.graph.ir import INPUT, Graph, Node

COPIES = 3
"""Of a node's value while it is computed: itself, and as libraries need it in memory's order."""


def most_alive(graph: Graph, held: Callable[[str], int], taken: Callable[[Node], int]) -> int:
    """Return the most numbers that exist at one time while a graph is walked.

    Args:
        graph: the network.
        held: how many a value has, by the name of its node or of the input.
        taken: how many a node takes while it is computed, without the values that are there.
    """
    last = {name: k for k, node in enumerate(graph.nodes) for name in node.inputs}
    most, alive = 0, {INPUT}
    for k, node in enumerate(graph.nodes):
        most = max(most, sum(map(held, alive)) + taken(node))
        alive = {name for name in alive | {node.name} if last.get(name, -1) > k}
    return most

"""Find what prevents a conversion: neurons can't compute every known operation."""

from snnconv.errors import Obstacle, ObstaclesError
from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import function_name
from snnconv.graph.ops import OPS, Role
from snnconv.graph.remedies import NO_SITE, of_function


def obstacles(graph: Graph, analog: bool) -> list[Obstacle]:
    """Return all obstacles, in the order of the graph.

    Args:
        graph: the graph of a network, with its transfer sites if it gets some.
        analog: whether operations that no neuron stands for are taken.
    """
    found = [] if analog else [_function(node) for node in graph.nodes if _is_analog(node)]
    if not graph.sites:
        found.append(Obstacle("network", "no ReLU in it", NO_SITE))
    return found


def refuse_obstacles(graph: Graph, whose: str, analog: bool) -> None:
    """Refuse a network with obstacles.

    Raises:
        ObstaclesError: there are obstacles; it lists all of them.
    """
    if found := obstacles(graph, analog):
        raise ObstaclesError(whose, found)


def _is_analog(node: Node) -> bool:
    return OPS[node.op].role is Role.ANALOG


def _function(node: Node) -> Obstacle:
    found = f"the function '{function_name(node)}', which no neuron stands for"
    return Obstacle(node.name, found, of_function(node.op))

"""Operations whose value depends on the step.

Shape:
    ``[T, B, *N] -> [T, B, *N]``; an input that does not change over time has ``T = 1``.
"""

from collections.abc import Mapping

from torch import Tensor

from snnconv.errors import UsageError
from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS, Role


def has_stepwise(graph: Graph) -> bool:
    """Whether a network has numbers for each step, so that it runs for one T only."""
    return any(OPS[node.op].role is Role.STEPWISE for node in graph.nodes)


def scaled(network: Network, node: Node, value: Tensor, start: int, steps: int) -> Tensor:
    """Return the values of some steps, each times its factor.

    Args:
        network: the network, which has the factors.
        node: a node of operation ``step_scale``.
        value: the value of its input.
        start: how many steps are done.
        steps: how many steps follow.

    Raises:
        UsageError: a step has no factor.
    """
    factors = network.tensor(node.tensors["scale"])
    if start + steps > len(factors):
        raise UsageError(
            f"the network can't run {start + steps} steps",
            f"'{node.name}' has learned a factor for each of {len(factors)}",
            f"run it for T = {len(factors)}",
        )
    each: Tensor = factors[start : start + steps].reshape(-1, *[1] * (value.dim() - 1))
    return value * each


def slowed(graph: Graph, tensors: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
    """Return the tensors of a network that takes several steps in place of each step."""
    names = {node.tensors["scale"] for node in graph.nodes if OPS[node.op].role is Role.STEPWISE}
    return {
        name: tensor.repeat_interleave(steps) if name in names else tensor
        for name, tensor in tensors.items()
    }

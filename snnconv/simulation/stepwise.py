"""Operations whose value depends on the step.

Shape:
    ``[T, B, *N] -> [T, B, *N]``; an input that does not change over time has ``T = 1``.
"""

from collections.abc import Mapping

from torch import Tensor

from snnconv.core.shapes import of_steps
from snnconv.graph.ir import Graph
from snnconv.graph.ops import OPS, Role


def has_stepwise(graph: Graph) -> bool:
    """Whether a network has numbers for each step, so that it runs for one T only."""
    return any(OPS[node.op].role is Role.STEPWISE for node in graph.nodes)


def scaled(value: Tensor, factors: Tensor, done: int, steps: int) -> Tensor:
    """Return the values of some steps, each times its factor.

    Args:
        value: ``[steps or 1, B, *N]``.
        factors: the factor of each step, ``[T]``.
        done: how many steps are done.
        steps: how many steps follow.

    Raises:
        UsageError: a step has no factor.
    """
    return value * of_steps(factors, done, steps).reshape(-1, *[1] * (value.dim() - 1))


def slowed(graph: Graph, tensors: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
    """Return the tensors of a network that takes several steps in place of each step."""
    names = {node.tensors["scale"] for node in graph.nodes if OPS[node.op].role is Role.STEPWISE}
    return {
        name: tensor.repeat_interleave(steps) if name in names else tensor
        for name, tensor in tensors.items()
    }

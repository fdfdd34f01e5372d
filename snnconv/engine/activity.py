"""How much of a layer's input is expected to be nonzero at a step, from what calibration saw.

It decides whether a layer goes by events. It must not be what a simulation sees: the two ways
round differently, and what a sample does may not depend on what stands beside it in a batch.

Shape:
    Shares of neurons, in 0..1.
"""

import math
from collections.abc import Mapping

from torch import Tensor

from snnconv.graph.build import walk
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.ops import OPS, Role
from snnconv.graph.roles import Carries

ASSUMED = 0.1
"""For each level of a neuron, where nothing was calibrated."""


def expected(edges: Tensor, counts: Tensor, zeros: float, threshold: Tensor, levels: int) -> float:
    """The share of neurons that spike at a step: the mean of ``min(levels * a/theta, 1)``.

    A neuron of one level spikes at ``a/theta`` of all steps; one of L levels, whose currents are
    evened out over time, at L times as many, and more than once at the others.

    Args:
        edges: of the histogram of activations that are not zero, ``[bins + 1]``.
        counts: of it, ``[bins]``.
        zeros: share of activations that are zero.
        threshold: theta, ``[]`` or one a channel.
        levels: L.
    """
    centres = (edges[1:] + edges[:-1]) / 2
    rates = (centres * levels / threshold.double().mean()).clamp(max=1)
    return (1 - zeros) * float((rates * counts).sum() / counts.sum().clamp(min=1))


def activity(
    graph: Graph, kinds: Mapping[str, Carries], sites: Mapping[str, float]
) -> dict[str, float]:
    """The same of every node's output, by name: 1 of what is no spikes.

    Args:
        graph: of the network.
        kinds: what each node carries.
        sites: of each site.
    """

    def evaluate(node: Node, inputs: list[float]) -> float:
        if OPS[node.op].role is Role.SITE:
            return sites[node.name]
        if kinds[node.name] is not Carries.SPIKES:
            return 1.0
        if "kernel" in node.attrs:  # a pool is silent where all of its window is
            return float(1 - (1 - max(inputs)) ** math.prod(node.attrs["kernel"]))
        return 1.0 if node.op.startswith("adaptive") else max(inputs)

    found: dict[str, float] = {INPUT: 1.0}

    def remember(node: Node, inputs: list[float]) -> float:
        found[node.name] = evaluate(node, inputs)
        return found[node.name]

    walk(graph, 1.0, remember)
    return found

"""The share of a layer's input that is expected to be nonzero at a step, from calibration.

It decides whether a layer goes by events. The rates that a simulation sees must not decide: the two
ways round differently, and a sample must not depend on the other samples of its batch.

Shape:
    Shares of neurons, from 0 to 1.
"""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import INPUT, Node
from snnconv.graph.network import Network, Walk, attributes
from snnconv.graph.operations.pooling import Pool
from snnconv.graph.operations.weighted import Conv
from snnconv.graph.ops import OPS, Role, Silence
from snnconv.graph.signals import Signal

ASSUMED = 0.1
"""The rate for each level of a neuron if nothing was calibrated."""

Rate = Callable[[int], float]
"""The share of groups of so many neighbouring neurons with at least one spike at a step."""


def expected_rate(
    edges: Tensor, counts: Tensor, zeros: float, threshold: Tensor, levels: int, group: int = 1
) -> float:
    """Return the share of groups of neurons with at least one spike at a step.

    A neuron of one level spikes at ``a/theta`` of all steps. A neuron of L levels, whose currents
    are evened out over time, spikes at L times as many, up to all of them. The neurons of a group
    are assumed to have one rate and to spike independently: ``1 - (1 - rate)^group`` of the groups
    have a spike.

    Args:
        edges: the edges of the histogram of nonzero activations, ``[bins + 1]``.
        counts: its counts, ``[bins]``.
        zeros: the share of activations that are zero.
        threshold: theta, ``[]`` or one for each channel.
        levels: L.
        group: the number of neurons of a group.
    """
    centres = (edges[1:] + edges[:-1]) / 2
    rates = (centres * levels / threshold.double().mean()).clamp(max=1)
    shares = 1 - (1 - rates) ** group
    return (1 - zeros) * float((shares * counts).sum() / counts.sum().clamp(min=1))


def assumed_rate(levels: int) -> Rate:
    """Return the rate of neurons that were not calibrated."""
    rate = min(1.0, ASSUMED * levels)
    return lambda group: 1 - (1 - rate) ** group


def always(group: int) -> float:
    """Return the rate of neurons whose output is nonzero at every step."""
    return 1.0


def node_rates(
    analysis: Analysis, tensors: Mapping[str, Tensor], sites: Mapping[str, Rate]
) -> dict[str, Rate]:
    """Return the rate of every node's output, by name; 1 if it is shifted or carries no spikes.

    Args:
        analysis: the analysis of the network.
        tensors: the network's tensors.
        sites: the rate of each site.
    """

    def evaluate(node: Node, inputs: list[Rate]) -> Rate:
        op = OPS[node.op]
        if op.role is Role.SITE:
            return sites[node.name]
        spikes = analysis.signals[node.name] is Signal.SPIKES
        match op.silence if spikes else Silence.NOWHERE:
            case Silence.WINDOW:
                window = math.prod(attributes(node, Pool).kernel)
                return lambda group: max(rate(group * window) for rate in inputs)
            case Silence.EITHER:  # the two sides of a bend, for example, are never both active
                return lambda group: min(1.0, sum(rate(group) for rate in inputs))
            case Silence.UNSHIFTED if tensors[node.tensors["shift"]].any():
                return lambda group: 1.0
            case Silence.NOWHERE:
                return lambda group: 1.0
        return lambda group: max(rate(group) for rate in inputs)

    found: dict[str, Rate] = {INPUT: lambda group: 1.0}
    values = Walk(analysis.graph, found[INPUT])
    for node, inputs in values:
        values[node] = found[node.name] = evaluate(node, inputs)
    return found


def input_rates(
    network: Network, analysis: Analysis, sites: Mapping[str, Rate]
) -> dict[str, float | None]:
    """Return the share of each node's multiplications that spikes need; None if it gets no spikes.

    ``sites`` has the rate of each site.
    """
    found = node_rates(analysis, network.views(), sites)

    def given(node: Node) -> float | None:
        if any(analysis.signals[name] is not Signal.SPIKES for name in node.inputs):
            return None
        share = max(found[name](1) for name in node.inputs)
        if node.op != "conv":
            return share
        weight = network.tensor(node.tensors["weight"])
        return share * share_inside(node, weight, analysis.shapes[node.inputs[0]])

    return {node.name: given(node) for node in analysis.graph.nodes}


def share_inside(node: Node, weight: Tensor, size: tuple[int, ...]) -> float:
    """Return the share of a convolution's multiplications that are not with the padding.

    Args:
        node: a convolution.
        weight: ``[C_out, C/groups, *kernel]``.
        size: the size of its input, ``(C, *N)``.
    """
    attrs = attributes(node, Conv)
    window = attrs.stride, attrs.padding, attrs.dilation
    share = 1.0
    for n, kernel, stride, padding, dilation in zip(
        size[1:], weight.shape[2:], *window, strict=True
    ):
        places = (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        starts = range(-padding, places * stride - padding, stride)
        taps = [0 <= start + dilation * k < n for start in starts for k in range(kernel)]
        share *= sum(taps) / len(taps)
    return share

"""What each node carries in a spiking network, and how many operations a spike costs.

The role of an edge is a fact of the graph, never guessed from values: a node's output is *constant*
(computed from the input alone, so once) or *frames* (the same of an input that changes over time:
computed for every frame that is shown), *spikes* (of a neuron or a max pooling of spikes, perhaps
through averages, reshapes and concatenations), or *current* (out of weights, or of frames by the
cumulative rule: analog at every step).

The rule of counting: a spike costs one operation for every synapse, and for every membrane or
logit, that it reaches without passing another neuron. Averages and reshapes on its way are
wiring; an identity shortcut reaches one membrane; borders, strides, groups and dilation are
counted as they are. A spike that enters a max pooling costs nothing there, since the pooling emits
spikes of its own, nor does one that enters a function, whose operations are MACs.

Shape:
    :func:`fan_out` gives ``[*N]`` float64 for each source.

Reference:
    Methods, section 10. Multiply-accumulates: :mod:`snnconv.graph.work`.

Deviations:
    None.
"""

from collections.abc import Mapping, Set
from enum import StrEnum

import torch
from torch import Tensor

from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import node_tensors, shapes, walk
from snnconv.graph.ops import OPS, Role


class Carries(StrEnum):
    """What a node's output is in a spiking network."""

    CONSTANT = "constant"
    FRAMES = "frames"
    SPIKES = "spikes"
    CURRENT = "current"


OF_INPUT = (Carries.CONSTANT, Carries.FRAMES)
"""What the input may carry, and all that is computed from it alone."""


def carried(graph: Graph, source: Carries = Carries.CONSTANT) -> dict[str, Carries]:
    """What each node's output carries, by name; ``source`` is what the input does."""
    found: dict[str, Carries] = {}

    def evaluate(node: Node, inputs: list[Carries]) -> Carries:
        role = OPS[node.op].role
        if role is Role.SITE:
            kind = Carries.SPIKES
        elif all(kind is source for kind in inputs):
            summed = role in (Role.MAX, Role.ANALOG) and source is Carries.FRAMES
            kind = Carries.CURRENT if summed else source
        elif role in (Role.SYNAPSE, Role.ANALOG) or any(
            kind is not Carries.SPIKES for kind in inputs
        ):
            kind = Carries.CURRENT
        else:
            kind = Carries.SPIKES
        found[node.name] = kind
        return kind

    walk(graph, source, evaluate)
    return found


def sources(graph: Graph) -> tuple[Node, ...]:
    """The nodes that emit spikes: sites, and max poolings of spikes."""
    kinds = carried(graph)
    return tuple(
        node
        for node in graph.nodes
        if OPS[node.op].role in (Role.SITE, Role.MAX) and kinds[node.name] is Carries.SPIKES
    )


def cumulative(graph: Graph, source: Carries = Carries.CONSTANT) -> tuple[Node, ...]:
    """What is not linear and changes over time: it needs the cumulative rule."""
    kinds = carried(graph, source)
    return tuple(
        node
        for node in graph.nodes
        if OPS[node.op].role in (Role.MAX, Role.ANALOG) and kinds[node.name] is not Carries.CONSTANT
    )


def sites_behind(graph: Graph) -> dict[str, frozenset[str]]:
    """Whose spikes each node carries, for every node that carries spikes."""
    kinds = carried(graph)
    found: dict[str, frozenset[str]] = {}
    for node in graph.nodes:
        if OPS[node.op].role is Role.SITE:
            found[node.name] = frozenset({node.name})
        elif kinds[node.name] is Carries.SPIKES:
            found[node.name] = frozenset().union(*(found[name] for name in node.inputs))
    return found


def towards(graph: Graph, pools: Set[str]) -> dict[str, str]:
    """What spikes pass on their way to some max poolings, each with the last that reads it there.

    The poolings themselves are not among it, but where one feeds another.
    """
    readers: dict[str, str] = {}
    for node in reversed(graph.nodes):
        wiring = OPS[node.op].role is Role.LINEAR and node.name in readers
        if wiring or node.name in pools:
            for name in node.inputs:
                readers.setdefault(name, node.name)
    return readers


def together(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The most neurons whose spikes meet at one place of each max pooling of spikes."""
    kinds, sizes = carried(graph), shapes(graph, tensors)
    found = {}

    def evaluate(node: Node, inputs: list[Tensor | None]) -> Tensor | None:
        op = OPS[node.op]
        if op.role is Role.SITE:
            return torch.ones(1, *sizes[node.name])
        if kinds[node.name] is not Carries.SPIKES:
            return None
        numbers = [value for value in inputs if value is not None]
        out = (op.run if op.role is Role.MAX else op.reach)(node.attrs, {}, numbers)
        if op.role is Role.MAX:
            found[node.name] = int(out.max())
        return out

    walk(graph, None, evaluate)
    return found


def averaged(graph: Graph, averaging: Set[str]) -> frozenset[str]:
    """The sites of whose spikes nobody wants more than the mean over time.

    What is linear may take the mean before as well as after, and every neuron behind would take it.

    Args:
        graph: of the network.
        averaging: the sites whose neurons are given the mean of all steps at each step.
    """
    stepwise = {graph.output}
    for node in reversed(graph.nodes):
        match OPS[node.op].role:
            case Role.SITE:
                wants = node.name not in averaging
            case Role.MAX | Role.ANALOG:  # cumulative: what they emit is counted at each step
                wants = True
            case _:
                wants = node.name in stepwise
        if wants:
            stepwise.update(node.inputs)
    return frozenset(site.name for site in graph.sites if site.name not in stepwise)


def still(graph: Graph, averages: Set[str], source: Carries) -> frozenset[str]:
    """The nodes whose values do not change over time: of a constant input, or of means over time.

    Args:
        graph: of the network.
        averages: the sites that give their mean over time.
        source: what the input carries.
    """
    found = {INPUT} if source is Carries.CONSTANT else set()
    for node in graph.nodes:
        if OPS[node.op].role is Role.SITE:
            if node.name in averages:
                found.add(node.name)
        elif found.issuperset(node.inputs):
            found.add(node.name)
    return frozenset(found)


def by_macs(graph: Graph, source: Carries = Carries.CONSTANT) -> set[str]:
    """The nodes whose operations are MACs at every step: they are fed by analog values."""
    kinds = carried(graph, source)
    return {
        node.name
        for node in graph.nodes
        if kinds[node.name] is not Carries.CONSTANT
        and (
            OPS[node.op].role is Role.ANALOG
            or (
                OPS[node.op].role is Role.SYNAPSE
                and any(kinds.get(name) is Carries.CURRENT for name in node.inputs)
            )
        )
    }


def fan_out(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Operations that one spike of each neuron costs, by source ``[*N]``."""
    sizes, analog = shapes(graph, tensors), by_macs(graph)
    return {
        node.name: _fan_out_of(node.name, graph, tensors, sizes, analog) for node in sources(graph)
    }


def _fan_out_of(
    source: str,
    graph: Graph,
    tensors: Mapping[str, Tensor],
    sizes: Mapping[str, tuple[int, ...]],
    analog: set[str],
) -> Tensor:
    spikes = torch.ones(1, *sizes[source], dtype=torch.float64, requires_grad=True)
    reached: list[Tensor] = []

    def evaluate(node: Node, inputs: list[Tensor | None]) -> Tensor | None:
        if node.name == source:
            return spikes
        if all(value is None for value in inputs):
            return None
        op = OPS[node.op]
        if op.role is Role.SITE:  # membranes, reached without a synapse on the way
            reached.extend(value for value in inputs if value is not None)
        if op.role in (Role.SITE, Role.MAX) or node.name in analog:
            return None
        present = [
            torch.zeros(1, *sizes[name], dtype=torch.float64) if value is None else value
            for name, value in zip(node.inputs, inputs, strict=True)
        ]
        out = op.reach(node.attrs, node_tensors(node, tensors), present)
        if op.role is Role.SYNAPSE:
            reached.append(out)
            return None
        return out

    end = walk(graph, None, evaluate)
    if end is not None:
        reached.append(end)
    if not reached:
        return torch.zeros(sizes[source], dtype=torch.float64)
    (count,) = torch.autograd.grad(torch.stack([value.sum() for value in reached]).sum(), spikes)
    return count.squeeze(0)

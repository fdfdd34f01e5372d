"""Rewrite a graph for a training that prepares a conversion.

Reference:
    Bu et al. 2022, section 5: QCFS for ReLU, average pooling for max pooling.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from snnconv.errors import UnsupportedError
from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import attributes, ceiling
from snnconv.graph.operations.activation import Qcfs
from snnconv.graph.operations.gate import Gate
from snnconv.graph.operations.pooling import AvgPool, MaxPool


def with_qcfs(
    graph: Graph, tensors: Mapping[str, Tensor], thresholds: Mapping[str, Tensor], levels: int
) -> tuple[Graph, dict[str, Tensor]]:
    """Return the graph with QCFS at its sites, and its tensors.

    Args:
        graph: a graph with ReLU or QCFS at its sites.
        tensors: the tensors of the graph.
        thresholds: theta by site, ``[1]`` or ``[C]``; a clipped ReLU limits it.
        levels: L.
    """
    tensors = dict(tensors)
    nodes = []
    for node in graph.nodes:
        if node in graph.sites:
            theta = thresholds[node.name].float()
            highest = ceiling(node)
            name = node.tensors.get("threshold", f"{node.name}.threshold")
            tensors[name] = theta if highest is None else theta.clamp(max=highest)
            attrs = Qcfs(levels=levels).json_values()
            node = Node(node.name, "qcfs", node.inputs, attrs, {"threshold": name})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), tensors


def qcfs_thresholds(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the thetas of QCFS sites, by site."""
    return {
        node.name: tensors[node.tensors["threshold"]]
        for node in graph.sites
        if "threshold" in node.tensors
    }


def with_gates(
    graph: Graph, tensors: Mapping[str, Tensor], unit: float
) -> tuple[Graph, dict[str, Tensor]]:
    """Return the graph with gates for products of spikes: AND for ``a*s``, IAND for ``(1 - a)*s``.

    Args:
        graph: a graph whose sites will have neurons.
        tensors: the tensors of the graph.
        unit: what a spike carries.
    """
    spikes = {site.name for site in graph.sites}
    inverted: dict[str, str] = {}  # 1 - a: a
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in ("identity", "dropout") and spikes.issuperset(node.inputs):
            spikes.add(node.name)
        if node.op == "affine" and spikes.issuperset(node.inputs):
            scale, shift = (tensors[node.tensors[role]] for role in ("scale", "shift"))
            if (scale == -1).all() and (shift == 1).all():
                inverted[node.name] = node.inputs[0]
        if node.op == "multiply":
            open_, through = sorted(node.inputs, key=lambda name: name not in inverted)
            first = inverted.get(open_, open_)
            if spikes.issuperset((first, through)):
                op = "spike_iand" if open_ in inverted else "spike_and"
                inputs = (first, through) if open_ in inverted else node.inputs
                node = Node(node.name, op, inputs, Gate(unit=unit).json_values(), {})
                spikes.add(node.name)
        nodes.append(node)
    read = {name for node in nodes for name in node.inputs} | {graph.output}
    kept = tuple(node for node in nodes if node.name in read or node.name not in inverted)
    made = replace(graph, nodes=kept)
    return made, {name: tensors[name] for name in made.tensor_names()}


def with_average_pools(graph: Graph) -> tuple[Graph, list[str]]:
    """Return the graph with average for max pooling, and the names of the replaced poolings.

    Raises:
        UnsupportedError: a pooling is dilated, which an average pooling can't be.
    """
    nodes, names = [], []
    for node in graph.nodes:
        if node.op == "max_pool":
            pool = attributes(node, MaxPool)
            if any(step != 1 for step in pool.dilation):
                raise UnsupportedError(
                    f"max pooling '{node.name}' can't become an average",
                    f"dilation {pool.dilation}",
                    "keep it: --pool keep",
                )
            average = AvgPool(
                kernel=pool.kernel,
                stride=pool.stride,
                padding=pool.padding,
                ceil_mode=pool.ceil_mode,
                count_include_pad=False,  # no activation: a mean over it would darken the border
            )
            node = replace(node, op="avg_pool", attrs=average.json_values())
            names.append(node.name)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), names

"""Recognise activations that are written as several operations: ReLU by a mask, QCFS by a floor.

``x * (x > 0)`` is a ReLU, and so is ``x * (1 - (x < 0))``.
``theta/L * floor(clip(x/theta, 0, 1)*L + 1/2)`` is QCFS, in any order of its constants: each chain
of affine maps around the clip and the floor counts as one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import attributes
from snnconv.graph.operations.activation import Qcfs, Relu
from snnconv.graph.operations.function import Pointwise

MASKS = ("gt0", "ge0")
"""Functions that are 1 where their argument is above 0, and 0 elsewhere."""

_MOVES = ("identity", "reshape", "permute", "expand", "slice", "take", "concat")

_CLOSE = 1e-5  # relative: constants as close as this are equal but for float arithmetic


@dataclass(frozen=True)
class _Line:
    """``scale*x + shift`` of a node's value, float64 ``[1]`` or ``[C]``."""

    end: str
    scale: Tensor
    shift: Tensor


def recognised(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """Return the graph with a site for each such activation; its operations may stay, unused."""
    nodes, made = {node.name: node for node in graph.nodes}, dict(tensors)
    for node in graph.nodes:
        if node.op == "multiply" and (x := _masked(nodes, made, node)):
            nodes[node.name] = Node(node.name, "relu", (x,), Relu(ceiling=None).json_values(), {})
        elif node.op == "pointwise" and attributes(node, Pointwise).function == "floor":
            found = _qcfs(graph, nodes, made, node)
            if found is not None:
                site, made[site.tensors["threshold"]] = found
                nodes[site.name] = site
    return replace(graph, nodes=tuple(nodes.values())), made


def is_mask(nodes: Mapping[str, Node], tensors: Mapping[str, Tensor], name: str) -> bool:
    """Whether a value is 0 or 1 everywhere: a comparison, its negation, or such values moved."""
    node = nodes.get(name)
    if node is None:
        return False
    if node.op == "affine":
        line = _own_line(node, tensors)
        negated = line is not None and _is(line[0], -1) and _is(line[1], 1)
        return negated and is_mask(nodes, tensors, node.inputs[0])
    if node.op in _MOVES:
        return all(is_mask(nodes, tensors, source) for source in node.inputs)
    return node.op == "pointwise" and attributes(node, Pointwise).function in MASKS


def _masked(nodes: Mapping[str, Node], tensors: Mapping[str, Tensor], node: Node) -> str | None:
    """Return the value that a product masks by its own sign; None if it masks none."""
    a, b = (_through(nodes, name) for name in node.inputs)
    for x, mask in ((a, b), (b, a)):
        if _is_sign(nodes, tensors, mask, x):
            return x
    return None


def _is_sign(nodes: Mapping[str, Node], tensors: Mapping[str, Tensor], mask: str, x: str) -> bool:
    """Whether a value is 1 where x is above 0 and 0 where it is below.

    It is ``m(s*x)`` for a mask m and a factor s above 0, or ``1 - m(s*x)`` for one below.
    """
    for outer in _upward(nodes, tensors, mask):
        made = nodes.get(outer.end)
        if made is None or made.op != "pointwise":
            continue
        if attributes(made, Pointwise).function not in MASKS:
            continue
        plain = _is(outer.scale, 1) and _is(outer.shift, 0)
        negated = _is(outer.scale, -1) and _is(outer.shift, 1)
        for inner in _upward(nodes, tensors, made.inputs[0]):
            if inner.end == x and _is(inner.shift, 0):
                return bool(
                    (plain and (inner.scale > 0).all()) or (negated and (inner.scale < 0).all())
                )
    return False


def _through(nodes: Mapping[str, Node], name: str) -> str:
    """Return the node whose value another one passes on unchanged."""
    while name in nodes and nodes[name].op == "identity":
        (name,) = nodes[name].inputs
    return name


def _qcfs(
    graph: Graph, nodes: Mapping[str, Node], tensors: Mapping[str, Tensor], floor: Node
) -> tuple[Node, Tensor] | None:
    """Return the site that ends at an affine map behind a floor, and its theta; None if no QCFS."""
    for inner in _upward(nodes, tensors, floor.inputs[0]):
        clip = nodes.get(inner.end)
        ceiling = attributes(clip, Relu).ceiling if clip and clip.op == "relu" else None
        if clip is None or ceiling is None:
            continue
        levels = int((inner.scale * ceiling).flatten()[0].round())
        counted = _is(inner.scale * ceiling, levels) and _is(inner.shift, 0.5)
        if levels < 1 or not counted:
            continue
        sources = list(_upward(nodes, tensors, clip.inputs[0]))
        for outer in reversed(list(_downward(graph, tensors, floor.name))):
            for source in sources:
                whole = source.scale * inner.scale * outer.scale
                if _is(whole, 1) and _is(source.shift, 0) and _is(outer.shift, 0):
                    theta = outer.scale * levels
                    if bool((theta > 0).all()):
                        roles = {"threshold": f"{outer.end}.threshold"}
                        attrs = Qcfs(levels=levels).json_values()
                        site = Node(outer.end, "qcfs", (source.end,), attrs, roles)
                        return site, theta.float()
    return None


def _is(values: Tensor, number: float) -> bool:
    return bool(((values - number).abs() <= _CLOSE * max(abs(number), 1.0)).all())


def _upward(nodes: Mapping[str, Node], tensors: Mapping[str, Tensor], name: str) -> Iterator[_Line]:
    """Return a value as affine maps of the values before it, the nearest first."""
    found = _Line(name, torch.ones(1).double(), torch.zeros(1).double())
    while True:
        yield found
        node = nodes.get(found.end)
        own = _own_line(node, tensors) if node else None
        if node is None or own is None:
            return
        scale, shift = own
        found = _Line(node.inputs[0], found.scale * scale, found.scale * shift + found.shift)


def _downward(graph: Graph, tensors: Mapping[str, Tensor], name: str) -> Iterator[_Line]:
    """Return the affine maps of a value that nothing else reads, the nearest first."""
    found = _Line(name, torch.ones(1).double(), torch.zeros(1).double())
    while True:
        readers = list(graph.consumers(found.end))
        own = _own_line(readers[0], tensors) if len(readers) == 1 else None
        if own is None:
            return
        scale, shift = own
        found = _Line(readers[0].name, found.scale * scale, found.shift * scale + shift)
        yield found


def _own_line(node: Node, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """Return a node as an affine map with one scale and shift, or one for each channel."""
    if node.op == "identity":
        return torch.ones(1).double(), torch.zeros(1).double()
    if node.op != "affine":
        return None
    scale, shift = (tensors[node.tensors[role]].double() for role in ("scale", "shift"))
    return (scale, shift) if scale.dim() == shift.dim() == 1 else None

"""Fold BatchNorm into the weights before it, by data flow.

Shape:
    Tensors keep their shapes; a folded layer gains a bias ``[C_out]``.

Reference:
    Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference*, CVPR 2018, section 3.2.

Deviations:
    None. A BatchNorm whose producer has other readers, or is no convolution or linear layer, can't
    be folded and becomes a per-channel affine, applied at every step.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from snnconv.graph.build import node_tensors
from snnconv.graph.ir import Graph, Node

FOLDABLE = ("conv", "linear")


def fold(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """The same function without BatchNorm, and without dropout and identities.

    The arithmetic is done in float64 and rounded once, so the folded network's output differs from
    the network's own by float rounding only.
    """
    tensors = dict(tensors)
    nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
    renamed: dict[str, str] = {}

    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        nodes[node.name] = node
        if node.op in ("dropout", "identity"):
            renamed[node.name] = node.inputs[0]
            del nodes[node.name]
        elif node.op == "batch_norm":
            scale, shift = _as_affine(node, tensors)
            producer = nodes.get(node.inputs[0])
            if producer and producer.op in FOLDABLE and _only_reader(graph, renamed, producer):
                nodes[producer.name] = _absorb(producer, scale, shift, tensors)
                renamed[node.name] = producer.name
                del nodes[node.name]
            else:
                roles = {"scale": f"{node.name}.scale", "shift": f"{node.name}.shift"}
                tensors[roles["scale"]], tensors[roles["shift"]] = scale.float(), shift.float()
                nodes[node.name] = Node(node.name, "affine", node.inputs, {}, roles)
    folded = Graph(
        graph.input_shape, tuple(nodes.values()), renamed.get(graph.output, graph.output)
    )
    return folded, {name: tensors[name] for name in sorted(folded.tensor_names())}


def _only_reader(graph: Graph, renamed: Mapping[str, str], producer: Node) -> bool:
    aliases = {producer.name} | {old for old, new in renamed.items() if new == producer.name}
    readers = {
        node.name
        for node in graph.nodes
        if any(name in aliases for name in node.inputs) and node.name not in aliases
    }
    return len(readers) == 1 and graph.output not in aliases


def _as_affine(node: Node, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    roles = {role: t.double() for role, t in node_tensors(node, tensors).items()}
    scale = roles.get("weight", torch.ones_like(roles["var"])) / torch.sqrt(
        roles["var"] + node.attrs["eps"]
    )
    return scale, roles.get("bias", torch.zeros_like(scale)) - roles["mean"] * scale


def _absorb(producer: Node, scale: Tensor, shift: Tensor, tensors: dict[str, Tensor]) -> Node:
    """The producer with the affine in its weight and bias, under tensor names of its own.

    Own names, since a module used twice shares its tensors but not the BatchNorm behind it.
    """
    roles = node_tensors(producer, tensors)
    weight = roles["weight"].double()
    names = {role: f"{producer.name}.folded.{role}" for role in ("weight", "bias")}
    scaled = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    offset = shift + (roles["bias"].double() * scale if "bias" in roles else 0)
    dtype = roles["weight"].dtype
    tensors[names["weight"]], tensors[names["bias"]] = scaled.to(dtype), offset.to(dtype)
    return replace(producer, tensors=names)

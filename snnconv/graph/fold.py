"""Fold BatchNorm into the weights before it, by data flow.

Shape:
    Tensors keep their shapes; a folded layer gains a bias ``[C_out]``.

Reference:
    Jacob et al., *Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference*, CVPR 2018, section 3.2.

Deviations:
    None. A BatchNorm can't be folded if the node before it has other readers, or is no convolution
    or linear layer with the same channels. It becomes an affine map per channel, at every step.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import attributes, node_tensors
from snnconv.graph.operations.normalisation import BatchNorm, factor
from snnconv.graph.operations.weighted import Conv


def fold(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """Return a graph of the same function without BatchNorm, dropout and identities.

    The arithmetic is done in float64 and rounded once, so the folded network's output differs from
    the network's own by float rounding only.
    """
    tensors = dict(tensors)
    analysis = Analysis.of(graph, tensors)
    nodes: dict[str, Node] = {}
    renamed: dict[str, str] = {}  # a removed node, and the one that gives its value now

    for original in graph.nodes:
        name = original.name
        node = replace(original, inputs=tuple(renamed.get(n, n) for n in original.inputs))
        if node.op in ("dropout", "identity"):
            renamed[name] = node.inputs[0]
        elif node.op == "batch_norm":
            scale, shift = _as_affine(node, tensors)
            producer = nodes.get(node.inputs[0])
            if (
                producer is not None
                and has_channels_first(producer, analysis)
                and _only_reader(graph, renamed, producer)
            ):
                nodes[producer.name] = _absorb(producer, scale, shift, tensors)
                renamed[name] = producer.name
            else:
                dtype = tensors[node.tensors["var"]].dtype
                roles = {"scale": f"{name}.scale", "shift": f"{name}.shift"}
                tensors |= {roles["scale"]: scale.to(dtype), roles["shift"]: shift.to(dtype)}
                nodes[name] = Node(name, "affine", node.inputs, {}, roles)
        else:
            nodes[name] = node
    output = renamed.get(graph.output, graph.output)
    folded = Graph(graph.input_shape, tuple(nodes.values()), output)
    return folded, {name: tensors[name] for name in sorted(folded.tensor_names())}


def has_channels_first(producer: Node, analysis: Analysis) -> bool:
    """Whether the channels are the first axis; those of a linear layer are the last one."""
    return producer.op in ("conv", "conv_transpose") or (
        producer.op == "linear" and len(analysis.shapes[producer.name]) == 1
    )


def _only_reader(graph: Graph, renamed: Mapping[str, str], producer: Node) -> bool:
    """Whether one node alone reads a value, perhaps through nodes that are folded already."""
    aliases = {producer.name} | {old for old, new in renamed.items() if new == producer.name}
    readers = [
        node for node in graph.nodes if aliases & set(node.inputs) and node.name not in aliases
    ]
    return len(readers) == 1 and graph.output not in aliases


def _as_affine(node: Node, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    roles = {role: t.double() for role, t in node_tensors(node, tensors).items()}
    attrs = attributes(node, BatchNorm)
    weight = factor(attrs, roles)
    weight = torch.ones_like(roles["var"]) if weight is None else weight
    scale = weight / torch.sqrt(roles["var"] + attrs.eps)
    return scale, roles.get("bias", torch.zeros_like(scale)) - roles["mean"] * scale


def _absorb(producer: Node, scale: Tensor, shift: Tensor, tensors: dict[str, Tensor]) -> Node:
    """Return the producer with the affine map in its weight and bias.

    The tensors get new names, because a module that is used twice shares its tensors, but not the
    BatchNorm behind it.
    """
    roles = node_tensors(producer, tensors)
    weight = roles["weight"].double()
    names = {role: f"{producer.name}.folded.{role}" for role in ("weight", "bias")}
    if producer.op == "conv_transpose":  # weight [C_in, C_out / groups, ...]
        groups = attributes(producer, Conv).groups
        by_group = scale.reshape(groups, 1, -1, *[1] * (weight.dim() - 2))
        scaled = (weight.unflatten(0, (groups, -1)) * by_group).flatten(0, 1)
    else:
        scaled = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    offset = shift + (roles["bias"].double() * scale if "bias" in roles else 0)
    dtype = roles["weight"].dtype
    tensors[names["weight"]], tensors[names["bias"]] = scaled.to(dtype), offset.to(dtype)
    return replace(producer, tensors=names)

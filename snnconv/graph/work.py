"""Multiply-accumulates: how many a network has, and how many of them spikes do not replace.

By the field's convention every tap counts, padding included; the exact number, counted as spikes
are, stands beside it. A number that is computed by an operation without weights that is not linear
counts as one; a recurrence has weights and such operations inside, and a product of two matrices
that both depend on the input has their taps.

What hangs on a constant input alone is computed once, and counted once. Among it may be functions
that no neuron stands for: they do not spike any more than those that are computed at every step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snnconv.graph import ops_recurrent
from snnconv.graph.ir import Graph, Node
from snnconv.graph.network import node_tensors, shapes
from snnconv.graph.ops import OPS, Role
from snnconv.graph.roles import OF_INPUT, Carries, by_macs, carried


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates for one sample, by convention, and what a spiking network does of them.

    Attributes:
        total: the ANN's.
        first: of what hangs on the input alone: computed once, or for every frame that is shown.
        once: of these, those of functions that no neuron stands for.
        each_step: of such functions, and of layers that analog values feed, at every step.
    """

    total: int
    first: int
    once: int
    each_step: int

    @property
    def non_spiking_share(self) -> float:
        """Of the MACs behind the first layer, and of functions wherever they are; 0 of none."""
        behind = self.total - self.first + self.once
        return (self.once + self.each_step) / max(1, behind)


def work(graph: Graph, tensors: Mapping[str, Tensor], source: Carries = Carries.CONSTANT) -> Work:
    """Which multiply-accumulates remain in a spiking network; ``source`` is what the input carries.

    Computes no value.
    """
    kinds, numbers = carried(graph, source), by_convention(graph, tensors)
    functions = {node.name for node in graph.nodes if OPS[node.op].role is Role.ANALOG}
    first = {name for name in numbers if kinds[name] in OF_INPUT}

    def total(names: set[str]) -> int:
        return sum(numbers[name] for name in names)

    return Work(
        total=sum(numbers.values()),
        first=total(first),
        once=total(first & functions),
        each_step=total(by_macs(graph, source)),
    )


def by_convention(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The multiply-accumulates of each node that has some, for one sample; computes no value."""
    sizes = shapes(graph, tensors)
    found = {}
    for node in graph.nodes:
        role = OPS[node.op].role
        if role is Role.ANALOG:
            found[node.name] = _of_function(node, sizes)
        elif role is Role.SYNAPSE:
            # every output of a convolution or linear layer, and every input of a transposed
            # convolution, has one weight slice [1:] of taps
            ends = node.inputs[0] if node.op == "conv_transpose" else node.name
            taps = tensors[node.tensors["weight"]][0].numel()
            found[node.name] = math.prod(sizes[ends]) * taps
    return found


def _of_function(node: Node, sizes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op in ops_recurrent.GATES:
        return ops_recurrent.macs(node.op, node.attrs, sizes[node.inputs[0]])
    taps = sizes[node.inputs[0]][-1] if node.op == "matmul" else 1
    return math.prod(sizes[node.name]) * taps


def exact(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The same without taps that meet padding."""
    sizes, found = shapes(graph, tensors), by_convention(graph, tensors)
    for node in graph.nodes:
        op = OPS[node.op]
        if op.role is Role.SYNAPSE:
            ones = torch.ones(1, *sizes[node.inputs[0]], dtype=torch.float64)
            out = op.reach(node.attrs, node_tensors(node, tensors), [ones])
            found[node.name] = int(out.sum().item())
    return found

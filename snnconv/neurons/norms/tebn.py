"""TEBN: BatchNorm, and a learned factor for each step behind it.

``y[t] = p[t]*(gamma*(x[t] - mu)/sqrt(var + eps) + beta)``, with ``mu`` and ``var`` over the samples
and steps of a batch, and one ``p[t]`` for each step, 1 at first, for all channels of a layer. In
inference the BatchNorm is folded into the weights. The weights of a step are then ``p[t]*W``: the
network keeps ``W`` and ``p``, and multiplies the currents, which is the same.

Shape:
    ``[T, B, C, *places] -> [T, B, C, *places]``.

Reference:
    Duan et al. 2022, *Temporal Effective Batch Normalization in Spiking Neural Networks*, and the
    released code.

Deviations:
    A network with it runs for the T that it was trained at, and for no other.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from snnconv.graph.ir import Graph, Node
from snnconv.neurons.norms.base import Norm


class TEBN(Norm):
    """BatchNorm with a factor a step."""

    finetunes = True

    def placed(
        self,
        graph: Graph,
        tensors: Mapping[str, Tensor],
        thresholds: Mapping[str, Tensor],
        timesteps: int,
    ) -> tuple[Graph, dict[str, Tensor]]:
        """See the module."""
        made, nodes = dict(tensors), []
        renamed: dict[str, str] = {}  # a BatchNorm: what its readers read now
        for node in graph.nodes:
            nodes.append(replace(node, inputs=tuple(renamed.get(n, n) for n in node.inputs)))
            if node.op == "batch_norm":
                name = renamed[node.name] = f"{node.name}.step_scale"
                made[name] = torch.ones(timesteps)
                nodes.append(Node(name, "step_scale", (node.name,), {}, {"scale": name}))
        output = renamed.get(graph.output, graph.output)
        return replace(graph, nodes=tuple(nodes), output=output), made


NORM = TEBN

"""tdBN: BatchNorm whose variance is that of the neurons' threshold.

``y = gamma*alpha*theta*(x - mu)/sqrt(var + eps) + beta``, with ``mu`` and ``var`` over the samples
and steps of a batch; ``theta`` is the threshold of the neurons behind it. Where n branches are
added before the neurons, ``alpha`` is divided by ``sqrt(n)``, so that the sum has that variance,
too. In inference all of it is folded into the weights, as a BatchNorm is.

Shape:
    ``[T*B, C, *places] -> [T*B, C, *places]``.

Reference:
    Zheng et al. 2021, *Going Deeper With Directly-Trained Larger Spiking Neural Networks*, eq. 6 to
    9, and the released code of STBP-simple and MPBN for ``alpha``.

Deviations:
    Where no neurons are behind a BatchNorm, it stays as it is.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field
from torch import Tensor

from snnconv.graph.ir import SITES, Graph, Node
from snnconv.graph.network import attributes
from snnconv.graph.operations.normalisation import BatchNorm
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.norms.base import Norm, NormParams


class Params(NormParams):
    """Parameters of tdBN."""

    examples = ({"alpha": 0.5},)
    alpha: float = Field(1.0, gt=0, le=1e3, description="spread of what neurons get, in thresholds")


class TdBN(Norm):
    """BatchNorm with a factor."""

    params_type = Params
    params: Params

    def placed(
        self,
        graph: Graph,
        tensors: Mapping[str, Tensor],
        thresholds: Mapping[str, Tensor],
        timesteps: int,
    ) -> tuple[Graph, dict[str, Tensor]]:
        """See the module."""
        nodes = []
        for node in graph.nodes:
            if node.op == "batch_norm" and (reached := _reached(graph, node)):
                site, branches = reached
                theta = float(thresholds[site].mean())
                scale = self.params.alpha * theta / math.sqrt(branches)
                attrs = attributes(node, BatchNorm).model_copy(update={"scale": scale})
                node = replace(node, attrs=attrs.json_values())
            nodes.append(node)
        return replace(graph, nodes=tuple(nodes)), dict(tensors)


def _reached(graph: Graph, norm: Node) -> tuple[str, int] | None:
    """Return the first site reached without a weight, and the branches added before it.

    There is none if all that reads a BatchNorm is weights, or the output.
    """
    branches = {norm.name: 1}
    for node in graph.nodes:
        known = [branches[name] for name in node.inputs if name in branches]
        if not known:
            continue
        if node.op in SITES:
            return node.name, max(known)
        if OPS[node.op].role is Role.LINEAR and node.op != "batch_norm":
            branches[node.name] = max(known) * (len(node.inputs) if node.op == "add" else 1)
    return None


NORM = TdBN

"""The ANN that a spiking network learns from."""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.errors import UsageError
from snnconv.graph.ir import SITES, Node
from snnconv.graph.network import Network, walk


class Teacher:
    """An ANN that does not learn.

    Args:
        network: with its tensors.
    """

    def __init__(self, network: Network) -> None:
        self._network = network.requires_grad_(False).eval()

    @torch.no_grad()
    def answer(self, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the outputs ``[B, *out]`` of samples, and each site's activations ``[B, *N]``."""
        activations: dict[str, Tensor] = {}

        def evaluate(node: Node, inputs: list[Tensor]) -> Tensor:
            value = self._network.compute(node, inputs)
            if node.op in SITES:
                activations[node.name] = value
            return value

        return walk(self._network.graph, x, evaluate), activations


def teacher_of(checkpoint: Checkpoint, device: torch.device) -> Teacher:
    """Return the ANN that was converted into a checkpoint's network.

    Raises:
        UsageError: none was.
    """
    if checkpoint.trained_directly:
        raise UsageError(
            "there is no ANN to learn from",
            "a network that was trained with its neurons from the start",
            "take another --loss, or convert an ANN and finetune that",
        )
    tensors = checkpoint.reference or checkpoint.network
    return Teacher(Network(checkpoint.graph, tensors).laid_out().to(device))

"""The ANN beside a simulation: what a spiking network is compared with, on the same samples.

Shape:
    Samples ``[B, *input]``, logits ``[B, classes]``, pre-activations ``[B, *N]``.
"""

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ann_inputs
from snnconv.simulation.corrected import uncorrected


def compared(
    checkpoint: Checkpoint, simulated: Network, device: torch.device
) -> tuple[Network, Network | None]:
    """What a simulation is compared with.

    Returns:
        The network without what corrections add to its weights; and the ANN that was converted, if
        fine-tuning has moved the weights away from it.
    """
    reference = None
    if checkpoint.reference:
        reference = Network(*fold(checkpoint.graph, checkpoint.reference)).to(device).eval()
    return (uncorrected(checkpoint) or simulated).to(device).eval(), reference


def beside(
    network: Network, reference: Network | None, x: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The ANN's logits, and its pre-activations by site under the weights as they are now.

    Args:
        network: without what corrections add to its weights.
        reference: the ANN, where fine-tuning has moved the weights away from it.
        x: the samples.
    """
    logits, inputs = ann_inputs(network, x)
    if reference is not None:
        with torch.no_grad():
            logits = reference(x)
    return logits, inputs

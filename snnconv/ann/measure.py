"""Accuracy of an ANN."""

import torch
from torch import Tensor, nn

from snnconv import distributed
from snnconv.dataset import Split, batches
from snnconv.facts import DataFacts
from snnconv.progress import Progress


@torch.no_grad()
def accuracy(
    network: nn.Module,
    split: Split,
    facts: DataFacts,
    order: Tensor,
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> float:
    """The share of samples classified right, 0..1, in evaluation mode."""
    network.eval()
    mine = distributed.share(order)
    correct = 0
    with progress.task("accuracy", len(mine)) as advance:
        for _, x, labels in batches(split, facts, mine, batch_size):
            correct += int((network(x.to(device)).argmax(1).cpu() == labels).sum())
            advance(len(labels))
    return distributed.total([correct], device)[0] / len(order)

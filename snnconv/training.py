"""The training loop, for an ANN and for a spiking network alike: SGD, cosine schedule, warm-up.

It yields a row an epoch and prints nothing. What is trained, and by which loss, is the caller's:
the loop sees a module and a function from a batch to ``(loss, logits)``.

Reference:
    STBP: Wu et al. 2018. TET: Deng et al., *Temporal Efficient Training*, ICLR 2022, eq. 5.

Deviations:
    Weight decay acts on weights of two or more dimensions only: not on biases, BatchNorm or what
    neurons learn, where it has no regularising effect and moves firing rates.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.augment import augmentation
from snnconv.config import OptimiserConfig
from snnconv.dataset import Split, batches
from snnconv.errors import CheckFailedError, UsageError
from snnconv.facts import DataFacts
from snnconv.neuron import Neuron
from snnconv.progress import Progress
from snnconv.reports import EpochRow
from snnconv.shapes import fold_time, unfold_time

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(samples [B], x, labels [B]) -> (loss [], logits [B, classes])``; x as ``batches`` gives it."""


@dataclass(frozen=True)
class Parts:
    """The training split in two: to train on, and to measure each epoch on."""

    train: Tensor
    validation: Tensor


def hold_out(split: Split, share: float, limit: int | None) -> Parts:
    """Hold out a share of each class, evenly spread: the same for every seed and every stage.

    Raises:
        UsageError: fewer than two samples.
    """
    labels = split.labels if limit is None else split.labels[:limit]
    if len(labels) < 2:
        raise UsageError(
            "there is nothing to train on beside what is held out",
            f"{len(labels)} training sample",
            "give more: --limit 2 or above",
        )
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten()
        due = (torch.arange(len(members) + 1, dtype=torch.float64) * share).floor()
        held[members[due.diff() > 0]] = True
    if not held.any():
        held[-1] = True
    return Parts(torch.nonzero(~held).flatten(), torch.nonzero(held).flatten())


def optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.SGD:
    """SGD with weight decay on weights only."""
    of_neurons = {
        id(p) for part in module.modules() if isinstance(part, Neuron) for p in part.parameters()
    }
    # what neurons learn may be free later: until then it has no gradient, and stays as it is
    trained = [p for p in module.parameters() if p.requires_grad or id(p) in of_neurons]
    decayed = [p for p in trained if p.dim() > 1 and id(p) not in of_neurons]
    ids = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": [p for p in trained if id(p) not in ids], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def learning_rate(config: OptimiserConfig, epoch: float) -> float:
    """Linear warm-up, then half a cosine down to zero; ``epoch`` counts from 0, with fractions."""
    if epoch < config.warmup:
        return config.lr * epoch / config.warmup
    share = (epoch - config.warmup) / max(config.epochs - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def cross_entropy(logits: Tensor, labels: Tensor, kind: str, smoothing: float) -> Tensor:
    """The loss of logits over time.

    Args:
        logits: ``[T, B, classes]`` currents of the last layer.
        labels: ``[B]``.
        kind: ``mean`` for the cross-entropy of the time average, ``tet`` for the mean over steps.
        smoothing: of the labels.
    """
    if kind == "mean":
        return F.cross_entropy(logits.mean(0), labels, label_smoothing=smoothing)
    return F.cross_entropy(
        logits.flatten(0, 1), labels.repeat(logits.shape[0]), label_smoothing=smoothing
    )


def _channels_last(x: Tensor, rank: int) -> Tensor:
    """Images ``[B, C, H, W]``, or frames of them ``[f, B, C, H, W]``, in the memory of networks."""
    if rank != 3:
        return x
    images = fold_time(x) if x.dim() > 4 else x
    images = images.contiguous(memory_format=torch.channels_last)
    return unfold_time(images, len(x)) if x.dim() > 4 else images


def fit(
    module: nn.Module,
    loss: Loss,
    split: Split,
    facts: DataFacts,
    config: OptimiserConfig,
    parts: Parts,
    validate: Callable[[], float],
    device: torch.device,
    progress: Progress,
    showings: int | None = None,
) -> Iterator[EpochRow]:
    """Train; yields a row after each epoch, with the module in evaluation mode.

    Raises:
        CheckFailedError: the loss is not finite any more.
    """
    descent = optimiser(module, config)
    augment = augmentation(config.augment, facts.shape)
    order = torch.Generator().manual_seed(config.seed)
    steps = math.ceil(len(parts.train) / config.batch_size)
    for epoch in range(1, config.epochs + 1):
        started = time.perf_counter()
        module.train()
        total_loss, correct = 0.0, 0
        shuffled = parts.train[torch.randperm(len(parts.train), generator=order)]
        torch.manual_seed(config.seed * 1_000_003 + epoch)  # augmentation and dropout
        with progress.task(f"epoch {epoch}/{config.epochs}", len(parts.train)) as advance:
            drawn = batches(split, facts, shuffled, config.batch_size, augment, showings)
            for step, (indices, x, labels) in enumerate(drawn):
                x, labels = x.to(device), labels.to(device)
                x = _channels_last(x, len(facts.shape))
                for group in descent.param_groups:
                    group["lr"] = learning_rate(config, epoch - 1 + (step + 1) / steps)
                with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
                    value, logits = loss(indices, x, labels)
                if not torch.isfinite(value):
                    raise CheckFailedError(
                        "training diverged",
                        f"loss {value.item()} in epoch {epoch}, step {step + 1} of {steps}",
                        f"lower the learning rate: --lr {config.lr / 10:g}",
                    )
                descent.zero_grad()
                value.backward()
                if config.clip_gradient is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), config.clip_gradient)
                descent.step()
                total_loss += value.item() * len(indices)
                correct += int((logits.detach().argmax(1) == labels).sum())
                advance(len(indices))
        module.eval()
        yield EpochRow(
            epoch=epoch,
            loss=total_loss / len(parts.train),
            train_accuracy=correct / len(parts.train),
            accuracy=validate(),
            learning_rate=descent.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
        )

"""Accuracy of an ANN, and whether its input looks as it should."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnconv.core import distributed
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Progress
from snnconv.core.uncertainty import lucky
from snnconv.data.dataset import Normalisation, batches
from snnconv.data.split import Split, is_class


@torch.no_grad()
def accuracy(
    network: nn.Module,
    split: Split,
    info: DataInfo,
    order: Tensor,
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> float:
    """Return the share of samples classified right, 0..1, in evaluation mode."""
    network.eval()
    mine = distributed.share(order)
    correct = 0
    with progress.task("accuracy", len(mine)) as advance:
        for _, x, labels in batches(split, info, mine, batch_size):
            assert labels is not None
            correct += int((network(x.to(device)).argmax(1).cpu() == labels).sum())
            advance(len(x))
    return distributed.total([correct], device)[0] / len(order)


NEARLY_ALL = 0.99
"""The share of samples with one class from which on this class tells little."""

_FEW = 10  # samples, of which one class may be the right one
_PIXELS = 2.0  # a value or a mean above is of no sample in 0..1
_IMAGENET = Normalisation(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CANDIDATES = (
    Normalisation(255.0, (0.0,), (1.0,)),
    Normalisation(255.0, (0.5,), (0.5,)),
    Normalisation(1.0, (0.0,), (1.0,)),
)
"""Common ranges of pixels as networks take them: 0..1, -1..1, and as they are."""


@dataclass
class Seen:
    """What an ANN did on samples, added up.

    Attributes:
        right: samples classified right.
        samples: all whose class is known.
        low: the smallest value before normalisation.
        high: the largest one.
    """

    right: int = 0
    samples: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, x: Tensor, logits: Tensor, labels: Tensor | None, info: DataInfo) -> None:
        """Add a batch of normalised samples ``[B, *shape]`` and its logits ``[B, classes]``."""
        if info.task == "classification" and is_class(labels):
            self.right += int((logits.argmax(1).cpu() == labels).sum())
            self.samples += len(labels)
        shape = (1, -1, *[1] * (x.dim() - 2))
        mean, std = (torch.tensor(v).reshape(shape) for v in (info.mean, info.std))
        values = x.cpu() * std + mean
        self.low, self.high = (
            min(self.low, float(values.min())),
            max(self.high, float(values.max())),
        )

    def total(self, device: torch.device) -> "Seen":
        """Add up what all processes have seen."""
        right, samples = distributed.total([self.right, self.samples], device)
        low, high = distributed.largest(torch.tensor([-self.low, self.high]), device).tolist()
        return Seen(int(right), int(samples), -low, high)

    @property
    def accuracy(self) -> float | None:
        """The share classified right; none where no class is known."""
        return self.right / self.samples if self.samples else None


def near_chance(seen: Seen, classes: int) -> bool:
    """Whether an accuracy may be luck."""
    return lucky(seen.right, seen.samples, classes)


class ClassesGiven:
    """How often an ANN gives each class.

    Args:
        classes: how many there are; of a single output, nothing is counted.
    """

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, dtype=torch.int64)

    def add(self, outputs: Tensor) -> None:
        """Add a batch of outputs ``[B, classes, ...]``: the largest one tells the class."""
        if len(self.counts) > 1:
            given = outputs.argmax(1).flatten().cpu()
            self.counts += torch.bincount(given, minlength=len(self.counts))

    def largest_share(self, device: torch.device) -> float | None:
        """Return the share of the most frequent class, over all processes; none without samples."""
        counts = distributed.add(self.counts, device)
        return float(counts.max() / counts.sum()) if counts.any() else None


def one_class(share: float, samples: int) -> str:
    """Return what to say of an ANN that gives nearly all samples one class, else nothing.

    Args:
        share: of the samples that have the ANN's most frequent class.
        samples: how many there are.
    """
    if samples < _FEW or share < NEARLY_ALL:
        return ""
    return (
        f"the ANN gives {share:.2%} of these samples the same class, so a network that knows no "
        "other class agrees with it as often: the agreement tells little. Look at the weights "
        "(--weights) and at the normalisation (--mean, --std, --scale)"
    )


def misfit(seen: Seen, info: DataInfo) -> str | None:
    """Say what is inconsistent between the samples' values and their mean and std, if anything."""
    untouched = set(info.mean) == {0.0} and set(info.std) == {1.0}
    values = f"values of {seen.low:.3g} to {seen.high:.3g}"
    told = f"mean {_told(info.mean)} and std {_told(info.std)}"
    of_pixels = max(*map(abs, info.mean), *info.std) > _PIXELS
    if of_pixels and max(-seen.low, seen.high) <= 1:
        return (
            f"the samples have {values}, and {told} look like those of pixels in 0..255. "
            "Take pixels as they are (--scale 1), or give mean and std of values in 0..1"
        )
    if seen.high > 10 * _PIXELS and not of_pixels and not untouched:
        return (
            f"the samples have {values}, as pixels have, and {told} look like those of values in "
            "0..1. Divide the samples (--scale 255), or give mean and std of pixels"
        )
    return None


def _told(figures: tuple[float, ...]) -> str:
    shown = ", ".join(f"{figure:g}" for figure in figures[:3])
    return f"{shown}, ..." if len(figures) > 3 else shown


def candidates(info: DataInfo, scale: float) -> dict[str, DataInfo]:
    """Return normalisations that a network from another tool may have been trained with.

    Args:
        info: as they are.
        scale: the number by which raw values were divided for them.

    Returns:
        By the options that say so, info for the same values.
    """
    common = [*_CANDIDATES, *([_IMAGENET] if info.shape[0] == 3 else [])]
    # the data set's own figures as those of raw values, as a file may have them
    common.append(Normalisation(1.0, info.mean, info.std))
    as_is = info.scale is None and scale == 1  # raw values in 0..1, which have no other scale
    found = {}
    for one in common:
        assert one.scale is not None
        factor = 1.0 if as_is else one.scale / scale
        made = info.model_copy(
            update={
                "mean": tuple(value * factor for value in one.mean),
                "std": tuple(value * factor for value in one.std),
            }
        )
        told = "" if as_is else f"--scale {one.scale:g} "
        mean, std = (",".join(f"{v:g}" for v in values) for values in (one.mean, one.std))
        if (made.mean, made.std) != (info.mean, info.std):
            found[f"{told}--mean {mean} --std {std}"] = made
    return found

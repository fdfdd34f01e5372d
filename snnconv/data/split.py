"""A part of a data set: samples and what is known of them, and subsets that are drawn from it."""

import hashlib
from collections.abc import Callable, Sized
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from snnconv.errors import UnsupportedError


@runtime_checkable
class Split(Protocol):
    """A part of a data set.

    A split without labels has a ``__len__``, which is how many samples it has.

    Shape:
        labels ``[n, ...]``: classes ``[n]`` int64, or of any type and further shape, as masks
        ``[n, H, W]``, several labels at once ``[n, K]`` or values ``[n]`` float32.
        ``images(indices)`` gives ``[len(indices), *shape]`` float32 in 0..1, ``shape`` being that
        of the info: ``(C, H, W)``, ``(C, L)``, ``(F,)``, ...; where they have frames,
        ``[len(indices), frames, *shape]``.
    """

    @property
    def labels(self) -> Tensor | None:
        """What is known of each sample, such as its class; none where nothing is."""
        ...

    def images(self, indices: Tensor) -> Tensor:
        """Return the samples at these indices."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory: ``pixels [n, *shape]``, divided by ``scale`` on the way out."""

    pixels: Tensor
    labels: Tensor | None
    scale: float

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images at these indices."""
        return self.pixels[indices].float() / self.scale


@dataclass(frozen=True)
class Changed:
    """A split whose samples ``[n, ...]`` go through a function on their way out."""

    split: Split
    change: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return count(self.split)

    @property
    def labels(self) -> Tensor | None:
        """Those of the split."""
        return self.split.labels

    def images(self, indices: Tensor) -> Tensor:
        """Return the images at these indices."""
        return self.change(self.split.images(indices))


@dataclass(frozen=True)
class Valued:
    """A split whose labels are values: floats."""

    split: Split

    def __len__(self) -> int:
        return count(self.split)

    @property
    def labels(self) -> Tensor | None:
        """Those of the split, as floats."""
        labels = self.split.labels
        return None if labels is None else labels.float()

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of the split."""
        return self.split.images(indices)


def count(split: Split) -> int:
    """Return how many samples a split has."""
    if split.labels is not None:
        return len(split.labels)
    assert isinstance(split, Sized), "a split without labels says how many samples it has"
    return len(split)


def is_class(labels: Tensor | None) -> TypeGuard[Tensor]:
    """Whether labels are one whole number a sample: its class."""
    return labels is not None and labels.dim() == 1 and not labels.is_floating_point()


def strata(split: Split) -> Tensor:
    """Return the groups by which :func:`subset` draws from a split, ``[n]`` int64.

    Those are the classes. Samples of other labels, or of none, are one group: a subset of them is
    a random one.
    """
    labels = split.labels
    return labels.long() if is_class(labels) else torch.zeros(count(split), dtype=torch.int64)


def class_labels(split: Split, spec: str, work: str) -> Tensor:
    """Return the class of each sample, ``[n]`` int64.

    Args:
        split: of the data set.
        spec: of the data set, for errors.
        work: what needs classes, for errors.

    Raises:
        UnsupportedError: the labels are no classes, or there are none.
    """
    labels = split.labels
    if not is_class(labels):
        found = "no labels" if labels is None else f"labels {list(labels.shape)} of {labels.dtype}"
        raise UnsupportedError(
            f"{work} needs the class of each sample, which data set '{spec}' does not have",
            found,
            "give data with one whole number for each sample: its class, from 0 (--data)",
        )
    return labels.long()


def subset(labels: Tensor, n: int | None, seed: int) -> Tensor:
    """Return a stratified random subset: every class has its share, rounded up or down.

    A class whose share is below one sample may have none. The subset depends on the labels, ``n``
    and the seed alone. Subsets of one seed are nested: a smaller one is part of a larger one.

    Args:
        labels: of the whole split, ``[N]`` int64.
        n: how many samples; all if there are no more, or if none is given.
        seed: of the draw.

    Returns:
        Indices in ascending order, ``[min(n, N)]`` int64.

    Reference:
        The order in which classes take their turns is the schedule of Baruah et al. 1996,
        *Proportionate progress*: of those due, the one whose deadline is earliest. After any
        number of turns no class is one sample or more away from its share.
    """
    total = len(labels)
    if n is None or n >= total:
        return torch.arange(total)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(total, generator=generator)
    shuffled = shuffled[labels[shuffled].argsort(stable=True)]  # class by class, each at random
    sizes: list[int] = labels.unique(return_counts=True)[1].tolist()
    starts = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
    drawn = torch.randperm(len(sizes), generator=generator).tolist()  # who is first of equals

    # class k takes its turn j + 1, which is due in (j * total / size, (j + 1) * total / size]
    waiting = [(1, rank, k, 0) for rank, k in enumerate(drawn)]
    due: list[tuple[int, int, int, int]] = []
    chosen = []
    for turn in range(1, n + 1):
        while waiting and waiting[0][0] <= turn:
            _, rank, k, j = heappop(waiting)
            heappush(due, (-(-(j + 1) * total // sizes[k]), rank, k, j))
        _, rank, k, j = heappop(due)
        chosen.append(starts[k] + j)
        if j + 1 < sizes[k]:
            heappush(waiting, ((j + 1) * total // sizes[k] + 1, rank, k, j + 1))
    return shuffled[torch.tensor(chosen, dtype=torch.int64)].sort().values


def digest(indices: Tensor) -> str:
    """Return the SHA-256 of indices, as 64-bit integers with the lowest byte first."""
    return hashlib.sha256(indices.long().numpy().astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Picked:
    """Some samples of a split, by their indices ``[n]``."""

    split: Split
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> Tensor | None:
        """Those of these samples."""
        labels = self.split.labels
        return None if labels is None else labels[self.indices]

    def images(self, indices: Tensor) -> Tensor:
        """Return the images at these indices."""
        return self.split.images(self.indices[indices])


DIVIDED = (
    "all samples came as one: a fifth of them, drawn {how} by seed 0, is the test split, and the "
    "rest the training split"
)


def divided(split: Split) -> tuple[Split, Split, str]:
    """Divide samples that came as one split: four fifths to train on, a fifth to measure on.

    The division depends on the labels and the number of samples alone, so that every stage finds
    the same.

    Returns:
        Both parts, and what is to be said of it.
    """
    groups = strata(split)
    test = subset(groups, max(1, round(len(groups) / 5)), 0)
    rest = torch.ones(len(groups), dtype=torch.bool)
    rest[test] = len(groups) == 1  # there is nothing to divide
    how = "from each class" if is_class(split.labels) else "at random"
    return Picked(split, rest.nonzero().flatten()), Picked(split, test), DIVIDED.format(how=how)

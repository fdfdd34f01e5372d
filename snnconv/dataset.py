"""What a data set is: facts, and two splits of images with labels.

Images are handed out as float32 in 0..1; normalisation is a fact of the data set, applied here and
nowhere else, so it travels in the checkpoint with the network that was trained under it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from snnconv.errors import UnsupportedError, UsageError
from snnconv.facts import DataFacts
from snnconv.plugins import Room


class Split(Protocol):
    """A part of a data set.

    Shape:
        labels ``[n]`` int64; ``images(indices)`` gives ``[len(indices), C, H, W]`` float32 in 0..1.
    """

    labels: Tensor

    def images(self, indices: Tensor) -> Tensor:
        """The images at these indices."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory: ``pixels [n, C, H, W]``, divided by ``scale`` on the way out."""

    pixels: Tensor
    labels: Tensor
    scale: float

    def images(self, indices: Tensor) -> Tensor:
        """The images at these indices."""
        return self.pixels[indices].float() / self.scale


@dataclass(frozen=True)
class Dataset:
    """A data set with its two splits."""

    facts: DataFacts
    train: Split
    test: Split

    def split(self, name: str) -> Split:
        """``train`` or ``test``."""
        return self.train if name == "train" else self.test


@dataclass(frozen=True)
class Source:
    """Where to look: the part of ``--data`` behind the colon, and the search root."""

    argument: str
    root: Path | None
    download: bool


class Load(Protocol):
    """A data set's file gives ``DATASET``, one of these."""

    def __call__(self, source: Source) -> Dataset:
        """Read the data set."""
        ...


ROOM: Room[Load] = Room("datasets", "data set", "DATASET")


def load(spec: str, root: Path | None = None, download: bool = False) -> Dataset:
    """Read a data set.

    Args:
        spec: ``digits``, ``fashion-mnist``, ``folder:DIR``, ... (``snnconv ls datasets``).
        root: the folder that holds data sets; where that is not given, each one's usual places.
        download: allow a download where the data set is not found.

    Raises:
        UsageError: no such data set, or not found where it was looked for.
        UnsupportedError: found, but not what it should be.
    """
    name, _, argument = spec.partition(":")
    dataset = ROOM.load(name)(Source(argument, root, download))
    for part in ("train", "test"):
        labels = dataset.split(part).labels
        if len(labels) == 0:
            raise UnsupportedError(f"data set '{spec}' can't be used", f"an empty {part} split", "fill it")
        if int(labels.min()) < 0 or int(labels.max()) >= len(dataset.facts.classes):
            raise UnsupportedError(
                f"data set '{spec}' can't be used",
                f"labels {int(labels.min())}..{int(labels.max())} in the {part} split for "
                f"{len(dataset.facts.classes)} classes",
                "number the labels from 0 and name every class",
            )
    return dataset


def normalise(images: Tensor, facts: DataFacts) -> Tensor:
    """``(x - mean) / std`` per channel; refuses NaN and Inf."""
    if not torch.isfinite(images).all():
        raise UnsupportedError(
            f"data set '{facts.spec}' can't be used", "NaN or Inf in its samples", "repair the data"
        )
    shape = (1, -1, *[1] * (images.dim() - 2))
    mean, std = (torch.tensor(v).reshape(shape) for v in (facts.mean, facts.std))
    return (images - mean) / std


def batches(
    split: Split, facts: DataFacts, order: Tensor, size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Indices, normalised images and labels, batch by batch in the given order.

    Args:
        split: where from.
        facts: shape and normalisation; those of the checkpoint, where there is one.
        order: indices ``[n]`` int64 into the split.
        size: samples a batch.

    Raises:
        UnsupportedError: the images have another shape than the network was made for.
    """
    for indices in order.split(size):
        images = split.images(indices)
        if tuple(images.shape[1:]) != tuple(facts.shape):
            raise UnsupportedError(
                "the data do not fit the network",
                f"samples of shape {list(images.shape[1:])}, network input {list(facts.shape)}",
                "give the data set the network was trained on (--data)",
            )
        yield indices, normalise(images, facts), split.labels[indices]


def first(split: Split, limit: int | None) -> Tensor:
    """The first ``limit`` indices of a split, or all."""
    count = len(split.labels)
    return torch.arange(count if limit is None else min(limit, count))


def find(folder: str, source: Source, wanted: tuple[str, ...], how_to_get: str) -> Path:
    """The first place that holds the wanted files.

    Raises:
        UsageError: none does; says where it was looked for and how to get it.
    """
    roots = [source.root] if source.root else [Path("data"), Path.home() / ".cache" / "snnconv"]
    places = [place for root in roots for place in (root / folder, root)]
    return find_in(places, wanted, folder, how_to_get)


def find_in(places: list[Path], wanted: tuple[str, ...], name: str, how_to_get: str) -> Path:
    """The first of the places that holds the wanted files; see :func:`find`."""
    for place in places:
        if all((place / file).exists() for file in wanted):
            return place
    looked = ", ".join(str(place) for place in places)
    raise UsageError(f"data set '{name}' is not here", f"no {wanted[0]} in: {looked}", how_to_get)

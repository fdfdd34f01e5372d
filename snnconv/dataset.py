"""What a data set is: facts, and two splits of samples with labels.

Samples are handed out as float32 in 0..1; normalisation is a fact of the data set, applied here and
nowhere else, so it travels in the checkpoint with the network that was trained under it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from snnconv.errors import UnsupportedError, UsageError
from snnconv.factory import call, factory
from snnconv.facts import DataFacts
from snnconv.plugins import Room
from snnconv.values import parse_pairs


class Split(Protocol):
    """A part of a data set.

    Shape:
        labels ``[n]`` int64; ``images(indices)`` gives ``[len(indices), *shape]`` float32 in 0..1,
        ``shape`` being that of the facts: ``(C, H, W)``, ``(C, L)``, ``(F,)``, ...
    """

    @property
    def labels(self) -> Tensor:
        """A class number for each sample."""
        ...

    def images(self, indices: Tensor) -> Tensor:
        """The samples at these indices."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory: ``pixels [n, *shape]``, divided by ``scale`` on the way out."""

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
        spec: ``digits``, ``fashion-mnist``, ``folder:DIR``, ... (``snnconv ls datasets``), or
            ``package.module:factory`` or ``file.py:factory``, a function of the user's that returns
            a :class:`Dataset`, with ``?key=value&...`` as its keyword arguments.
        root: the folder that holds data sets; where that is not given, each one's usual places.
        download: allow a download where the data set is not found.

    Raises:
        UsageError: no such data set, or not found where it was looked for.
        UnsupportedError: found, but not what it should be.
    """
    name, _, argument = spec.partition(":")
    if "." in name and argument:  # no data set of the room has a dot in its name
        dataset = _made(spec)
    else:
        dataset = ROOM.load(name)(Source(argument, root, download))
        if dataset.facts.spec != spec:  # it made no use of what stands behind the colon
            raise UsageError(
                f"data set '{name}' takes nothing behind a colon",
                f"'{spec}'",
                f"write --data {name}",
            )
    _check(dataset)
    return dataset


def _made(spec: str) -> Dataset:
    """The data set that a user's factory returns."""
    name, _, query = spec.partition("?")
    options = parse_pairs(query.split("&")) if query else {}
    made = call(
        factory(name),
        options,
        spec=spec,
        kind=Dataset,
        what="data set",
        returned="snnconv.dataset.Dataset",
    )
    # a checkpoint must know where to get its data again, whatever the factory calls them
    return replace(made, facts=made.facts.model_copy(update={"spec": spec}))


def _check(dataset: Dataset) -> None:
    """Refuse splits and facts that contradict each other."""
    facts = dataset.facts
    problem = f"data set '{facts.spec}' can't be used"
    for part, labels in (("train", dataset.train.labels), ("test", dataset.test.labels)):
        if labels.dim() != 1 or labels.dtype != torch.int64:
            raise UnsupportedError(
                problem,
                f"{part} labels of shape {list(labels.shape)} and type {labels.dtype}",
                "give one int64 label a sample",
            )
        if len(labels) == 0:
            raise UnsupportedError(problem, f"an empty {part} split", "fill it")
        if int(labels.min()) < 0 or int(labels.max()) >= len(facts.classes):
            raise UnsupportedError(
                problem,
                f"labels {int(labels.min())}..{int(labels.max())} in the {part} split for "
                f"{len(facts.classes)} classes",
                "number the labels from 0 and name every class",
            )
    channels = (*facts.shape, 1)[0]
    if not facts.shape or {len(facts.mean), len(facts.std)} - {1, channels} or min(facts.std) <= 0:
        raise UnsupportedError(
            problem,
            f"mean {list(facts.mean)} and std {list(facts.std)} for samples of shape "
            f"{list(facts.shape)}",
            f"give one of each, or {channels}, and every std above 0",
        )


def normalise(images: Tensor, facts: DataFacts) -> Tensor:
    """``(x - mean) / std``; refuses NaN and Inf.

    Args:
        images: ``[B, C, ...]``, or ``[B, F]``, where each feature is a channel.
        facts: mean and std, one a channel or one for all.
    """
    if not torch.isfinite(images).all():
        raise UnsupportedError(
            f"data set '{facts.spec}' can't be used", "NaN or Inf in its samples", "repair the data"
        )
    shape = (1, -1, *[1] * (images.dim() - 2))  # [1, C or 1, 1, ...]
    mean, std = (torch.tensor(v).reshape(shape) for v in (facts.mean, facts.std))
    return (images - mean) / std


def batches(
    split: Split,
    facts: DataFacts,
    order: Tensor,
    size: int,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Indices, normalised images and labels, batch by batch in the given order.

    Args:
        split: where from.
        facts: shape and normalisation; those of the checkpoint, where there is one.
        order: indices ``[n]`` int64 into the split.
        size: samples a batch.
        augment: of a batch of images in 0..1, before normalisation.

    Raises:
        UnsupportedError: the images have another shape than the network was made for.
    """
    for indices in order.split(size) if len(order) else ():
        images = split.images(indices)
        if tuple(images.shape[1:]) != tuple(facts.shape):
            raise UnsupportedError(
                "the data do not fit the network",
                f"samples of shape {list(images.shape[1:])}, network input {list(facts.shape)}",
                "give the data set the network was trained on (--data)",
            )
        if augment is not None:
            images = augment(images)
        yield indices, normalise(images, facts), split.labels[indices]


def first(split: Split, limit: int | None) -> Tensor:
    """The first ``limit`` indices of a split, or all."""
    count = len(split.labels)
    return torch.arange(count if limit is None else min(limit, count))


def below(source: Source, path: str) -> Path:
    """The path that ``folder:PATH``, for one, means: relative to ``--data-root``, if given.

    Raises:
        UsageError: it is empty.
    """
    if not path:
        raise UsageError(
            "the data set needs a path",
            "nothing behind the colon",
            "write folder:DIR, npz:FILE or speech-commands:DIR",
        )
    given = Path(path).expanduser()
    return source.root / given if source.root else given


def find(
    source: Source,
    *,
    name: str,
    folder: str,
    layouts: Sequence[Sequence[str]],
    fetch: Callable[[Path], object],
    how_to_get: str,
    elsewhere: Sequence[Path] = (),
) -> list[Path]:
    """A data set's files, of the first layout that is complete in the first place that has one.

    Looks below ``--data-root`` and in it; without that in ``data``, ``~/.cache/snnconv`` and
    elsewhere. A download goes to ``--data-root``, or to ``~/.cache/snnconv``.

    Args:
        source: where to look, and whether to download.
        name: the data set's, for error messages.
        folder: the folder below a root that holds the files.
        layouts: the files that are needed, in each form they come in.
        fetch: downloads them into a root.
        how_to_get: the remedy.
        elsewhere: further places, looked at where no root is given.

    Raises:
        UsageError: no place has them all; says where it was looked for and how to get them.
    """
    roots = [source.root] if source.root else [Path("data"), Path.home() / ".cache" / "snnconv"]
    places = [place for root in roots for place in (root / folder, root)]
    if source.root is None:
        places += elsewhere
    lacking: dict[str, list[str]] = {}
    for place in places:
        missing = []
        for layout in layouts:
            absent = [file for file in layout if not (place / file).is_file()]
            if not absent:
                return [place / file for file in layout]
            missing.append(absent)
        lacking.setdefault(min(missing, key=len)[0], []).append(str(place))
    if source.download:
        try:
            fetch(roots[-1])
        except (OSError, RuntimeError, HTTPException) as error:  # torchvision's, urllib's, http's
            raise UsageError(
                f"data set '{name}' can't be downloaded", str(error), how_to_get
            ) from error
        here = Source(source.argument, roots[-1], download=False)
        return find(
            here, name=name, folder=folder, layouts=layouts, fetch=fetch, how_to_get=how_to_get
        )
    found = "; ".join(f"no {file} in: {', '.join(where)}" for file, where in lacking.items())
    raise UsageError(f"data set '{name}' is not here", found, how_to_get)

"""What a data set is: info, and two splits of samples with labels.

Samples are handed out as float32 in 0..1; normalisation is a fact of the data set, applied here and
nowhere else, so it travels in the checkpoint with the network that was trained under it.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import accumulate
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.shapes import fold_time, unfold_time
from snnconv.core.user_code import call, factory
from snnconv.core.validation import parse_pairs
from snnconv.data.frames import merge
from snnconv.data.locate import Source
from snnconv.errors import UnsupportedError, UsageError


class Split(Protocol):
    """A part of a data set.

    Shape:
        labels ``[n]`` int64; ``images(indices)`` gives ``[len(indices), *shape]`` float32 in 0..1,
        ``shape`` being that of the info: ``(C, H, W)``, ``(C, L)``, ``(F,)``, ...; where they have
        frames, ``[len(indices), frames, *shape]``.
    """

    @property
    def labels(self) -> Tensor:
        """A class number for each sample."""
        ...

    def images(self, indices: Tensor) -> Tensor:
        """Return the samples at these indices."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory: ``pixels [n, *shape]``, divided by ``scale`` on the way out."""

    pixels: Tensor
    labels: Tensor
    scale: float

    def images(self, indices: Tensor) -> Tensor:
        """Return the images at these indices."""
        return self.pixels[indices].float() / self.scale


@dataclass(frozen=True)
class Rescaled:
    """A split whose values are multiplied by a factor: divided by another scale than its own."""

    split: Split
    factor: float

    @property
    def labels(self) -> Tensor:
        """Those of the split."""
        return self.split.labels

    def images(self, indices: Tensor) -> Tensor:
        """Return the images at these indices."""
        return self.split.images(indices) * self.factor


@dataclass(frozen=True)
class Dataset:
    """A data set with its two splits.

    Attributes:
        info: shape, classes and normalisation.
        train: to train and calibrate on.
        test: to measure on.
        scale: that raw values were divided by.
        origin: of mean and std: fixed for the data set, measured on its training samples, or given
            by the user, in a file or an option.
    """

    info: DataInfo
    train: Split
    test: Split
    scale: float = 1.0
    origin: Literal["fixed", "measured", "given"] = "fixed"


@dataclass(frozen=True)
class Normalisation:
    """Scale, mean and std of ``(raw / scale - mean) / std`` that the user or a network gives."""

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Load(Protocol):
    """A data set's file gives ``DATASET``, one of these."""

    def __call__(self, source: Source) -> Dataset:
        """Read the data set."""
        ...


DATASETS: Registry[Load] = REGISTRIES["datasets"]


def load_dataset(
    spec: str,
    root: Path | None = None,
    download: bool = False,
    vocabulary: tuple[str, ...] = (),
    given: Normalisation | None = None,
) -> Dataset:
    """Read a data set.

    Args:
        spec: ``digits``, ``fashion-mnist``, ``folder:DIR``, ... (``snnconv ls datasets``), or
            ``package.module:factory`` or ``file.py:factory``, a function of the user's that returns
            a :class:`Dataset`, with ``?key=value&...`` as its keyword arguments.
        root: the folder that holds data sets; by default each one's usual places.
        download: allow a download if the data set is not found.
        vocabulary: of the network that texts are for; their own where there is none yet.
        given: scale, mean and std in place of the data set's own.

    Raises:
        UsageError: no such data set, or not found where it was looked for.
        UnsupportedError: found, but not what it should be.
    """
    name, _, argument = spec.partition(":")
    if is_factory(spec):
        dataset = _made(spec)
    else:
        dataset = DATASETS.load(name)(
            Source(argument, root, download, vocabulary, given.scale if given else None)
        )
        if dataset.info.spec != spec:  # it made no use of what stands behind the colon
            raise UsageError(
                f"data set '{name}' takes nothing behind a colon",
                f"'{spec}'",
                f"write --data {name}",
            )
    dataset = _normalised(dataset, given or Normalisation())
    _check(dataset)
    return dataset


def is_factory(spec: str) -> bool:
    """Whether a data set is made by a user's function: none of the room has a dot in its name."""
    name, _, argument = spec.partition(":")
    return "." in name and bool(argument)


def named(spec: str) -> Load:
    """The function that makes a data set; checkpoints may call it from now on in this process.

    Raises:
        UsageError: no such file, module or function, or one that can't be imported.
    """
    name = spec.partition("?")[0]
    DATASETS.named[name] = factory(name)
    return DATASETS.named[name]


def recall(
    spec: str,
    root: Path | None = None,
    download: bool = False,
    vocabulary: tuple[str, ...] = (),
    given: Normalisation | None = None,
) -> Dataset:
    """Read the data set that a checkpoint names, as :func:`load` does.

    Raises:
        CheckpointError: it is made by code that the user neither named nor allowed.
    """
    if is_factory(spec):
        DATASETS.ask_consent(spec.partition("?")[0], f"give --data '{spec}'")
    return load_dataset(spec, root, download, vocabulary, given)


def _normalised(dataset: Dataset, given: Normalisation) -> Dataset:
    """Return the data set as normalised by the user; its own mean and std follow the scale."""
    if given == Normalisation():
        return dataset
    info = dataset.info
    if info.tokens is not None:
        raise UsageError(
            f"data set '{info.spec}' has no normalisation",
            "a mean, std or scale for texts, whose samples are token numbers",
            "drop --mean, --std and --scale",
        )
    if given.scale is not None:
        factor = dataset.scale / given.scale
        info = info.model_copy(
            update={
                "scale": given.scale,
                "mean": tuple(value * factor for value in info.mean),
                "std": tuple(value * factor for value in info.std),
            }
        )
        if factor != 1:
            train, test = Rescaled(dataset.train, factor), Rescaled(dataset.test, factor)
            dataset = replace(dataset, train=train, test=test, scale=given.scale)
    if given.mean and (given.mean, given.std) != (info.mean, info.std):
        info = info.model_copy(update={"mean": given.mean, "std": given.std})
        dataset = replace(dataset, origin="given")
    return replace(dataset, info=info)


def _made(spec: str) -> Dataset:
    """Return the data set that a user's factory makes."""
    query = spec.partition("?")[2]
    options = parse_pairs(query.split("&")) if query else {}
    made = call(
        named(spec),
        options,
        spec=spec,
        kind=Dataset,
        what="data set",
        returned="snnconv.Dataset",
    )
    # a checkpoint must know where to get its data again, whatever the factory calls them
    return replace(made, info=made.info.model_copy(update={"spec": spec}), origin="given")


def _check(dataset: Dataset) -> None:
    """Refuse splits and metadata that contradict each other."""
    info = dataset.info
    problem = f"data set '{info.spec}' can't be used"
    for part, labels in (("train", dataset.train.labels), ("test", dataset.test.labels)):
        if labels.dim() != 1 or labels.dtype != torch.int64:
            raise UnsupportedError(
                problem,
                f"{part} labels of shape {list(labels.shape)} and type {labels.dtype}",
                "give one int64 label a sample",
            )
        if len(labels) == 0:
            raise UnsupportedError(problem, f"an empty {part} split", "fill it")
        if int(labels.min()) < 0 or int(labels.max()) >= len(info.classes):
            raise UnsupportedError(
                problem,
                f"labels {int(labels.min())}..{int(labels.max())} in the {part} split for "
                f"{len(info.classes)} classes",
                "number the labels from 0 and name every class",
            )
    channels = (*info.shape, 1)[0]
    if not info.shape or {len(info.mean), len(info.std)} - {1, channels} or min(info.std) <= 0:
        raise UnsupportedError(
            problem,
            f"mean {list(info.mean)} and std {list(info.std)} for samples of shape "
            f"{list(info.shape)}",
            f"give one of each, or {channels}, and every std above 0",
        )


def normalise(images: Tensor, info: DataInfo) -> Tensor:
    """Return ``(x - mean) / std``; refuse NaN and Inf.

    Args:
        images: ``[B, C, ...]``, or ``[B, F]``, where each feature is a channel.
        info: mean and std, one a channel or one for all.
    """
    if not torch.isfinite(images).all():
        raise UnsupportedError(
            f"data set '{info.spec}' can't be used", "NaN or Inf in its samples", "repair the data"
        )
    shape = (1, -1, *[1] * (images.dim() - 2))  # [1, C or 1, 1, ...]
    mean, std = (torch.tensor(v).reshape(shape) for v in (info.mean, info.std))
    return (images - mean) / std


def batches(
    split: Split,
    info: DataInfo,
    order: Tensor,
    size: int,
    augment: Callable[[Tensor], Tensor] | None = None,
    frames_per_run: int | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield indices, normalised images and labels, batch by batch in the given order.

    Args:
        split: where from.
        info: shape and normalisation; those of the checkpoint, if there is one.
        order: indices ``[n]`` int64 into the split.
        size: samples a batch.
        augment: of a batch of images in 0..1, before normalisation.
        frames_per_run: how many frames a simulation shows
            (:func:`snnconv.data.frames.frames_per_run`); without, samples come as an ANN sees them.

    Returns:
        Samples ``[B, *shape]``, the mean over their frames if they have some; with
        ``frames_per_run`` the frames that are shown, ``[frames_per_run, B, *shape]``.

    Raises:
        UnsupportedError: the images have another shape than the network was made for.
    """
    for indices in order.split(size) if len(order) else ():
        images = split.images(indices)
        wanted = info.shape if info.frames is None else (info.frames, *info.shape)
        if tuple(images.shape[1:]) != tuple(wanted):
            raise UnsupportedError(
                "the data do not fit the network",
                f"samples of shape {list(images.shape[1:])}, network input {list(wanted)}",
                "give the data set the network was trained on (--data)",
            )
        if info.frames is not None:
            images = merge(images, frames_per_run or 1)
            images = images[:, 0] if frames_per_run is None else images
        if augment is not None:
            images = augment(images)
        if info.frames is None or frames_per_run is None:
            x = normalise(images, info)
            x = x if frames_per_run is None else x[None]
        else:
            x = fold_time(images)  # [B, f, *shape], samples before frames here
            x = unfold_time(normalise(x, info), len(images)).transpose(0, 1)
        yield indices, x, split.labels[indices]


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

"""What a data set is: info, and two splits of samples with labels.

Samples are float32 in 0..1. Only this file normalises them; the normalisation belongs to the data
set, and the checkpoint of a network that was trained with it keeps it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.shapes import fold_time, unfold_time
from snnconv.core.user_code import call, factory
from snnconv.core.validation import parse_pairs
from snnconv.data.contradictions import refuse_contradictions
from snnconv.data.frames import merge
from snnconv.data.layout import Form, Size
from snnconv.data.locate import Source
from snnconv.data.split import Changed, Split, Valued, is_class
from snnconv.errors import UnsupportedError, UsageError
from snnconv.tasks.base import TASKS, task_of


@dataclass(frozen=True)
class Dataset:
    """A data set with its two splits.

    Attributes:
        info: shape, classes and normalisation.
        train: to train and calibrate on.
        test: to measure on.
        scale: that raw values were divided by.
        origin: whether mean and std are fixed, measured on training samples, or given by the user.
        notes: what is to be said of it, as how it was divided.
        layout: of raw samples, as the user said, where the data set makes use of it.
    """

    info: DataInfo
    train: Split
    test: Split
    scale: float = 1.0
    origin: Literal["fixed", "measured", "given"] = "fixed"
    notes: tuple[str, ...] = ()
    layout: str | None = None

    @property
    def labels(self) -> dict[str, Tensor | None]:
        """The labels of each split, ``train`` and ``test``; None if it has none."""
        return {"train": self.train.labels, "test": self.test.labels}


class Drawn(NamedTuple):
    """A batch of a split.

    Attributes:
        indices: of its samples, ``[B]``.
        x: the samples, normalised: ``[B, *shape]``, or ``[f, B, *shape]`` if f frames are shown.
        labels: theirs, ``[B, ...]``; None if the split has none.
    """

    indices: Tensor
    x: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Normalisation:
    """Scale, mean and std of ``(raw / scale - mean) / std`` that the user or a network gives."""

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


_AS_IT_IS = Form()


class Load(Protocol):
    """A data set's file gives ``DATASET``, one of these."""

    def __call__(self, source: Source) -> Dataset:
        """Read the data set."""


DATASETS: Registry[Load] = REGISTRIES["datasets"]


def load_dataset(
    spec: str,
    root: Path | None = None,
    download: bool = False,
    vocabulary: tuple[str, ...] = (),
    given: Normalisation | None = None,
    form: Form = _AS_IT_IS,
    task: str | None = None,
    usual_task: str | None = None,
) -> Dataset:
    """Read a data set.

    Args:
        spec: ``digits``, ``folder:DIR``, ... (``snnconv ls datasets``), or a function of the user's
            that returns a :class:`Dataset`: ``package.module:factory`` or ``file.py:factory``, with
            ``?key=value&...`` as its keyword arguments.
        root: the folder that holds data sets; by default each one's usual places.
        download: allow a download if the data set is not found.
        vocabulary: of the network that texts are for; their own where there is none yet.
        given: scale, mean and std in place of the data set's own.
        form: layout and size of its samples.
        task: what its labels are for.
        usual_task: what they are for if no task is given; by default what they say themselves.

    Raises:
        UsageError: there is no such data set or task, or labels may be for several tasks.
        UnsupportedError: the data set was found, but is not what it should be.
    """
    name, _, argument = spec.partition(":")
    meant = TASKS.load(known) if (known := task or usual_task) else None
    classes = meant is None or (meant.supervised and not meant.numeric)
    if is_factory(spec):
        dataset = _made(spec)
    else:
        dataset = DATASETS.load(name)(
            Source(
                *(argument, root, download, vocabulary, given.scale if given else None),
                *(form.layout, form.size, classes),
            )
        )
        if dataset.info.spec != spec:  # it made no use of what stands behind the colon
            raise UsageError(
                f"data set '{name}' takes nothing behind a colon",
                f"'{spec}'",
                f"write --data {name}",
            )
    dataset = _formed(dataset, form)
    dataset = _normalised(dataset, given or Normalisation())
    if meant is not None and meant.numeric:
        dataset = _numeric(dataset)
    refuse_contradictions(dataset.info, dataset.train, dataset.test, classes)
    return _with_task(dataset, task, usual_task)


def _with_task(dataset: Dataset, given: str | None, usual: str | None) -> Dataset:
    """Return a data set that says what its labels are for."""
    info, labels = dataset.info, dataset.train.labels
    task = given or (labels is not None and usual) or task_of(labels, info.spec)
    if labels is None and TASKS.load(task).supervised:
        raise UsageError(
            f"the task '{task}' needs labels",
            f"data set '{info.spec}', which has none",
            "give data with labels (--data), or compare with the ANN alone: --task none",
        )
    return replace(dataset, info=info.model_copy(update={"task": task}))


def is_factory(spec: str) -> bool:
    """Whether a data set is made by a user's function: none of the room has a dot in its name."""
    name, _, argument = spec.partition(":")
    return "." in name and bool(argument)


def named(spec: str) -> Load:
    """Return the function that makes a data set; from now on, checkpoints may call it here.

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
    form: Form = _AS_IT_IS,
    task: str | None = None,
    usual_task: str | None = None,
) -> Dataset:
    """Read the data set that a checkpoint names, as :func:`load` does.

    Raises:
        CheckpointError: it is made by code that the user neither named nor allowed.
    """
    if is_factory(spec):
        DATASETS.ask_consent(spec.partition("?")[0], f"give --data '{spec}'")
    return load_dataset(spec, root, download, vocabulary, given, form, task, usual_task)


def _formed(dataset: Dataset, form: Form) -> Dataset:
    """Return the data set with images of the size that the user says; refuse a layout of no use."""
    info, size = dataset.info, form.size
    if form.layout != dataset.layout:
        raise UsageError(
            f"data set '{info.spec}' has its own layout",
            f"--layout {form.layout}",
            "drop --layout, which is for arrays: npz:FILE, and what Python functions are given",
        )
    if size is not None and info.shape[-2:] != (size, size):
        if len(info.shape) != 3:
            raise UsageError(
                f"data set '{info.spec}' has no images to be scaled",
                f"samples of shape {list(info.shape)}",
                "drop --size",
            )
        info = info.model_copy(update={"shape": (info.shape[0], size, size)})
        dataset = _changed(dataset, Size(size, (size, size)))
    info = info.model_copy(update={"layout": form.layout, "size": size})
    return replace(dataset, info=info)


def _numeric(dataset: Dataset) -> Dataset:
    """Return the data set with values where whole numbers might be taken for classes."""
    if not (is_class(dataset.train.labels) or is_class(dataset.test.labels)):
        return dataset
    train = Valued(dataset.train)
    test = train if dataset.test is dataset.train else Valued(dataset.test)
    info = dataset.info.model_copy(update={"classes": ()})
    return replace(dataset, info=info, train=train, test=test)


def _changed(dataset: Dataset, change: Callable[[Tensor], Tensor]) -> Dataset:
    """Return the data set with a function behind both splits, which may be one."""
    train = Changed(dataset.train, change)
    test = train if dataset.test is dataset.train else Changed(dataset.test, change)
    return replace(dataset, train=train, test=test)


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
            scaled = _changed(dataset, partial(torch.mul, other=factor))
            dataset = replace(scaled, scale=given.scale)
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


def normalise(images: Tensor, info: DataInfo, indices: Tensor | None = None) -> Tensor:
    """Return ``(x - mean) / std``; refuse NaN and Inf.

    Args:
        images: ``[B, C, ...]``, or ``[B, F]``, where each feature is a channel.
        info: mean and std, one a channel or one for all.
        indices: of the samples in their split, for the error.
    """
    if not torch.isfinite(images).all():
        found = "NaN or Inf in its samples"
        if indices is not None:
            per = len(images) // len(indices)  # frames of a sample
            first = int(torch.isfinite(images).flatten(1).all(1).int().argmin()) // per
            found += f", the first of this batch at index {int(indices[first])}"
        raise UnsupportedError(f"data set '{info.spec}' can't be used", found, "repair the data")
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
) -> Iterator[Drawn]:
    """Yield indices, normalised images and labels, batch by batch in the given order.

    Args:
        split: where from.
        info: shape and normalisation; those of the checkpoint, if there is one.
        order: indices ``[n]`` int64 into the split.
        size: samples a batch.
        augment: of a batch of images in 0..1, before normalisation.
        frames_per_run: how many frames a simulation shows; None for samples as an ANN sees them.

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
            x = normalise(images, info, indices)
            x = x if frames_per_run is None else x[None]
        else:
            x = fold_time(images)  # [B, f, *shape], samples before frames here
            x = unfold_time(normalise(x, info, indices), len(images)).transpose(0, 1)
        labels = split.labels
        yield Drawn(indices, x, None if labels is None else labels[indices])

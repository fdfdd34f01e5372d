"""What a Python program gave as ``data=``: arrays, a Dataset, a DataLoader, batches.

The command line can't name it: ``python:NAME`` holds as long as the process in which it was given.

Shape:
    Samples as the object gives them. Floats are taken as they are, in any range; uint8 is divided
    by 255. Mean is 0 and std is 1. ``[n, H, W]`` of uint8 are grey images; ``layout`` says which
    axis is which where it is another order than a network's. Whole numbers ``[n, L]`` are texts of
    token numbers. Labels have any type and further shape; whole numbers ``[n]`` are classes.

Reference:
    ``torch.utils.data`` and the package ``datasets``.

Deviations:
    One object is both splits, so that each stage works on the samples that it is given;
    ``{"train": ..., "test": ...}`` are two. The name is made of the labels' bytes and a few
    samples, not of the whole content.
"""

import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import Dataset
from snnconv.data.layout import Size, channels_last, guessed, layout
from snnconv.data.locate import Source
from snnconv.data.objects.held import HELD, Held
from snnconv.data.objects.parts import PartSplit, Prepare
from snnconv.data.objects.values import nameless, refusal
from snnconv.data.split import is_class
from snnconv.errors import UsageError


def _load(source: Source) -> Dataset:
    spec = f"python:{source.argument}"
    held = HELD.get(source.argument)
    if held is None:
        raise UsageError(
            f"data set '{spec}' is not here",
            "an object that was given to a function in another Python process",
            "give it again, data=..., or name data that lie in files: --data",
        )
    if isinstance(held, Dataset):
        return Dataset(
            held.info.model_copy(update={"spec": spec}),
            *(held.train, held.test, held.scale, held.origin, held.notes),
        )
    how = layout(source.layout) if source.layout else None
    first = held.train.samples(torch.zeros(1, dtype=torch.int64), lambda x: x)
    if how is None and channels_last(first.shape):
        raise refusal(
            f"samples of shape {list(first.shape[1:])}: square images with their channels last",
            "say so: layout='NHWC'; if channels are first: layout='NCHW'",
        )
    how = how or guessed(first)
    prepare = _prepare(how, source.size)
    sample = prepare(first)[0]
    if not first.is_floating_point() and first.dtype != torch.uint8:
        return _texts(spec, held, sample)
    scale = source.scale or (255.0 if first.dtype == torch.uint8 else 1.0)
    frames = sample.shape[0] if how and how.frames else None
    shape = tuple(sample.shape[1:] if frames else sample.shape)
    train = PartSplit(held.train, prepare, scale)
    test = train if held.test is held.train else PartSplit(held.test, prepare, scale)
    info = DataInfo(
        spec=spec,
        shape=shape,
        frames=frames,
        classes=_classes(held),
        mean=(0.0,),
        std=(1.0,),
    )
    return Dataset(info, train, test, scale, "fixed", _notes(held), source.layout)


def _prepare(how: Prepare | None, size: int | None) -> Prepare:
    """Prepare samples: first their layout, then their size."""
    steps: list[Prepare] = [how] if how else []
    if size is not None:
        resized = Size(size, (size, size))
        # bytes stay bytes, so that they are divided by what divides bytes
        steps.append(lambda x: resized(x.float()).to(x.dtype))

    def prepare(x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    return prepare


def _texts(spec: str, held: Held, sample: Tensor) -> Dataset:
    """Return token numbers ``[n, L]``, whose words nobody knows.

    Raises:
        UnsupportedError: whole numbers that are none.
    """
    splits = [PartSplit(part, lambda x: x, 1.0) for part in (held.train, held.test)]
    most = least = 0
    for split in splits:
        every = split.images(torch.arange(len(split)))
        most, least = max(most, int(every.max())), min(least, int(every.min()))
    if sample.dim() != 1 or least < 0:
        raise refusal(
            f"samples of shape {list(sample.shape)} and type {sample.dtype}, which are neither "
            "pixels nor token numbers [L]",
            "give uint8 in 0..255, or floats: x.float()",
        )
    info = DataInfo(
        spec=spec,
        shape=tuple(sample.shape),
        classes=_classes(held),
        mean=(0.0,),
        std=(1.0,),
        vocabulary=nameless(most),
    )
    train = splits[0]
    test = train if held.test is held.train else splits[1]
    return Dataset(info, train, test, 1.0, "fixed", _notes(held))


def _classes(held: Held) -> tuple[str, ...]:
    """Return the classes' names, or their numbers; None if labels are no classes."""
    if known := held.train.classes or held.test.classes:
        return known
    labels = [part.labels for part in (held.train, held.test)]
    if not all(is_class(each) and len(each) for each in labels):
        return ()
    highest = max(int(each.max()) for each in labels if each is not None)
    return tuple(map(str, range(highest + 1)))


def _notes(held: Held) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.note for part in (held.train, held.test) if part.note))


DATASET = _load

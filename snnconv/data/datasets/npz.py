"""Arrays of one's own in a NumPy file, ``npz:FILE``: x_train, y_train, x_test, y_test, or x and y.

Shape:
    ``x_*`` uint8 (divided by 255) or floats in 0..1 (read as float32): ``[n, C, H, W]`` images,
    ``[n, F]`` features, ``[n, C, ...]`` of any rank. Rank 3 has two meanings: uint8 is taken for
    grey images ``[n, H, W]``, floats for signals ``[n, C, L]``; ``--layout``, or an array
    ``layout``, says otherwise: ``NHWC``, ``HW``, ``CL``, ... (:mod:`snnconv.data.layout`). With a
    ``T``, as in ``TCHW``, samples are frames, an input that changes over time.
    ``y_*`` ``[n, ...]``: whole numbers from 0 ``[n]`` are classes; values, several labels at once
    and masks have any further shape and type. Without them the samples have no labels.
    Optional: ``classes`` (names), ``mean`` and ``std`` (one each, or one a channel; a feature is a
    channel). A relative FILE lies below ``--data-root``, if that is given.

Reference:
    NumPy's ``savez`` format; nothing in it is unpickled.

Deviations:
    ``x`` and ``y`` alone are divided: a fifth of each class, drawn at random by seed 0 whatever
    ``--seed`` is, is the test split. Without ``mean`` and ``std`` they are the training samples'
    per channel, to six digits: the last bits of a sum depend on the number of threads. A channel
    that never varies gets std 1 instead of 0. Of frames they are those of the mean over time, which
    is what the ANN sees. With ``--scale`` floats may have any range, and mean and std are of values
    that were divided by it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._npz import REAL, Arrays, kind, labels_of, read, refusal
from snnconv.data.layout import EXAMPLES, Layout, channels_last, guessed, layout
from snnconv.data.locate import Source, resolve
from snnconv.data.split import ArraySplit, Split, count, divided, is_class
from snnconv.errors import UsageError

Figures = tuple[float, ...]

_CHUNK = 64  # samples at once while summing in float64
_FLAT = 1e-6  # a std below this is rounding, not variation


def _load(source: Source) -> Dataset:
    file = resolve(source, source.argument)
    classes = source.classes

    def named(arrays: Arrays) -> tuple[str, ...]:
        return _classes(file, arrays, _labels(file, arrays, classes), classes)

    arrays = read(file, named)
    names = [name for name in ("x", "x_train", "x_test") if name in arrays]
    how = _layout(file, arrays, names[0], source.layout)
    labels = _labels(file, arrays, classes)
    splits = [
        ArraySplit(samples, y, source.scale or (255.0 if samples.dtype == torch.uint8 else 1.0))
        for name, y in zip(names, labels, strict=True)
        for samples in [_samples(file, name, arrays, how, source.scale is not None)]
    ]
    train: Split = splits[0]
    test: Split = splits[-1]
    notes: tuple[str, ...] = ()
    if len(splits) == 1:
        train, test, note = divided(train)
        notes = (note,)
    shape = tuple(splits[0].pixels.shape[1:])
    if tuple(splits[-1].pixels.shape[1:]) != shape or splits[-1].scale != splits[0].scale:
        raise refusal(
            file,
            f"x_train {kind(arrays['x_train'])}, x_test {kind(arrays['x_test'])}",
            "give both the same shape and type",
        )
    frames = shape[0] if how and how.frames else None
    if frames == 1:
        raise refusal(
            file,
            f"one frame for each sample, {kind(arrays[names[0]])}",
            "remove the T, or give more frames",
        )
    if "mean" in arrays or "std" in arrays:
        channels = shape[1 if frames else 0]
        mean, std = (_figures(file, arrays, name, channels) for name in ("mean", "std"))
        origin: Literal["given", "measured"] = "given"
    else:
        mean, std = _moments(train, frames is not None)
        origin = "measured"
    info = DataInfo(
        spec=f"npz:{source.argument}",
        shape=shape[1:] if frames else shape,
        frames=frames,
        classes=named(arrays),
        mean=mean,
        std=std,
    )
    return Dataset(info, train, test, splits[0].scale, origin, notes, source.layout)


def _labels(file: Path, arrays: Arrays, classes: bool) -> list[Tensor | None]:
    """Return labels of each split; None if the file has none. ``classes`` is as in a Source."""
    names = ["y"] if "y" in arrays or "x" in arrays else ["y_train", "y_test"]
    return [
        labels_of(file, name, arrays[name], classes) if name in arrays else None for name in names
    ]


def _layout(file: Path, arrays: Arrays, name: str, option: str | None) -> Layout | None:
    """Return the layout that the user gives, or the file; None if neither does."""
    text = option or (str(arrays["layout"]) if "layout" in arrays else None)
    if text is None:
        return None
    fits = f"give one letter for each axis, as {EXAMPLES} (--layout, or an array layout)"
    try:
        found = layout(text)
    except UsageError as error:
        if option:
            raise
        raise refusal(file, f"layout '{text}' for {name} {kind(arrays[name])}", fits) from error
    if len(found.axes) != arrays[name].ndim - 1:
        raise refusal(file, f"layout '{text}' for {name} {kind(arrays[name])}", fits)
    return found


def _samples(file: Path, name: str, arrays: Arrays, how: Layout | None, any_range: bool) -> Tensor:
    """Return uint8 or float32 ``[n, *shape]``, channels first."""
    x = arrays[name]
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise refusal(file, f"{name} of type {x.dtype}", "give uint8 in 0..255, or float32 in 0..1")
    if x.ndim < 2 or x.size == 0:
        raise refusal(
            file, f"{name} {kind(x)}", "give [n, F], [n, C, L], [n, H, W] or [n, C, H, W], n > 0"
        )
    if x.dtype != np.uint8:
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
        if len(bad):
            raise refusal(
                file,
                f"NaN or Inf in {len(bad)} samples of {name}, the first at index {bad[0]}",
                "repair or remove them",
            )
        if not any_range and (x.min() < 0 or x.max() > 1):
            raise refusal(
                file,
                f"values {x.min():g}..{x.max():g} in {name}",
                "give the number that divides them into 0..1, for example --scale 255; or take "
                "them as they are: --scale 1, with --mean 0 --std 1 if the network saw them so",
            )
    if how is None and channels_last(x.shape):
        raise refusal(
            file,
            f"{name} {kind(x)}: square images with their channels last",
            "say so: --layout NHWC, or by an array `layout` in the file; if channels come first: "
            "NCHW",
        )
    which = np.uint8 if x.dtype == np.uint8 else np.float32
    samples = torch.from_numpy(np.ascontiguousarray(x, dtype=which))
    how = how or guessed(samples)
    return how(samples) if how else samples


def _classes(
    file: Path, arrays: Arrays, labels: Sequence[Tensor | None], needed: bool
) -> tuple[str, ...]:
    """Return names of the classes; None if labels are no classes, or if the file has no names.

    Args:
        file: for errors.
        arrays: of the file.
        labels: of each split.
        needed: whether whole numbers have to be classes.

    Raises:
        UnsupportedError: they have to be, and leave classes out.
    """
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise refusal(
                file, f"classes {kind(arrays['classes'])}", "give a list of names, one a class"
            )
        return tuple(str(name) for name in arrays["classes"])
    train, test = labels[0], labels[-1]
    if not is_class(train) or not is_class(test) or not len(train) or not len(test):
        return ()
    # without names there are as many classes as labels, which holds only if none is left out
    y = "y" if "y" in arrays else "y_train"
    seen: Tensor = train.unique()
    gaps = torch.nonzero(seen != torch.arange(len(seen))).flatten()
    beyond = test.max() > seen[-1]
    if not needed and (len(gaps) or beyond):
        return ()
    if len(gaps):
        raise refusal(
            file,
            f"no sample of class {int(gaps[0])} in {y}, whose labels go up to {int(seen[-1])}",
            "number the classes without gaps, or name them all in an array `classes`; if they are "
            "values, not classes: --task regression",
        )
    if beyond:
        raise refusal(
            file,
            f"class {int(test.max())} in y_test, but none above {int(seen[-1])} in y_train",
            "train on every class, or name them all in an array `classes`",
        )
    return tuple(str(label) for label in seen.tolist())


def _figures(file: Path, arrays: Arrays, name: str, channels: int) -> Figures:
    """Return an array ``mean`` or ``std`` as the file has it."""
    values = arrays.get(name)
    fits = (
        values is not None
        and values.dtype.kind in REAL
        and values.size in (1, channels)
        and bool(np.isfinite(values).all())
        and not (name == "std" and bool((values <= 0).any()))
    )
    if values is None or not fits:
        above = " above 0" if name == "std" else ""
        raise refusal(
            file,
            f"{name} is missing, but the other is there"
            if values is None
            else f"{name} {values.tolist()}",
            f"give mean and std, one number each, or {channels}, finite{above}; or neither",
        )
    return tuple(float(value) for value in values.flatten())


def _moments(split: Split, frames: bool) -> tuple[Figures, Figures]:
    """Return mean and std for each channel, over samples and places."""
    total = squares = torch.zeros(0, dtype=torch.float64)
    values = 0
    for indices in torch.arange(count(split)).split(_CHUNK):
        x = split.images(indices).double()
        x = x.mean(1) if frames else x
        x = x.reshape(len(x), x.shape[1], -1)  # [n, C, rest]
        sums = x.sum((0, 2)), x.square().sum((0, 2))
        total, squares = sums if not values else (total + sums[0], squares + sums[1])
        values += x.shape[0] * x.shape[2]
    mean = total / values
    std = (squares / values - mean.square()).clamp(min=0).sqrt()
    std[std < _FLAT] = 1.0
    return tuple(_six_digits(mean)), tuple(_six_digits(std))


def _six_digits(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


DATASET = _load

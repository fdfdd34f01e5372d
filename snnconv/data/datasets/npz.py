"""Arrays of one's own in a NumPy file, ``npz:FILE``: x_train, y_train, x_test, y_test.

Shape:
    ``x_*`` uint8 (divided by 255) or floats in 0..1 (read as float32): ``[n, C, H, W]`` images,
    ``[n, F]`` features, ``[n, C, ...]`` of any rank. Rank 3 has two meanings: uint8 is taken for
    grey images ``[n, H, W]``, floats for signals ``[n, C, L]``; an array ``layout`` that holds
    ``"HW"`` or ``"CL"`` says otherwise. ``"TCHW"``, ``"TCL"`` or ``"TF"`` says that samples are T
    frames, an input that changes over time. ``y_*`` ``[n]`` whole numbers from 0.
    Optional: ``classes`` (names), ``mean`` and ``std`` (one each, or one a channel; a feature is a
    channel). A relative FILE lies below ``--data-root``, if that is given.

Reference:
    NumPy's ``savez`` format; nothing in it is unpickled.

Deviations:
    Without ``mean`` and ``std`` they are x_train's per channel, to six digits: the last bits of a
    sum depend on the number of threads. A channel that never varies gets std 1 instead of 0. Of
    frames they are those of the mean over time, which is what the ANN sees. With ``--scale`` floats
    may have any range, and mean and std are of values that were divided by it.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.metadata import DataInfo
from snnconv.core.runtime import free_memory
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._arrays import Header, read_array, read_header
from snnconv.data.locate import Source, resolve
from snnconv.data.split import ArraySplit
from snnconv.errors import UnsupportedError, UsageError

_BROKEN = (
    *(OSError, EOFError, ValueError, OverflowError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""Errors that a broken, encrypted or unknown kind of archive raises when it is unpacked."""

Array = NDArray[Any]
Figures = tuple[float, ...]

_NEEDED = ("x_train", "y_train", "x_test", "y_test")
_OPTIONAL = ("classes", "mean", "std", "layout")
_RANKS = {
    "HW": 2,
    "CL": 2,
    "CHW": 3,
    "TF": 2,
    "TCL": 3,
    "TCHW": 4,
}  # what `layout` may say, and the rank of such a sample
_REAL = "iuf"  # NumPy's kinds of numbers with an order
_ALPHA = 4  # most channels that an image file has: red, green, blue, opacity
_CHUNK = 64  # samples at once while summing in float64
_FLAT = 1e-6  # a std below this is rounding, not variation


def _load(source: Source) -> Dataset:
    file = resolve(source, source.argument)
    arrays = _read(file)
    train, test = (_split(file, arrays, part, source.scale) for part in ("train", "test"))
    labels = [_labels(file, f"y_{part}", arrays) for part in ("train", "test")]
    shape = tuple(train.pixels.shape[1:])
    if tuple(test.pixels.shape[1:]) != shape or test.scale != train.scale:
        raise _refusal(
            file,
            f"x_train {_kind(arrays['x_train'])}, x_test {_kind(arrays['x_test'])}",
            "give both the same shape and type",
        )
    frames = shape[0] if str(arrays.get("layout", "")).startswith("T") else None
    if frames == 1:
        raise _refusal(
            file, f"one frame a sample, {_kind(arrays['x_train'])}", "take the T away, or give more"
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
        classes=_classes(file, arrays, *labels),
        mean=mean,
        std=std,
    )
    return Dataset(info, train, test, train.scale, origin)


def _refusal(file: Path, found: str, remedy: str) -> UnsupportedError:
    return UnsupportedError(f"{file} can't be used as a data set", found, remedy)


def _kind(array: Array) -> str:
    return f"{list(array.shape)} {array.dtype}"


def _read(file: Path) -> dict[str, Array]:
    if not file.is_file():
        found = "a folder" if file.is_dir() else "no such file"
        raise UsageError(f"{file} can't be read", found, "check the path: npz:FILE")
    write = "write it with numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"
    if not zipfile.is_zipfile(file):
        raise _refusal(file, "no zip archive, as .npz files are", write)
    try:
        with zipfile.ZipFile(file) as archive:
            held = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            missing = [name for name in _NEEDED if name not in held]
            if missing:
                raise _refusal(
                    file, f"no {', '.join(missing)}; it has {', '.join(held) or 'nothing'}", write
                )
            wanted = {name: held[name] for name in _NEEDED + _OPTIONAL if name in held}
            headers = {}
            for name, entry in wanted.items():
                with archive.open(entry) as stream:
                    headers[name] = read_header(stream, entry.file_size, name)
            _check_headers(file, headers)
            arrays: dict[str, Array] = {}
            # samples last: they are unpacked only if their labels can be used
            for name in sorted(wanted, key=lambda name: name.startswith("x_")):
                if name == "x_train":
                    labels = (_labels(file, f"y_{part}", arrays) for part in ("train", "test"))
                    _classes(file, arrays, *labels)
                with archive.open(wanted[name]) as stream:
                    arrays[name] = read_array(stream, headers[name])
            return arrays
    except _BROKEN as error:
        raise _refusal(file, str(error) or type(error).__name__, write) from error


def _check_headers(file: Path, headers: Mapping[str, Header]) -> None:
    """Refuse, before anything is unpacked, arrays that do not fit each other or the memory."""
    for part in ("train", "test"):
        x, y = headers[f"x_{part}"], headers[f"y_{part}"]
        if min(x.shape, default=0) and len(y.shape) == 1 and x.shape[0] != y.shape[0]:
            raise _refusal(
                file,
                f"{x.shape[0]} samples in x_{part}, {y.shape[0]} labels in y_{part}",
                "give one label a sample",
            )
    wanted, free = sum(header.nbytes for header in headers.values()), free_memory()
    if wanted > free:
        raise _refusal(
            file,
            f"arrays of {wanted / 2**20:,.0f} MiB, where {free / 2**20:,.0f} MiB are free",
            "give fewer samples, or image files: folder:DIR, which reads them batch by batch",
        )


def _split(file: Path, arrays: dict[str, Array], part: str, scale: float | None) -> ArraySplit:
    samples = _samples(file, f"x_{part}", arrays, scale is not None)
    labels = _labels(file, f"y_{part}", arrays)
    return ArraySplit(samples, labels, scale or (255.0 if samples.dtype == torch.uint8 else 1.0))


def _samples(file: Path, name: str, arrays: dict[str, Array], any_range: bool) -> Tensor:
    """Return uint8 or float32 ``[n, *shape]``, with a channel axis if images came without."""
    x = arrays[name]
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise _refusal(
            file, f"{name} of type {x.dtype}", "give uint8 in 0..255, or float32 in 0..1"
        )
    if x.ndim < 2 or x.size == 0:
        raise _refusal(
            file, f"{name} {_kind(x)}", "give [n, F], [n, C, L], [n, H, W] or [n, C, H, W], n > 0"
        )
    if x.dtype != np.uint8:
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
        if len(bad):
            raise _refusal(
                file,
                f"NaN or Inf in {len(bad)} samples of {name}, the first at index {bad[0]}",
                "repair or remove them",
            )
        if not any_range and (x.min() < 0 or x.max() > 1):
            raise _refusal(
                file,
                f"values {x.min():g}..{x.max():g} in {name}",
                "say what divides them into 0..1, as --scale 255; or that they are taken as they "
                "are: --scale 1, with --mean 0 --std 1 if the network saw them so",
            )
    layout = str(arrays["layout"]) if "layout" in arrays else None
    if layout is not None and _RANKS.get(layout) != x.ndim - 1:
        raise _refusal(
            file,
            f"layout '{layout}' for {name} {_kind(x)}",
            "give one that fits: "
            + ", ".join(f"{key} (rank {r + 1})" for key, r in _RANKS.items()),
        )
    if layout is None and x.ndim == 4 and x.shape[1] == x.shape[2] > _ALPHA >= x.shape[3]:
        raise _refusal(
            file,
            f"{name} {_kind(x)}: square images with their channels last",
            "put channels first: x.transpose(0, 3, 1, 2); if they are, add layout='CHW'",
        )
    grey = layout == "HW" or (layout is None and x.ndim == 3 and x.dtype == np.uint8)
    kind = np.uint8 if x.dtype == np.uint8 else np.float32
    samples = torch.from_numpy(np.ascontiguousarray(x, dtype=kind))
    return samples.unsqueeze(1) if grey else samples


_WHOLE = "give whole numbers from 0"
_OTHER_TASKS = (
    f"{_WHOLE}, the class of each sample: regression, several labels a sample and "
    "masks are not measured yet. To convert a network for one of those all the same, give it "
    "labels of 0, read nothing in the accuracy, and name as many `classes` as it has outputs"
)


def _remedy_for(labels: Array) -> str:
    """Return what to do with labels that are not one number for each sample."""
    rows = labels if labels.ndim == 2 and labels.dtype.kind in "iubf" else None
    if rows is not None and np.isin(rows, (0, 1)).all() and (rows.sum(1) == 1).all():
        return "these are one-hot rows: give one label a sample, y.argmax(1)"
    if labels.ndim == 2 and labels.shape[1] == 1:
        return "give one label a sample, [n]: y[:, 0]"
    return _OTHER_TASKS


def _labels(file: Path, name: str, arrays: dict[str, Array]) -> Tensor:
    y = arrays[name]
    if y.ndim != 1:
        raise _refusal(file, f"{name} {_kind(y)}", _remedy_for(y))
    if y.dtype.kind not in _REAL:
        raise _refusal(
            file, f"{name} of type {y.dtype}", "number the classes from 0; names go in `classes`"
        )
    wrong = np.flatnonzero(~(np.isfinite(y) & (y >= 0) & (np.trunc(y) == y)))
    if len(wrong):
        raise _refusal(
            file,
            f"label {y[wrong[0]]:g} in {name}, at index {wrong[0]}",
            _OTHER_TASKS if np.isfinite(y).all() and (y != np.trunc(y)).any() else _WHOLE,
        )
    return torch.from_numpy(y.astype(np.int64))


def _classes(file: Path, arrays: dict[str, Array], train: Tensor, test: Tensor) -> tuple[str, ...]:
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise _refusal(
                file, f"classes {_kind(arrays['classes'])}", "give a list of names, one a class"
            )
        return tuple(str(name) for name in arrays["classes"])
    # without names there are as many classes as labels, which holds only if none is left out
    seen: Tensor = train.unique()
    gaps = torch.nonzero(seen != torch.arange(len(seen))).flatten()
    if len(gaps):
        raise _refusal(
            file,
            f"no sample of class {int(gaps[0])} in y_train, whose labels go up to {int(seen[-1])}",
            "number the classes without gaps, or name them all in an array `classes`",
        )
    if test.max() > seen[-1]:
        raise _refusal(
            file,
            f"class {int(test.max())} in y_test, but none above {int(seen[-1])} in y_train",
            "train on every class, or name them all in an array `classes`",
        )
    return tuple(str(label) for label in seen.tolist())


def _figures(file: Path, arrays: dict[str, Array], name: str, channels: int) -> Figures:
    """Return an array ``mean`` or ``std`` as the file has it."""
    values = arrays.get(name)
    fits = (
        values is not None
        and values.dtype.kind in _REAL
        and values.size in (1, channels)
        and bool(np.isfinite(values).all())
        and not (name == "std" and bool((values <= 0).any()))
    )
    if values is None or not fits:
        above = " above 0" if name == "std" else ""
        raise _refusal(
            file,
            f"no {name} beside the other" if values is None else f"{name} {values.tolist()}",
            f"give mean and std, one number each, or {channels}, finite{above}; or neither",
        )
    return tuple(float(value) for value in values.flatten())


def _moments(split: ArraySplit, frames: bool) -> tuple[Figures, Figures]:
    """Return mean and std for each channel, over samples and places."""
    channels = split.pixels.shape[2 if frames else 1]
    total, squares = torch.zeros(2, channels, dtype=torch.float64)
    for chunk in split.pixels.split(_CHUNK):
        x = chunk.double().div(split.scale)
        x = (x.mean(1) if frames else x).reshape(len(chunk), channels, -1)  # [n, C, rest]
        total += x.sum((0, 2))
        squares += x.square().sum((0, 2))
    count = split.pixels.numel() / channels / (split.pixels.shape[1] if frames else 1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    std[std < _FLAT] = 1.0
    return tuple(_six_digits(mean)), tuple(_six_digits(std))


def _six_digits(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


DATASET = _load

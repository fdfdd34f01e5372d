"""Recordings of event cameras, ``events:DIR`` or ``events:DIR?frames=10&size=48&full=16``.

CIFAR10-DVS and DVS128 Gesture, in the layouts in which tonic unpacks them, DIR being the data set's
folder or the one around it; a relative DIR lies below ``--data-root``, where that is given::

    CIFAR10DVS/airplane/*.aedat4 ...
    DVSGesture/ibmGestureTrain/user01_led/3.npy ..., DVSGesture/ibmGestureTest/...

A sample is ``frames`` frames, an input that changes over time. A recording is cut into that many
spans of equal duration, and its events are counted by span, polarity and place, the 128 x 128
places of the camera being joined to ``size x size``. A place with
``full`` events or more in a frame is 1.0, with fewer it is their share. Files are decoded by batch.

CIFAR10-DVS is read by tonic, ``pip install '.[events]'``. ``--download`` has tonic fetch the data
set whose folder DIR is named as, ``CIFAR10DVS`` or ``DVSGesture``.

Shape:
    ``[frames, 2, size, size]``: ON events (brighter), then OFF.

Reference:
    Li et al. 2017, *CIFAR10-DVS*; Amir et al. 2017, *A Low Power, Fully Event-Based Gesture
    Recognition System*; tonic.datasets.

Deviations:
    tonic's ``ToFrame(n_time_bins=...)`` rounds the spans down and leaves out the events behind the
    last; here every event is counted, ON first. CIFAR10-DVS comes without a split: the first nine
    tenths of each class, by the numbers in the files' names, are the train split, as others have
    it. mean 0, by which a silent place stays 0, and std 0.25 are set for all and measured on none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.bounds import COUNT, STEPS
from snnconv.core.metadata import DataInfo
from snnconv.data.dataset import Dataset
from snnconv.data.datasets._arrays import read_array, read_header
from snnconv.data.datasets._options import whole_numbers
from snnconv.data.locate import Source, resolve
from snnconv.errors import UnsupportedError, UsageError, one_line

Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
"""x, y, polarity and time of each event."""

_SIDE = 128  # places a side of both cameras
_DEFAULTS = {"frames": 10, "size": 48, "full": 16}
_OPTIONS = {
    name: (f"the number of '{name}'", most, f"give a whole number: events:DIR?{name}={default}")
    for (name, default), most in zip(_DEFAULTS.items(), (STEPS, _SIDE, COUNT), strict=True)
}
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_GESTURES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
_PARTS = ("ibmGestureTrain", "ibmGestureTest")
_TRAIN = 0.9  # of each class of CIFAR10-DVS
_LATEST = 2**62  # of a time, so that its product with the frames fits 64 bits
_WITH = "pip install '.[events]' in snnconv's folder"

Part = list[tuple[Path, int]]


@dataclass(frozen=True)
class Recordings:
    """A split that holds paths, and reads and counts what is asked for.

    Args:
        files: one a sample.
        labels: ``[n]``.
        read: a file's events.
        options: ``frames``, ``size`` and ``full``.
    """

    files: tuple[Path, ...]
    labels: Tensor
    read: Callable[[Path], Columns]
    options: dict[str, int]

    def images(self, indices: Tensor) -> Tensor:
        """Return the recordings at these indices, ``[n, frames, 2, size, size]`` in 0..1.

        Raises:
            UnsupportedError: a file that can't be read, or holds what is no event of the camera.
        """
        return torch.stack([self._frames(self.files[index]) for index in indices.tolist()])

    def _frames(self, file: Path) -> Tensor:
        try:
            counts = count(self.read(file), self.options["frames"], self.options["size"])
        except (OSError, ValueError, IndexError, TypeError, RuntimeError) as error:
            raise UnsupportedError(
                f"{file} can't be read as events",
                one_line(error),
                "get the file again, or remove it",
            ) from error
        return torch.from_numpy(counts).float().div(self.options["full"]).clamp(max=1)


def count(events: Columns, frames: int, size: int) -> NDArray[np.int64]:
    """Return events by span of time, polarity (ON, OFF) and place, ``[frames, 2, size, size]``.

    Raises:
        ValueError: there are none, or some from outside the camera.
    """
    x, y, polarity, time = (_whole(np.asarray(column)) for column in events)
    if not len(x):
        raise ValueError("no events in it")
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) >= _SIDE:
        raise ValueError(f"events outside the {_SIDE} x {_SIDE} places of the camera")
    start, stop = int(time.min()), int(time.max())
    if (stop - start + 1) * frames > _LATEST:
        raise ValueError(f"times from {start} to {stop}, too far apart for one recording")
    span = (time - start) * frames // (stop - start + 1)
    off = (polarity == 0).astype(np.int64)
    place = ((span * 2 + off) * size + y * size // _SIDE) * size + x * size // _SIDE
    return np.bincount(place, minlength=frames * 2 * size * size).reshape(frames, 2, size, size)


def _whole(column: NDArray[Any]) -> NDArray[np.int64]:
    if column.dtype.kind not in "iufb" or not np.isfinite(column).all():
        raise ValueError(f"numbers of type {column.dtype}, or NaN or Inf among them")
    if column.dtype.kind == "f" and len(column) and np.abs(column).max() > _LATEST:
        raise ValueError(f"a number of {np.abs(column).max():g}")
    return column.astype(np.int64)


def _load(source: Source) -> Dataset:
    directory, _, query = source.argument.partition("?")
    options = _DEFAULTS | whole_numbers("events", query, _OPTIONS)
    if options["frames"] < 2:
        raise UsageError(
            "events can't be counted with these options",
            f"frames={options['frames']}",
            "give 2 frames or more: events:DIR?frames=10&size=48",
        )
    folder = resolve(source, directory)
    place = _place(folder)
    if place is None and source.download:
        _fetch(folder)
        place = _place(folder)
    if place is None:
        raise UsageError(
            f"there are no recordings of events in {folder}",
            f"neither {'/, '.join(_PARTS)}/ nor airplane/ to truck/, there or in CIFAR10DVS/ or "
            "DVSGesture/"
            if folder.is_dir()
            else "no such folder",
            "give events:DIR with CIFAR10-DVS or DVS128 Gesture as tonic unpacks them, or name the "
            "folder CIFAR10DVS or DVSGesture and add --download",
        )
    gestures = (place / _PARTS[0]).is_dir()
    parts = [_gestures(place / part) for part in _PARTS] if gestures else _by_number(place)
    read = _gesture if gestures else _aedat4()
    for part, what in zip(parts, ("train", "test"), strict=True):
        if not part:
            raise UnsupportedError(
                f"the recordings in {place} can't be used",
                f"none in the {what} split",
                "unpack the whole data set",
            )
    train, test = (
        Recordings(tuple(f for f, _ in part), torch.tensor([k for _, k in part]), read, options)
        for part in parts
    )
    info = DataInfo(
        spec=f"events:{source.argument}",
        shape=(2, options["size"], options["size"]),
        classes=_GESTURES if gestures else _CIFAR,
        mean=(0.0,),
        std=(0.25,),
        frames=options["frames"],
    )
    return Dataset(info, train, test, options["full"])


def _place(folder: Path) -> Path | None:
    """Return the folder of the one data set that is there.

    Raises:
        UsageError: both are.
    """
    found = [
        place
        for names, own in ((_PARTS, "DVSGesture"), (_CIFAR, "CIFAR10DVS"))
        for place in (folder, folder / own)
        if all((place / name).is_dir() for name in names)
    ]
    if len(found) > 1:
        raise UsageError(
            f"there are two data sets in {folder}",
            " and ".join(map(str, found)),
            f"name one of them: events:{found[0]}",
        )
    return found[0] if found else None


def _gestures(folder: Path) -> Part:
    """Return ``userNN_LIGHT/CLASS.npy`` files; the file's name is the number of the class."""
    files = sorted(folder.glob("*/*.npy"))
    known = {str(label): label for label in range(len(_GESTURES))}
    for file in files:
        if file.stem not in known:
            raise UnsupportedError(
                f"{file} can't be used",
                f"a class of the name '{file.stem}'",
                f"name files 0.npy to {len(_GESTURES) - 1}.npy, as tonic's are",
            )
    return [(file, known[file.stem]) for file in files]


def _by_number(folder: Path) -> list[Part]:
    """Return the first of each class to train on, and the others to test on."""
    parts: list[Part] = [[], []]
    for label, name in enumerate(_CIFAR):
        files = sorted((folder / name).glob("*.aedat4"), key=_number)
        cut = int(_TRAIN * len(files))
        parts[0] += [(file, label) for file in files[:cut]]
        parts[1] += [(file, label) for file in files[cut:]]
    return [sorted(part, key=lambda sample: (_number(sample[0]), sample[1])) for part in parts]


def _number(file: Path) -> tuple[int, str]:
    """Return the last number in a file's name, and the name."""
    return int((re.findall(r"\d+", file.stem) or [0])[-1]), file.stem


def _gesture(file: Path) -> Columns:
    with file.open("rb") as stream:
        header = read_header(stream, file.stat().st_size)
        if len(header.shape) != 2 or header.shape[1] != 4:
            raise ValueError(f"an array of shape {list(header.shape)}, where events are [n, 4]")
        rows = read_array(stream, header)  # [n, 4]: x, y, polarity, milliseconds
    return rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3]


def _aedat4() -> Callable[[Path], Columns]:
    """Return tonic's reader of CIFAR10-DVS' files, whose fields are time, x, y and polarity."""
    reader = _tonic("io").read_aedat4
    _tonic("", "aedat")  # which tonic imports when it reads

    def read(file: Path) -> Columns:
        events = reader(str(file))
        time, x, y, polarity = (events[name] for name in events.dtype.names)
        return x, y, polarity, time

    return read


def _fetch(folder: Path) -> None:
    """Have tonic download the data set of the folder's name into the folder around it."""
    if folder.name not in ("CIFAR10DVS", "DVSGesture"):
        raise UsageError(
            "events can't be downloaded",
            f"a folder named '{folder.name}', which is no data set",
            "write --data events:CIFAR10DVS or events:DVSGesture, with --data-root or a path",
        )
    kind = getattr(_tonic("datasets"), folder.name)
    try:
        if folder.name == "CIFAR10DVS":
            kind(str(folder.parent))
        else:
            for train in (True, False):
                kind(str(folder.parent), train=train)
    except (OSError, RuntimeError, HTTPException) as error:
        raise UsageError(
            f"{folder.name} can't be downloaded",
            one_line(error),
            f"unpack it by hand into {folder}, as tonic's documents say",
        ) from error


def _tonic(module: str, package: str = "tonic") -> Any:
    """Return a module of an optional package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(f"{package}.{module}" if module else package)
    except ImportError as error:
        raise UsageError("these events can't be read", f"no {package} ({error})", _WITH) from error


DATASET = _load

"""A NumPy archive of samples and labels, read with everything checked before it is unpacked."""

import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.runtime import free_memory
from snnconv.data.datasets._arrays import Header, read_array, read_header
from snnconv.errors import UnsupportedError, UsageError

_BROKEN = (
    *(OSError, EOFError, ValueError, OverflowError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""Errors that a broken, encrypted or unknown kind of archive raises when it is unpacked."""

Array = NDArray[Any]
Arrays = dict[str, Array]

_BOTH = ("x_train", "x_test")
_OPTIONAL = ("classes", "mean", "std", "layout")
_WRITE = (
    "write it with numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...), or with "
    "x and y, or without labels"
)
REAL = "iuf"
"""NumPy's kinds of numbers with an order."""
_WHOLE = "give whole numbers from 0, a class for each sample; if they are values: --task regression"
_NUMBERS = (
    "give numbers; of names: classes, y = numpy.unique(y, return_inverse=True), and save both"
)


def refusal(file: Path, found: str, remedy: str) -> UnsupportedError:
    """Return the error for a file that is no data set."""
    return UnsupportedError(f"{file} can't be used as a data set", found, remedy)


def kind(array: Array) -> str:
    """Say shape and type."""
    return f"{list(array.shape)} {array.dtype}"


def read(file: Path, check: Callable[[Arrays], object]) -> Arrays:
    """Read the arrays of samples, x_train and x_test or x alone, and what belongs to them.

    Args:
        file: the archive.
        check: raises if something is wrong with all arrays but the samples, which are unpacked
            behind it.

    Raises:
        UsageError: no such file.
        UnsupportedError: no archive of these arrays, arrays that do not fit each other or the
            memory, or labels that can't be used.
    """
    if not file.is_file():
        found = "a folder" if file.is_dir() else "no such file"
        raise UsageError(f"{file} can't be read", found, "check the path: npz:FILE")
    if not zipfile.is_zipfile(file):
        raise refusal(file, "no zip archive, as .npz files are", _WRITE)
    try:
        with zipfile.ZipFile(file) as archive:
            held = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            names = _wanted(file, held)
            headers = {}
            for name in names:
                with archive.open(held[name]) as stream:
                    headers[name] = read_header(stream, held[name].file_size, name)
            _check_headers(file, headers)
            arrays: Arrays = {}
            for name in sorted(names, key=lambda name: name.startswith("x")):
                if name == names[0]:
                    check(arrays)
                with archive.open(held[name]) as stream:
                    arrays[name] = read_array(stream, headers[name])
                if not _is_text(arrays[name]):
                    raise refusal(file, f"characters that can't occur in {name}", _WRITE)
            return arrays
    except _BROKEN as error:
        raise refusal(file, str(error) or type(error).__name__, _WRITE) from error


def _is_text(array: np.ndarray) -> bool:
    """Whether an array of texts holds letters only: NumPy makes strings of any number it reads."""
    if array.dtype.kind != "U" or array.dtype.itemsize == 0:
        return True
    letters = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return not (letters > sys.maxunicode).any()


def _wanted(file: Path, held: Iterable[str]) -> list[str]:
    """Return the names of the arrays to be read."""
    held = list(held)
    x = list(_BOTH) if any(name in held for name in _BOTH) else ["x"]
    y = [name.replace("x", "y", 1) for name in x]
    needed = [*x, *(y if any(name in held for name in y) else [])]
    if missing := [name for name in needed if name not in held]:
        if x == ["x"]:
            missing = ["x_train", "x_test"]
        raise refusal(
            file, f"no {', '.join(missing)}; it has {', '.join(held) or 'nothing'}", _WRITE
        )
    return [*needed, *(name for name in _OPTIONAL if name in held)]


def _check_headers(file: Path, headers: Mapping[str, Header]) -> None:
    """Refuse, before anything is unpacked, arrays that do not fit each other or the memory."""
    for name, x in headers.items():
        y = headers.get(name.replace("x", "y", 1)) if name.startswith("x") else None
        if y and min(x.shape, default=0) and y.shape and x.shape[0] != y.shape[0]:
            raise refusal(
                file,
                f"{x.shape[0]} samples in {name}, {y.shape[0]} labels in "
                f"{name.replace('x', 'y', 1)}",
                "give one label for each sample",
            )
    wanted, free = sum(header.nbytes for header in headers.values()), free_memory()
    if wanted > free:
        raise refusal(
            file,
            f"arrays of {wanted / 2**20:,.0f} MiB, where {free / 2**20:,.0f} MiB are free",
            "give fewer samples, or image files: folder:DIR reads them batch by batch",
        )


def labels_of(file: Path, name: str, y: Array, classes: bool) -> Tensor:
    """Return labels as a tensor: classes ``[n]`` int64, or of any shape float32, int64 or bool.

    Args:
        file: for errors.
        name: of the array.
        y: the array.
        classes: whether whole numbers ``[n]`` have to be classes.

    Raises:
        UnsupportedError: no numbers, numbers that are not finite, or negative classes.
    """
    if y.ndim == 0:
        raise refusal(file, f"{name} {kind(y)}", "give one label for each sample")
    if y.dtype.kind not in REAL + "b":
        raise refusal(file, f"{name} of type {y.dtype}", _NUMBERS)
    if y.dtype.kind == "b":
        return torch.from_numpy(y)
    wrong = np.flatnonzero(~np.isfinite(y).reshape(len(y), -1).all(1))
    if len(wrong):
        raise refusal(
            file,
            f"NaN or Inf in {len(wrong)} labels of {name}, the first at index {wrong[0]}",
            "repair or remove them",
        )
    whole = y.dtype.kind in "iu" or (y.ndim == 1 and not (y != np.trunc(y)).any())
    if y.ndim == 1 and whole and len(y) and y.min() < 0:
        if classes and y.dtype.kind in "iu":
            at = int(np.flatnonzero(y < 0)[0])
            raise refusal(file, f"label {y[at]:g} in {name}, at index {at}", _WHOLE)
        whole = False
    return torch.from_numpy(y.astype(np.int64 if whole else np.float32))

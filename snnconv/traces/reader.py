"""Read a trace one sample after the other, so that memory holds one sample.

Shape:
    Arrays ``[N, T, ...]``, which give one sample ``[T, ...]`` at a time.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from snnconv.core.packages import imported
from snnconv.errors import CheckpointError
from snnconv.traces.nir_form import MADE_BY
from snnconv.traces.store import INDEX, SCHEMA


class Trace:
    """A trace in numpy's form.

    Args:
        file: a file that ``snnconv trace`` wrote.

    Attributes:
        index: what the file says of all its arrays.

    Raises:
        CheckpointError: the file is no trace, or is damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with zipfile.ZipFile(file) as archive, archive.open(f"{INDEX}.npy") as entry:
                text = str(npy.read_array(entry, allow_pickle=False))
            self.index: dict[str, Any] = json.loads(text)
            found = self.index["schema"]
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise self._refusal(str(error)) from error
        if found != SCHEMA:
            raise self._refusal(f"schema {found!r}, not {SCHEMA}")

    @property
    def sites(self) -> list[dict[str, Any]]:
        """What the file says of each site, in the order of the network."""
        found: list[dict[str, Any]] = self.index["sites"]
        return found

    def has(self, name: str) -> bool:
        """Whether the file has an array of that name."""
        return name in self.index["arrays"]

    def samples(self, name: str) -> Iterator[NDArray[Any]]:
        """Return the samples of an array, one after the other.

        Raises:
            CheckpointError: the file is damaged.
        """
        try:
            with zipfile.ZipFile(self.file) as archive, archive.open(f"{name}.npy") as entry:
                yield from _rows(entry)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, found: str) -> CheckpointError:
        return CheckpointError(
            f"{self.file} can't be read as a trace", found, "write it again: snnconv trace"
        )


def _rows(entry: IO[bytes]) -> Iterator[NDArray[Any]]:
    npy.read_magic(entry)
    shape, _, dtype = npy.read_array_header_2_0(entry)
    size = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    for _ in range(shape[0]):
        content = entry.read(size)
        if len(content) < size:
            raise ValueError("it ends too early")
        yield np.frombuffer(content, dtype).reshape(shape[1:])


def is_trace(file: Path) -> bool:
    """Whether a file is a trace that snnconv wrote, in either form."""
    if file.suffix == ".npz":
        try:
            return bool(Trace(file).index)
        except CheckpointError:
            return False
    h5py = imported("h5py", "a trace in NIRData's form")
    try:
        with h5py.File(file, "r") as found:
            return MADE_BY in found.attrs
    except OSError:
        return False

"""Keep arrays on the disk during a trace, then write them into one file.

A simulation gives batch after batch, and in each batch site after site, but a file has one array
after the other. So each array gets a scratch file, in which every block goes to its place, and
memory holds one block.

Shape:
    Blocks ``[b, t, ...]`` of arrays ``[N, T, ...]``.
"""

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from snnconv.errors import UsageError
from snnconv.traces.arrays import Array

INDEX = "index"
"""The array that says what the others are: a JSON text."""
SCHEMA = "snnconv.trace-file/1"
_DATE = (1980, 1, 1, 0, 0, 0)  # the same trace is the same bytes


class Store:
    """Scratch files for arrays.

    Args:
        folder: the folder for the files.
        arrays: the arrays.

    Raises:
        UsageError: the disk has no room for them.
    """

    def __init__(self, folder: Path, arrays: Sequence[Array]) -> None:
        self.arrays = {array.name: array for array in arrays}
        self._files = {name: folder / f"{k}.npy" for k, name in enumerate(self.arrays)}
        self._starts: dict[str, int] = {}
        for name, array in self.arrays.items():
            with self._files[name].open("wb") as handle:
                header = {"descr": array.dtype, "fortran_order": False, "shape": array.shape}
                npy.write_array_header_2_0(handle, header)
                self._starts[name] = handle.tell()

    def put(self, name: str, block: NDArray[Any], sample: int = 0, step: int = 0) -> None:
        """Put a block in its place.

        Args:
            name: the name of the array.
            block: numbers for some samples and some steps, with the axes of the array.
            sample: the number of the block's first sample in the trace.
            step: the number of the block's first step.

        Raises:
            UsageError: the disk is full.
        """
        array = self.arrays[name]
        block = np.ascontiguousarray(block, array.dtype)
        row = int(np.prod(array.shape[1:], dtype=np.int64)) * array.itemsize
        inner = int(np.prod(array.shape[2:], dtype=np.int64)) * array.itemsize
        try:
            with self._files[name].open("r+b") as handle:
                for k, of_sample in enumerate(block):
                    handle.seek(self._starts[name] + (sample + k) * row + step * inner)
                    handle.write(of_sample.tobytes())
        except OSError as error:
            raise UsageError(
                "the trace can't be kept while it is taken",
                error.strerror or str(error),
                "trace fewer samples or sites (--limit, --sites), or name a folder with more room",
            ) from error

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, of which only the parts that are read come into memory."""
        found: NDArray[Any] = np.load(self._files[name], mmap_mode="r")
        return found

    def write_npz(self, handle: BinaryIO, index: Mapping[str, Any]) -> None:
        """Write all arrays as one file that ``numpy.load`` reads without pickle.

        Args:
            handle: the opened file.
            index: what a reader has to know; the axes of the arrays are added.
        """
        described = {
            name: {"axes": list(array.axes), "unit": array.unit}
            for name, array in self.arrays.items()
        }
        text = json.dumps({"schema": SCHEMA, **index, "arrays": described}, sort_keys=True)
        with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open(_entry(INDEX), "w") as out:
                npy.write_array(out, np.array(text), allow_pickle=False)
            for name, file in self._files.items():
                with (
                    file.open("rb") as raw,
                    archive.open(_entry(name), "w", force_zip64=True) as to,
                ):
                    shutil.copyfileobj(raw, to, 1 << 20)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def refuse_too_large(arrays: Sequence[Array], folder: Path) -> int:
    """Return the bytes that a trace takes, before anything is written.

    Args:
        arrays: the arrays of the trace.
        folder: the folder of the trace; it is made if it is missing.

    Raises:
        UsageError: the disk has no room for the scratch files and the file.
    """
    size = sum(array.size for array in arrays)
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if 2 * size > free:
        largest = max(arrays, key=lambda array: array.size)
        raise UsageError(
            "the trace is too large for the disk",
            f"{shown(size)}, and as much again while it is written, where {there} has "
            f"{shown(free)}; the largest array is {largest.name} with {shown(largest.size)}",
            "trace fewer sites or samples, or record less: --sites, --limit, --record spikes",
        )
    return size


def shown(size: int) -> str:
    """Return a number of bytes as text for people."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"

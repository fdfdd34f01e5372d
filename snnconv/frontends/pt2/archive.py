"""The archive of an exported program: its JSON and its tensors, read without unpickling anything.

``torch.export.load`` unpickles a program's example inputs and other marked parts, and evaluates
symbolic expressions, so a file can make it run any code. This reader reads JSON and plain bytes
only, and refuses a part that only a pickle holds.
"""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.core.validation import parsed_json
from snnconv.errors import UnsupportedError, UsageError, one_line
from snnconv.frontends.archives import refuse_packed

VERSION = 8  # of the schema: torch 2.8 and newer write it, into archives of this layout
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""Errors that malformed JSON may raise if it is read as a program."""

DTYPES: Mapping[int, torch.dtype] = {
    **{1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64},
    **{6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16},
}
"""Types by their numbers in a program."""


@dataclass(frozen=True)
class Archive:
    """What a file holds.

    Attributes:
        program: the program's JSON.
        tensors: the program's own, by name; views of the bytes as they stand in the file.
    """

    file: Path
    program: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def read_archive(file: Path) -> Archive:
    """Read a file's program and its tensors.

    Raises:
        UsageError: there is no such file.
        UnsupportedError: no archive, one of another version, tensors that are pickled or that hold
            something other than they declare.
    """
    if not file.is_file():
        raise UsageError(f"{file} can't be read", "no such file", "check the path")
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(file, archive)
    except KeyError as error:
        raise invalid(file, f"it has no {error}") from error
    except (*MALFORMED, zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        raise invalid(file, one_line(error)) from error


def invalid(file: Path, found: str) -> UnsupportedError:
    """Return the error for a file that is no exported program."""
    return UnsupportedError(
        f"{file} can't be read as an exported program",
        found,
        "export the network again: torch.export.save of torch 2.8 or newer",
    )


def _read(file: Path, archive: zipfile.ZipFile) -> Archive:
    root = _root(archive, file.stat().st_size)
    if archive.read(f"{root}byteorder") != b"little":
        raise ValueError("numbers whose bytes have another order")
    program = parsed_json(archive.read(f"{root}models/model.json"))
    if program["schema_version"]["major"] != VERSION:
        raise ValueError(f"schema version {program['schema_version']['major']}, not {VERSION}")
    entries: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for kind in ("weights", "constants"):
        folder = f"{root}data/{kind}/"
        config = parsed_json(archive.read(f"{folder}model_{kind}_config.json"))["config"]
        entries |= {
            name: (f"{folder}{entry['path_name']}", entry) for name, entry in config.items()
        }
    if pickled := sorted(name for name, (_, entry) in entries.items() if entry["use_pickle"]):
        raise UnsupportedError(
            f"{file} can't be imported",
            f"values that only unpickling reads, which may run code: {', '.join(pickled)}",
            "export the network with plain tensors only, or name it: file.py:factory",
        )
    content = {path: bytearray(archive.read(path)) for path, _ in entries.values()}
    tensors = {
        name: _tensor(name, content[path], e["tensor_meta"]) for name, (path, e) in entries.items()
    }
    return Archive(file, program, tensors)


def _root(archive: zipfile.ZipFile, size: int) -> str:
    """Check that entries are those that torch writes, and return the folder they lie in."""
    refuse_packed(archive, size)
    (marker,) = [
        e.filename for e in archive.infolist() if e.filename.endswith("/archive_format")
    ] or [""]
    if not marker or archive.read(marker) != b"pt2":
        raise ValueError("no archive of a program")
    return marker.removesuffix("archive_format")


def _tensor(name: str, content: bytearray, meta: Mapping[str, Any]) -> Tensor:
    dtype = DTYPES[meta["dtype"]]
    held = len(content) // dtype.itemsize
    sizes, strides = ([whole(n) for n in meta[key]] for key in ("sizes", "strides"))
    offset = whole(meta["storage_offset"])
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=dtype)
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if math.prod(sizes) > held or last >= held:
        raise ValueError(f"{len(content)} bytes for the tensor '{name}' of shape {sizes}")
    return torch.frombuffer(content, dtype=dtype).as_strided(sizes, strides, offset)


def whole(size: Mapping[str, Any]) -> int:
    """Return a size that is a number.

    Raises:
        ValueError: it is an expression, or below 0.
    """
    found = size.get("as_int")
    if not isinstance(found, int) or found < 0:
        raise ValueError(f"a size of {found}")
    return found

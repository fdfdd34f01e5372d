"""NumPy's ``.npy`` format, read with its size checked before anything is allocated."""

import math
import tokenize
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_BROKEN = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)
"""What NumPy raises on a header that is none."""


@dataclass(frozen=True)
class Header:
    """What an array is to be.

    Attributes:
        start: bytes before its content.
        fortran: whether its first axis is the fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        """Of its content."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{list(self.shape)} {self.dtype}"


def read_header(stream: IO[bytes], size: int, name: str = "the array") -> Header:
    """Return the header of an array.

    Args:
        stream: at its beginning.
        size: all bytes that it has.
        name: of the array, for errors.

    Raises:
        ValueError: no header, objects of Python, or another size than its content has.
    """
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = _HEADERS[version](stream)
    except KeyError as error:
        raise ValueError(f"{name} has version {error} of the format .npy") from error
    except _BROKEN as error:
        raise ValueError(f"{name} is no .npy array: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects of Python, which are not read (allow_pickle=False)")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{name} has the shape {shape}")
    header = Header(shape, dtype, fortran, stream.tell())
    if header.nbytes != size - header.start:
        raise ValueError(
            f"{name} {header} takes {header.nbytes} bytes, and has {size - header.start}"
        )
    return header


def read_array(stream: IO[bytes], header: Header) -> NDArray[Any]:
    """Return the array behind a header, which is writable.

    Raises:
        ValueError: the stream ends before.
    """
    content = bytearray(header.nbytes)
    view, place = memoryview(content), 0
    stream.seek(header.start)
    while place < len(content):
        part = stream.read(min(len(content) - place, 1 << 20))
        if not part:
            raise ValueError(f"cut short: {place} of {len(content)} bytes")
        view[place : place + len(part)] = part
        place += len(part)
    flat = np.frombuffer(content, header.dtype, math.prod(header.shape) if content else 0)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")

"""Tensors of an ONNX file: what one declares is compared with what it holds before it is read."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.errors import UnsupportedError

LARGEST = 2**28  # values in one tensor, 1 GiB in float32: twice the largest layer of VGG-16
_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
_INTEGERS = ("BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64")


def check(proto: Any, folder: Path) -> None:
    """Compare what a tensor declares with what it holds; reads no data.

    Args:
        proto: the file's ``TensorProto``.
        folder: the folder in which its external data has to be.

    Raises:
        UnsupportedError: another size, a type that is no plain number, external data that is
            outside the folder, not there or too short.
    """
    import onnx

    sizes = list(proto.dims)
    kind = onnx.TensorProto.DataType.Name(proto.data_type) if proto.data_type else "UNDEFINED"
    if kind not in (*_FLOATS, *_INTEGERS):
        raise _error(proto, f"values of type {kind}", "export the network in float32")
    if min(sizes, default=0) < 0 or math.prod(sizes) > LARGEST:
        raise _error(proto, f"a declared shape of {sizes}", f"at most {LARGEST} values are read")
    wanted = math.prod(sizes) * _width(proto)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        file, offset, length = _external(proto, folder)
        held = min(wanted, file.stat().st_size - offset)
        held = length if length not in (None, wanted) else held
    elif proto.HasField("raw_data"):
        held = len(proto.raw_data)
    else:
        field = onnx.helper.tensor_dtype_to_field(proto.data_type)
        held = len(getattr(proto, field)) * _width(proto)
    if held != wanted:
        found = f"{max(held, 0)} bytes for a declared shape of {sizes}, which takes {wanted}"
        raise _error(proto, found, "export the network again")


def read(proto: Any, folder: Path) -> Tensor:
    """Return a tensor's values; raise what :func:`check` raises."""
    import numpy as np
    import onnx

    check(proto, folder)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        file, offset, _ = _external(proto, folder)
        with file.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(math.prod(proto.dims) * _width(proto))
        proto = onnx.TensorProto(dims=proto.dims, data_type=proto.data_type, raw_data=data)
    array = onnx.numpy_helper.to_array(proto)
    if proto.data_type == onnx.TensorProto.BFLOAT16:  # NumPy does not have this type
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array))


def _width(proto: Any) -> int:
    import onnx

    return int(onnx.helper.tensor_dtype_to_np_dtype(proto.data_type).itemsize)


def _external(proto: Any, folder: Path) -> tuple[Path, int, int | None]:
    """Return the file, where in it the values begin, and how many bytes they should take."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    remedy = "put the data file into the folder of the ONNX file, as it was exported"
    file = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder.resolve()):
        raise _error(proto, f"external data outside the model's own folder: '{location}'", remedy)
    if not file.is_file():
        raise _error(proto, f"external data in '{location}', which is no file", remedy)
    numbers = [entries.get("offset", "0"), entries.get("length", "0")]
    if not all(number.isdecimal() for number in numbers):
        raise _error(proto, f"external data at {numbers}", "export the network again")
    offset, length = map(int, numbers)
    return file, offset, length if "length" in entries else None


def _error(proto: Any, found: str, remedy: str) -> UnsupportedError:
    return UnsupportedError(f"the ONNX file's tensor '{proto.name}' can't be read", found, remedy)

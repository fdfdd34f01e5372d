"""A safetensors file with tensors and a document, and a digest of everything in it.

The document is canonical JSON under one metadata key, because safetensors does not order several
keys, and equal content has to give equal bytes. It holds the SHA-256 of every tensor (type, shape
and bytes) and of itself, so a check finds a flipped bit and its place.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from snnconv.core.validation import parsed_json
from snnconv.errors import CheckpointError, one_line

DIGESTS = "digests"
"""The document's key of the tensors' digests, by name."""

DIGEST = "digest"
"""The document's key of its own digest, without that key."""

_ALIGNED = 8  # bytes: the length of a file's head, and where tensors may begin

_MALFORMED = (
    *(safetensors.SafetensorError, OSError, ValueError, TypeError, LookupError),
    *(AttributeError, OverflowError, RuntimeError),
)
"""Errors that tensors of made-up types and sizes may raise when they are read."""


def canonical_json(data: Any) -> str:
    """Return the canonical text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's type, shape and bytes."""
    found = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}\n".encode())
    found.update(_bytes(tensor))
    return found.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, in its memory if it is contiguous."""
    dense = tensor.detach().contiguous()
    # one number is contiguous with any stride, and a view as bytes wants a stride of 1
    return dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy().data


def sealed(
    document: Mapping[str, Any], tensors: Mapping[str, Tensor], key: str
) -> list[bytes | memoryview]:
    """Return the bytes of a file in pieces; equal content gives equal bytes.

    The pieces are the tensors' own memory. safetensors would return one object of bytes, and hold
    the file twice while it makes that; the bytes are the same.

    Args:
        document: JSON data, without the keys of digests.
        tensors: the tensors, by name.
        key: the key of the document in the metadata.
    """
    whole = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    ordered = dict(sorted(whole.items(), key=lambda item: (-_rank(item[1]), item[0])))
    digests = {name: digest(tensor) for name, tensor in ordered.items()}
    text = _signed({**document, DIGESTS: digests})
    return [_header(ordered, {key: text}), *map(_bytes, ordered.values())]


TYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""Names of types in a safetensors file, whose tensors come in the opposite order."""


def _rank(tensor: Tensor) -> int:
    return list(TYPES).index(tensor.dtype)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the head of a safetensors file: its own length, and what the file holds."""
    entries, begin = dict[str, Any](__metadata__=metadata), 0
    for name, tensor in tensors.items():
        offsets = [begin, begin := begin + tensor.nbytes]
        kind, shape = TYPES[tensor.dtype], list(tensor.shape)
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(_ALIGNED, "little") + text


def plain(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a safetensors file without a document; equal tensors give equal bytes."""
    return safetensors.torch.save(_whole(tensors))


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors; those in a memory that another one has, too, are cloned.

    safetensors takes no two names for one memory. Clones of all would take as much as the file.
    """
    found: dict[str, Tensor] = {}
    memories: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage()
        if memory.data_ptr() in memories or memory.nbytes() != plain.nbytes:
            plain = plain.clone(memory_format=torch.contiguous_format)
        memories.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    return found


def _signed(document: Mapping[str, Any]) -> str:
    own = hashlib.sha256(canonical_json(document).encode()).hexdigest()
    return canonical_json({**document, DIGEST: own})


class Broken(Exception):  # noqa: N818 - its reader makes an error of it
    """A file is not as it was written.

    Args:
        found: what is wrong with the file.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


def unsealed(file: Path, key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the document and the tensors of a file; :func:`intact` checks the digests.

    Raises:
        Broken: the file is not complete, or its document can't be read.
    """
    if file.is_dir() or file.stat().st_size == 0:
        raise Broken("a folder" if file.is_dir() else "an empty file")
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get(key)
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except _MALFORMED as error:
        raise Broken(f"no whole safetensors file ({one_line(error)})") from error
    if text is None:
        raise Broken(f"a safetensors file without the metadata key '{key}'")
    return _document(text), tensors


def head(file: Path, key: str) -> dict[str, Any]:
    """Return the document of a file without checking it or reading a tensor.

    Raises:
        Broken: it is no safetensors file, or its document can't be read.
    """
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get(key)
    except _MALFORMED as error:
        raise Broken(f"no safetensors file ({one_line(error)})") from error
    return _document("" if text is None else text)


def intact(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Check the digests, and return the document without them.

    Raises:
        Broken: a digest differs; the error names what it belongs to.
    """
    digests = document.get(DIGESTS)
    content = {name: value for name, value in document.items() if name != DIGEST}
    if not isinstance(digests, dict) or _signed(content) != canonical_json(document):
        raise Broken("metadata that have changed since they were written (their digest differs)")
    if missing := sorted(set(digests) - set(tensors)):
        raise Broken(f"the tensor '{missing[0]}' is missing")
    for name, tensor in tensors.items():
        if digests.get(name) != digest(tensor):
            raise Broken(
                f"the tensor '{name}' has changed since it was written (its digest differs)"
            )
    return {name: value for name, value in content.items() if name != DIGESTS}


def _document(text: str) -> dict[str, Any]:
    try:
        document = parsed_json(text)
        canonical_json(document)
    except ValueError as error:
        raise Broken(f"metadata that is no JSON ({one_line(error)})") from error
    if not isinstance(document, dict):
        raise Broken("metadata that is no JSON object")
    return document


def refuse_not_finite(tensors: Mapping[str, Tensor], remedy: str = "") -> None:
    """Refuse NaN and Inf.

    Args:
        tensors: under ``<section>/<name>``.
        remedy: the next step, if it differs from that for a broken file.

    Raises:
        Broken: a tensor has some; the error names the first one.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            section, _, rest = name.partition("/")
            raise Broken(f"NaN or Inf in tensor '{rest}' of the {section}", remedy)


def error_of(broken: Broken, file: Path, remedy: str) -> CheckpointError:
    """Return the error for a broken file."""
    return CheckpointError(f"{file} can't be used", broken.found, broken.remedy or remedy)

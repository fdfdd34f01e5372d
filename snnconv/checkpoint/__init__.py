"""The checkpoint: one safetensors file that holds all a stage needs, and nothing that runs.

The graph, the metadata and the lineage are a document that is stored with the tensors, under the
metadata key ``snnconv`` (:mod:`snnconv.checkpoint.file`). Writes are atomic: a file is either the
old one or the new one.

Format 2 has digests of everything in it. Format 1 has none, and can still be read.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint, check, sections
from snnconv.checkpoint.file import (
    Broken,
    canonical_json,
    error_of,
    head,
    intact,
    sealed,
    unsealed,
)
from snnconv.core.files import Content, write_atomically
from snnconv.core.kinds import KINDS, WRITTEN_BY, Kind
from snnconv.core.metadata import (
    CalibrationInfo,
    CorrectionInfo,
    DataInfo,
    LineageStep,
    SpikingInfo,
)
from snnconv.errors import CheckFailedError, CheckpointError, one_line
from snnconv.graph.ir import Graph
from snnconv.graph.ops import OPS

__all__ = ["Checkpoint", "canonical_json", "kind_of", "load", "save", "sha256"]

FORMAT = 2
KEY = "snnconv"
_AGAIN = "write the checkpoint again, or copy it again if it was copied"


def sha256(file: Path) -> str:
    """Return the hash of a file, which names it in lineages."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def kind_of(file: Path) -> str | None:
    """Return the kind of a checkpoint from its head alone; None for any other file."""
    try:
        kind = head(file, KEY).get("kind")
    except Broken:
        return None
    return kind if isinstance(kind, str) else None


def save(checkpoint: Checkpoint, file: str | Path) -> None:
    """Write a checkpoint; equal checkpoints give equal bytes.

    Raises:
        UsageError: the file can't be written.
        CheckFailedError: :func:`load` would refuse the file; nothing is written.
    """
    file = Path(file)
    write_atomically(file, encoded(checkpoint, file))


def encoded(checkpoint: Checkpoint, file: Path) -> Content:
    """Return the content of a checkpoint's file; equal checkpoints give equal bytes.

    Raises:
        CheckFailedError: :func:`load` would refuse the content; the error names the file.
    """

    def dump(info: DataInfo | CalibrationInfo | SpikingInfo | None) -> Any:
        return None if info is None else info.model_dump(mode="json")

    document = {
        "format": FORMAT,
        "kind": checkpoint.kind,
        "graph": checkpoint.graph.to_json(),
        "data": dump(checkpoint.data),
        "calibration": dump(checkpoint.calibrated),
        "spiking": dump(checkpoint.spiking),
        "lineage": [step.model_dump(mode="json") for step in checkpoint.lineage],
    }
    if checkpoint.corrected:  # without, a file is what it was before there were any
        document["corrections"] = [made.model_dump(mode="json") for made in checkpoint.corrected]
    tensors = checkpoint.tensors()
    try:
        _made(json.loads(canonical_json(document)), tensors, checkpoint.kind, file)
    except Broken as broken:
        raise CheckFailedError(
            f"{file} is not written: nothing could read it",
            broken.found,
            broken.remedy or "look at what the network was made of: snnconv inspect",
        ) from broken
    return sealed(document, tensors, KEY)


def load(file: str | Path, expected: Iterable[Kind] | None = None) -> Checkpoint:
    """Read a checkpoint, and check its digests, structure, operations and tensors.

    Args:
        file: a checkpoint.
        expected: the kinds that the caller takes; by default all.

    Raises:
        CheckpointError: the file is missing, empty, truncated, changed or foreign, or comes from
            another stage or a later version; or a tensor is missing, has a wrong type or shape, or
            is not finite.
    """
    file = Path(file)
    try:
        document, tensors = _read(file)
        version = _version(document)
        if version > 1:
            document = intact(document, tensors)
        kind = _kind(document, None if expected is None else list(expected))
        return _made(document, tensors, kind, file)
    except Broken as broken:
        raise error_of(broken, file, _AGAIN) from broken


def _made(
    document: Mapping[str, Any], tensors: Mapping[str, Tensor], kind: Kind, file: Path
) -> Checkpoint:
    """Return the checkpoint, after its checks."""
    by_section = sections(tensors)
    try:
        checkpoint = Checkpoint(
            kind=kind,
            graph=Graph.from_json(document["graph"], OPS, str(file)),
            data=DataInfo.model_validate(document["data"]),
            lineage=tuple(LineageStep.model_validate(step) for step in document["lineage"]),
            calibrated=_optional(CalibrationInfo, document["calibration"]),
            spiking=_optional(SpikingInfo, document["spiking"]),
            corrected=tuple(
                CorrectionInfo.model_validate(made) for made in document.get("corrections", ())
            ),
            **by_section,
        )
    except CheckpointError as error:
        raise Broken(f"{error.problem} ({error.found})", error.remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([error.title, *(str(part) for part in first["loc"])])
        raise Broken(f"malformed metadata ({where}: {first['msg']})") from error
    except (KeyError, TypeError) as error:
        raise Broken(f"malformed metadata ({one_line(error)})") from error
    check(checkpoint)
    return checkpoint


def _version(document: Mapping[str, Any]) -> int:
    version = document.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise Broken(f"no format version ({version!r})")
    if version > FORMAT:
        raise Broken(
            f"checkpoint format {version}; this snnconv reads up to {FORMAT}",
            "pip install --upgrade snnconv",
        )
    return version


def _kind(document: Mapping[str, Any], wanted: list[Kind] | None) -> Kind:
    found = document.get("kind")
    kind: Kind | None = next((known for known in KINDS if known == found), None)
    if kind is None:
        raise Broken(f"the unknown kind {found!r}")
    if wanted is not None and kind not in wanted:
        raise Broken(
            f"a checkpoint of kind '{kind}', where this stage takes {' or '.join(wanted)}",
            f"snnconv {WRITTEN_BY[wanted[0]]} first, or name another file",
        )
    return kind


def _optional(model: Any, data: Any) -> Any:
    return None if data is None else model.model_validate(data)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not file.exists():
        raise Broken("no such file", "check the path, or write it with `snnconv train`")
    try:
        return unsealed(file, KEY)
    except Broken as broken:
        if "without the metadata key" in broken.found:
            raise Broken(
                f"no snnconv checkpoint: {broken.found}",
                "import weights with `snnconv calibrate MODEL --weights FILE`",
            ) from broken
        raise

"""The checkpoint: one safetensors file that holds all a stage needs, and nothing that runs.

The graph, the facts and the lineage are canonical JSON under the metadata key ``snnconv`` (the only
key: safetensors does not order several, and the same checkpoint must give the same bytes). Writes
are atomic: a file is either the old one or the new one.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from snnconv.errors import CheckpointError, UsageError
from snnconv.facts import CalibrationFacts, DataFacts, LineageStep, SpikingFacts
from snnconv.graph.ir import Graph
from snnconv.graph.ops import OPS
from snnconv.kinds import Kind

FORMAT = 1
KEY = "snnconv"
_SECTIONS = ("network", "calibration", "neurons")


@dataclass(frozen=True)
class Checkpoint:
    """A network at one stage of its way.

    Attributes:
        kind: which stage wrote it.
        graph: the network, with BatchNorm as trained; folding happens when it runs.
        data: what it was made for.
        network: the graph's tensors, by the names the graph gives them.
        calibration: ``<site>/threshold``, ``<site>/histogram``, ... once calibrated.
        neurons: ``<site>/<parameter>`` of neurons with learned parameters.
    """

    kind: Kind
    graph: Graph
    data: DataFacts
    network: dict[str, Tensor]
    lineage: tuple[LineageStep, ...]
    calibrated: CalibrationFacts | None = None
    calibration: dict[str, Tensor] = field(default_factory=dict)
    spiking: SpikingFacts | None = None
    neurons: dict[str, Tensor] = field(default_factory=dict)

    def thresholds(self) -> dict[str, Tensor]:
        """Theta by site, ``[]`` or ``[C]``, in units of the ANN's activation."""
        suffix = "/threshold"
        return {
            name.removesuffix(suffix): tensor
            for name, tensor in self.calibration.items()
            if name.endswith(suffix)
        }


def canonical_json(data: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(file: Path) -> str:
    """A file's hash, which names it in lineages."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file whole or not at all; what was there stays until then.

    Raises:
        UsageError: the folder can't be made or written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as handle:
            temporary = Path(handle.name)
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(file)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UsageError(
            f"{file} can't be written",
            error.strerror or str(error),
            "name a folder with room that you may write to (--run DIR or --out FILE)",
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save(checkpoint: Checkpoint, file: Path) -> None:
    """Write a checkpoint; the same checkpoint gives the same bytes.

    Raises:
        UsageError: the file can't be written.
    """

    def dump(facts: DataFacts | CalibrationFacts | SpikingFacts | None) -> Any:
        return None if facts is None else facts.model_dump(mode="json")

    document = {
        "format": FORMAT,
        "kind": checkpoint.kind,
        "graph": checkpoint.graph.to_json(),
        "data": dump(checkpoint.data),
        "calibration": dump(checkpoint.calibrated),
        "spiking": dump(checkpoint.spiking),
        "lineage": [step.model_dump(mode="json") for step in checkpoint.lineage],
    }
    tensors = {
        f"{section}/{name}": tensor.detach().cpu().contiguous()
        for section in _SECTIONS
        for name, tensor in getattr(checkpoint, section).items()
    }
    metadata = {KEY: canonical_json(document)}
    write_atomically(file, safetensors.torch.save(tensors, metadata=metadata))


def load(file: Path, expected: Iterable[Kind] | None = None) -> Checkpoint:
    """Read a checkpoint and check it whole: structure, operations, tensors, finite numbers.

    Args:
        file: a checkpoint.
        expected: the kinds a stage takes; all when not given.

    Raises:
        CheckpointError: missing, empty, truncated, foreign, of another stage or a later version;
            tensors that are missing, of a wrong shape or not finite.
    """
    document, tensors = _read(file)

    def fail(found: str, remedy: str) -> CheckpointError:
        return CheckpointError(f"{file} can't be used", found, remedy)

    version = document.get("format")
    if not isinstance(version, int) or version < 1:
        raise fail(f"no format version ({version!r})", "write the checkpoint again")
    if version > FORMAT:
        raise fail(
            f"checkpoint format {version}; this snnconv reads up to {FORMAT}",
            "pip install --upgrade snnconv",
        )
    kind = document.get("kind")
    if kind not in get_args(Kind):
        raise fail(f"the unknown kind {kind!r}", "write the checkpoint again")
    if expected is not None and kind not in (wanted := list(expected)):
        raise fail(
            f"a checkpoint of kind '{kind}', where this stage takes {' or '.join(wanted)}",
            f"snnconv {_MADE_BY[wanted[0]]} first, or name another file",
        )
    sections: dict[str, dict[str, Tensor]] = {section: {} for section in _SECTIONS}
    for key, tensor in tensors.items():
        section, _, name = key.partition("/")
        if section not in sections:
            raise fail(f"the unknown tensor '{key}'", "write the checkpoint again")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise fail(
                f"NaN or Inf in tensor '{name}' of the {section}",
                "train again with a lower --lr, or repair the file it came from",
            )
        sections[section][name] = tensor
    try:
        checkpoint = Checkpoint(
            kind=kind,
            graph=Graph.from_json(document["graph"], OPS, str(file)),
            data=DataFacts.model_validate(document["data"]),
            network=sections["network"],
            lineage=tuple(LineageStep.model_validate(step) for step in document["lineage"]),
            calibrated=_optional(CalibrationFacts, document["calibration"]),
            calibration=sections["calibration"],
            spiking=_optional(SpikingFacts, document["spiking"]),
            neurons=sections["neurons"],
        )
    except (KeyError, TypeError, ValidationError) as error:
        summary = str(error).splitlines()[0]
        raise fail(f"malformed metadata ({summary})", "write the checkpoint again") from error
    _check_tensors(checkpoint, file)
    return checkpoint


_MADE_BY: dict[str, str] = {
    "ann": "train",
    "calibrated": "calibrate",
    "converted": "convert",
    "finetuned": "finetune",
    "reparameterized": "reparameterize",
}


def _optional(model: Any, data: Any) -> Any:
    return None if data is None else model.model_validate(data)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not file.exists():
        raise CheckpointError(
            f"{file} can't be read", "no such file", "check the path, or write it with `snnconv train`"
        )
    if file.is_dir() or file.stat().st_size == 0:
        found = "a folder" if file.is_dir() else "an empty file"
        raise CheckpointError(f"{file} can't be read", found, "write the checkpoint again")
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get(KEY)
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} can't be read",
            f"no whole safetensors file ({error})",
            "write the checkpoint again, or copy it again if it was copied",
        ) from error
    if text is None:
        raise CheckpointError(
            f"{file} is no snnconv checkpoint",
            f"a safetensors file without the metadata key '{KEY}'",
            "import weights with `snnconv calibrate MODEL --weights FILE`",
        )
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{file} can't be read", f"metadata that is no JSON ({error})", "write it again"
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} can't be read", "metadata that is no object", "write it again")
    return document, tensors


def _check_tensors(checkpoint: Checkpoint, file: Path) -> None:
    wanted = checkpoint.graph.tensor_names()
    missing, surplus = wanted - set(checkpoint.network), set(checkpoint.network) - wanted
    if missing or surplus:
        raise CheckpointError(
            f"{file} can't be used",
            f"tensors missing: {sorted(missing)}; tensors no node uses: {sorted(surplus)}",
            "write the checkpoint again",
        )
    for node in checkpoint.graph.nodes:
        if lacking := [role for role in OPS[node.op].required if role not in node.tensors]:
            raise CheckpointError(
                f"{file} can't be used",
                f"node '{node.name}' ({node.op}) has no {', '.join(lacking)}",
                "write the checkpoint again",
            )
    if checkpoint.kind == "ann":
        return
    thresholds = checkpoint.thresholds()
    sites = {site.name for site in checkpoint.graph.sites}
    if set(thresholds) != sites:
        raise CheckpointError(
            f"{file} can't be used",
            f"thresholds for {sorted(thresholds)}, sites {sorted(sites)}",
            "calibrate again: snnconv calibrate",
        )
    if bad := [name for name, theta in thresholds.items() if not (theta > 0).all()]:
        raise CheckpointError(
            f"{file} can't be used", f"thresholds that are not positive at {bad}", "calibrate again"
        )

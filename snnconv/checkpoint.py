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

from snnconv import distributed
from snnconv.bounds import parsed_json
from snnconv.errors import CheckpointError, SnnconvError, UsageError, said
from snnconv.facts import CalibrationFacts, DataFacts, LineageStep, SpikingFacts
from snnconv.graph.build import shapes
from snnconv.graph.ir import Graph
from snnconv.graph.ops import OPS
from snnconv.kinds import SPIKING, Kind

FORMAT = 1
KEY = "snnconv"
_SECTIONS = ("network", "calibration", "neurons", "reference")


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
        reference: the tensors of the ANN that was converted, where fine-tuning has changed the
            network's own; empty where the network still is that ANN.
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
    reference: dict[str, Tensor] = field(default_factory=dict)

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
    """Write a file whole or not at all; of several processes the first one writes.

    Raises:
        UsageError: the folder can't be made or written, or the disk is full.
    """
    if distributed.rank() > 0:
        return
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
        at = f" ({error.filename})" if error.filename else ""
        raise UsageError(
            f"{file} can't be written",
            f"{error.strerror or error}{at}",
            "name a folder with room that you may write to (--run DIR or --out FILE)",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
        # clones, since safetensors takes no two names for one memory
        f"{section}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
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
    kind = _kind(document, None if expected is None else list(expected), file)
    sections: dict[str, dict[str, Tensor]] = {section: {} for section in _SECTIONS}
    for key, tensor in tensors.items():
        section, _, name = key.partition("/")
        if section not in sections:
            raise _unusable(file, f"the unknown tensor '{key}'")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise _unusable(
                file,
                f"NaN or Inf in tensor '{name}' of the {section}",
                "train again with a lower --lr, or repair the file it came from",
            )
        sections[section][name] = tensor
    try:
        checkpoint = Checkpoint(
            kind=kind,
            graph=Graph.from_json(document["graph"], OPS, str(file)),
            data=DataFacts.model_validate(document["data"]),
            lineage=tuple(LineageStep.model_validate(step) for step in document["lineage"]),
            calibrated=_optional(CalibrationFacts, document["calibration"]),
            spiking=_optional(SpikingFacts, document["spiking"]),
            **sections,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([error.title, *(str(part) for part in first["loc"])])
        raise _unusable(file, f"malformed metadata ({where}: {first['msg']})") from error
    except (KeyError, TypeError) as error:
        raise _unusable(file, f"malformed metadata ({said(error)})") from error
    _check_tensors(checkpoint, file)
    if kind != "ann":
        _check_thresholds(checkpoint, file)
    return checkpoint


def _unusable(
    file: Path, found: str, remedy: str = "write the checkpoint again"
) -> CheckpointError:
    return CheckpointError(f"{file} can't be used", found, remedy)


def _kind(document: dict[str, Any], wanted: list[Kind] | None, file: Path) -> Kind:
    version, found = document.get("format"), document.get("kind")
    if not isinstance(version, int) or version < 1:
        raise _unusable(file, f"no format version ({version!r})")
    if version > FORMAT:
        raise _unusable(
            file,
            f"checkpoint format {version}; this snnconv reads up to {FORMAT}",
            "pip install --upgrade snnconv",
        )
    kind: Kind | None = next((known for known in get_args(Kind) if known == found), None)
    if kind is None:
        raise _unusable(file, f"the unknown kind {found!r}")
    if wanted is not None and kind not in wanted:
        raise _unusable(
            file,
            f"a checkpoint of kind '{kind}', where this stage takes {' or '.join(wanted)}",
            f"snnconv {_MADE_BY[wanted[0]]} first, or name another file",
        )
    for section, kinds in (("calibration", get_args(Kind)[1:]), ("spiking", SPIKING)):
        if kind in kinds and document.get(section) is None:
            raise _unusable(file, f"a checkpoint of kind '{kind}' without '{section}'")
    return kind


_MADE_BY: dict[str, str] = {
    "ann": "train",
    "calibrated": "calibrate",
    "converted": "convert",
    "trained": "train",
    "finetuned": "finetune",
    "reparameterized": "reparameterize",
}


def _optional(model: Any, data: Any) -> Any:
    return None if data is None else model.model_validate(data)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not file.exists():
        raise _unusable(file, "no such file", "check the path, or write it with `snnconv train`")
    if file.is_dir() or file.stat().st_size == 0:
        raise _unusable(file, "a folder" if file.is_dir() else "an empty file")
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get(KEY)
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _unusable(
            file,
            f"no whole safetensors file ({said(error)})",
            "write the checkpoint again, or copy it again if it was copied",
        ) from error
    if text is None:
        raise _unusable(
            file,
            f"no snnconv checkpoint: a safetensors file without the metadata key '{KEY}'",
            "import weights with `snnconv calibrate MODEL --weights FILE`",
        )
    try:
        document = parsed_json(text)
    except ValueError as error:
        raise _unusable(file, f"metadata that is no JSON ({error})") from error
    if not isinstance(document, dict):
        raise _unusable(file, "metadata that is no JSON object")
    return document, tensors


def _check_tensors(checkpoint: Checkpoint, file: Path) -> None:
    wanted, network = checkpoint.graph.tensor_names(), checkpoint.network
    missing, surplus = wanted - set(network), set(network) - wanted
    if missing or surplus:
        raise _unusable(
            file, f"tensors missing: {sorted(missing)}; tensors no node uses: {sorted(surplus)}"
        )
    for node in checkpoint.graph.nodes:
        if lacking := [role for role in OPS[node.op].required if role not in node.tensors]:
            raise _unusable(file, f"node '{node.name}' ({node.op}) has no {', '.join(lacking)}")
    try:
        shapes(checkpoint.graph, network)
    except SnnconvError as error:
        raise _unusable(file, f"{error.problem} ({error.found})") from error
    reference = {name: tensor.shape for name, tensor in checkpoint.reference.items()}
    if reference and reference != {name: tensor.shape for name, tensor in network.items()}:
        raise _unusable(file, "reference tensors that are not those of the network")


def _check_thresholds(checkpoint: Checkpoint, file: Path) -> None:
    thresholds, remedy = checkpoint.thresholds(), "calibrate again: snnconv calibrate"
    sites = {site.name for site in checkpoint.graph.sites}
    if set(thresholds) != sites:
        raise _unusable(file, f"thresholds for {sorted(thresholds)}, sites {sorted(sites)}", remedy)
    sizes = shapes(checkpoint.graph, checkpoint.network)
    for name, theta in thresholds.items():
        if not (theta > 0).all():
            raise _unusable(file, f"a threshold that is not positive at '{name}'", remedy)
        if theta.shape not in ((), (1,), sizes[name][:1]):
            raise _unusable(file, f"a threshold of shape {list(theta.shape)} at '{name}'", remedy)

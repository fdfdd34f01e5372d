"""An interrupted training on disk: tensors, and facts beside them, in one safetensors file.

Written whole after every epoch, over the one before; nothing in it is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from snnconv.bounds import parsed_json
from snnconv.checkpoint import canonical_json, write_atomically
from snnconv.errors import CheckpointError, UsageError

KEY = "snnconv-resume"
_AGAIN = "start again: without --resume"


@dataclass(frozen=True)
class Saved:
    """A training after a whole epoch.

    Attributes:
        setting: what must be the same when it goes on: options, and hashes of what was read.
        facts: where it stands, as JSON data.
        tensors: all that the next epoch hangs on.
    """

    setting: Mapping[str, Any]
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def write(saved: Saved, file: Path) -> None:
    """Write it, whole or not at all."""
    text = canonical_json({"setting": saved.setting, "facts": saved.facts})
    tensors = {name: tensor.contiguous() for name, tensor in saved.tensors.items()}
    write_atomically(file, safetensors.torch.save(tensors, metadata={KEY: text}))


def read(file: Path, setting: Mapping[str, Any]) -> Saved:
    """Read it, for a training with the same setting.

    Raises:
        CheckpointError: no file that :func:`write` has written.
        UsageError: the setting was another; says which option.
    """
    problem = f"{file} can't be used"
    try:
        with safetensors.safe_open(file, framework="pt") as handle:
            text = (handle.metadata() or {}).get(KEY, "{}")
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        document = parsed_json(text)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(problem, f"no whole safetensors file ({error})", _AGAIN) from error
    if not isinstance(document, dict) or set(document) != {"setting", "facts"}:
        raise CheckpointError(problem, "no training in it", _AGAIN)
    # through JSON, as what was written went
    before, now = document["setting"], json.loads(canonical_json(setting))
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if changed:
        found = "; ".join(
            f"{name}: {before.get(name)} then, {now.get(name)} now" for name in changed
        )
        raise UsageError(
            "the training can't go on with other options", found, f"give the same, or {_AGAIN}"
        )
    return Saved(before, document["facts"], tensors)

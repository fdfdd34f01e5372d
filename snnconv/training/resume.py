"""An interrupted training on disk: tensors and facts in one sealed file.

Each epoch writes it whole, over the one before; nothing in it is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from snnconv.checkpoint.file import (
    Broken,
    canonical_json,
    error_of,
    intact,
    refuse_not_finite,
    sealed,
    unsealed,
)
from snnconv.core.files import write_atomically
from snnconv.core.metadata import Record
from snnconv.errors import CheckpointError, UsageError
from snnconv.reports import EpochRow

KEY = "snnconv-resume"
_AGAIN = "start again: without --resume"


class Standing(Record):
    """Where a training stands.

    Attributes:
        epoch: epochs done.
        start: the score that decides and firing rate before any training, where they were measured.
        best_epoch: the epoch that is kept; 0 for the start.
        rows: an epoch each.
        right: which validation samples were right before any training, and in the epoch that is
            kept; none in an older file.
        scores: every score before any training; empty in an older file.
    """

    epoch: int = Field(strict=True, ge=0)
    start: tuple[float, float | None] | None
    best_epoch: int = Field(strict=True, ge=0)
    rows: tuple[EpochRow, ...]
    right: tuple[str, str] | None = None
    scores: dict[str, float | None] = Field({})

    @model_validator(mode="after")
    def _consistent(self) -> "Standing":
        if [row.epoch for row in self.rows] != list(range(1, self.epoch + 1)):
            raise ValueError(f"rows that are not those of {self.epoch} epochs")
        if self.best_epoch > self.epoch:
            raise ValueError(f"a best epoch {self.best_epoch} of {self.epoch}")
        return self


@dataclass(frozen=True)
class Saved:
    """A training after a whole epoch.

    Attributes:
        setting: what must be the same when it goes on: options, and hashes of what was read.
        standing: where it stands.
        tensors: all that the next epoch depends on.
    """

    setting: Mapping[str, Any]
    standing: Standing
    tensors: Mapping[str, Tensor]


def write(saved: Saved, file: Path) -> None:
    """Write it, whole or not at all."""
    document = {"setting": saved.setting, "facts": saved.standing.model_dump(mode="json")}
    write_atomically(file, sealed(document, saved.tensors, KEY))


def read(file: Path, setting: Mapping[str, Any]) -> Saved:
    """Read it, for a training with the same setting.

    Raises:
        CheckpointError: no file that :func:`write` has written, or one that has changed since.
        UsageError: the setting was another; says which option.
    """
    try:
        document, tensors = unsealed(file, KEY)
        if not {"setting", "facts"} <= set(document):
            raise Broken("no training in it")
        document = intact(document, tensors)
        refuse_not_finite(tensors)
        standing = _standing(document["facts"])
        before = document["setting"]
        if not isinstance(before, dict):
            raise Broken("no options in it")
    except Broken as broken:
        raise error_of(broken, file, _AGAIN) from broken
    now = json.loads(canonical_json(setting))  # through JSON, as what was written went
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if changed:
        found = "; ".join(
            f"{name}: {before.get(name)} then, {now.get(name)} now" for name in changed
        )
        raise UsageError(
            "the training can't go on with other options", found, f"give the same, or {_AGAIN}"
        )
    return Saved(before, standing, tensors)


def _standing(facts: Any) -> Standing:
    try:
        return Standing.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "together"
        raise Broken(f"facts that can't be ({where}: {first['msg']})") from error


def refuse(file: Path, found: str) -> CheckpointError:
    """Return the error for a file that belongs to another training."""
    return error_of(Broken(found), file, _AGAIN)


def check_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Check that tensors have the names, types and shapes of others.

    Raises:
        ValueError: they have not; names the first.
    """
    for name in sorted({*given, *wanted}):
        if name not in given:
            raise ValueError(f"the tensor '{name}' is missing")
        if name not in wanted:
            raise ValueError(f"the tensor '{name}', which the network has not")
        one, other = given[name], wanted[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            found = f"{list(one.shape)} of {one.dtype}, not {list(other.shape)} of {other.dtype}"
            raise ValueError(f"the tensor '{name}' is {found}")

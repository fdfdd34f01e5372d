"""A paper's training method as a file: the options of ``train`` or of ``finetune``.

A preset is TOML: ``title``, ``reference``, ``deviations``, and a table ``[train]``, ``[finetune]``
or both, with the options of that stage. Those of the package are in the folder ``presets``; a
user's own are named by their path. What the user gives goes before what a preset says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from snnconv.core.toml_files import TomlFiles
from snnconv.errors import UsageError

FOLDER = Path(__file__).parent / "presets"
STAGES = ("train", "finetune")


class TrainingPreset(BaseModel):
    """One training method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="what it does, in one line")
    reference: str = Field(description="where it is published")
    deviations: str = Field("none", description="what is done in another way here, and why")
    train: dict[str, Any] = Field({}, description="options of snnconv train")
    finetune: dict[str, Any] = Field({}, description="options of snnconv finetune")


PRESETS = TomlFiles(FOLDER, TrainingPreset, "preset", "training preset", "guide/stages")


def names() -> list[str]:
    """The package's training presets, sorted."""
    return PRESETS.names()


def load(name: str) -> TrainingPreset:
    """A preset by its name, or by the path of a TOML file.

    Raises:
        UsageError: there is none, it can't be read, or it has a key that is none.
    """
    return PRESETS.load(name)


def chosen(wanted: tuple[str, ...]) -> dict[str, TrainingPreset]:
    """The presets that a user names, ``all`` for those of the package, by a short name.

    Raises:
        UsageError: one of them can't be used, or two of them have one name.
    """
    return PRESETS.chosen(wanted)


def with_preset(name: str, stage: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's options of a stage, under those that are given.

    Parameters of methods are taken one by one: one that is given leaves the others as they are.

    Raises:
        UsageError: the preset is for another stage.
    """
    options: dict[str, Any] = dict(getattr(load(name), stage))
    if not options:
        other = next(each for each in STAGES if each != stage)
        raise UsageError(
            f"the preset '{name}' is not for {stage}",
            f"options of {other} alone",
            f"snnconv {other} --preset {name}",
        )
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(options.get(key), dict)
        options[key] = {**options[key], **value} if both else value
    return options

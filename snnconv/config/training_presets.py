"""A paper's training method as a file: the options of ``train`` or of ``finetune``.

A preset is TOML: ``title``, ``reference``, ``deviations``, and a table ``[train]``, ``[finetune]``
or both, with the options of that stage. Those of the package are in the folder ``presets``; a
user's own are named by their path. What the user gives goes before what a preset says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from snnconv.core.toml_files import PublishedMethod, TomlFiles
from snnconv.errors import UsageError

FOLDER = Path(__file__).parent / "presets"
STAGES = ("train", "finetune")


class TrainingPreset(PublishedMethod):
    """One training method."""

    train: dict[str, Any] = Field({}, description="options of snnconv train")
    finetune: dict[str, Any] = Field({}, description="options of snnconv finetune")


PRESETS = TomlFiles(FOLDER, TrainingPreset, "preset", "training preset", "guide/stages")


def with_preset(name: str, stage: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's options of a stage, under those that are given.

    Parameters of methods are taken one by one: one that is given leaves the others as they are.

    Raises:
        UsageError: the preset is for another stage.
    """
    options: dict[str, Any] = dict(getattr(PRESETS.load(name), stage))
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

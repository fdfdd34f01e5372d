"""Published methods as files: the options of the stages, and where they come from.

A preset is TOML: ``title``, ``reference``, ``deviations``, and the options of stages. A preset of a
conversion has the tables ``[calibrate]``, ``[convert]`` and any number of ``[[correct]]``. A preset
of a training has a table ``[train]``, ``[finetune]`` or both, and the user's own options override
it. The package's presets are in the folders ``conversion_presets`` and ``training_presets``; users
name their own by a path.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from snnconv.core.toml_files import PublishedMethod, TomlFiles
from snnconv.errors import UsageError

_HERE = Path(__file__).parent
STAGES = ("train", "finetune")


class ConversionPreset(PublishedMethod):
    """One conversion method."""

    calibrate: dict[str, Any] = Field({}, description="options of snnconv calibrate")
    convert: dict[str, Any] = Field({}, description="options of snnconv convert")
    correct: tuple[dict[str, Any], ...] = Field((), description="options of snnconv correct, each")


class TrainingPreset(PublishedMethod):
    """One training method."""

    train: dict[str, Any] = Field({}, description="options of snnconv train")
    finetune: dict[str, Any] = Field({}, description="options of snnconv finetune")


CONVERSIONS = TomlFiles(
    _HERE / "conversion_presets", ConversionPreset, "preset", "method", "guide/compare", ("all",)
)
TRAININGS = TomlFiles(
    _HERE / "training_presets", TrainingPreset, "preset", "training preset", "guide/stages"
)


def with_preset(name: str, stage: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a training preset for a stage, overridden by those that are given.

    Parameters of methods are taken one by one: one that is given leaves the others as they are.

    Raises:
        UsageError: the preset is for the other stage.
    """
    options: dict[str, Any] = dict(getattr(TRAININGS.load(name), stage))
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

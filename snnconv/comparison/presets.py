"""A conversion method as a file: the options of its stages, and where they come from.

A preset is TOML: ``title``, ``reference``, ``deviations``, and a table for each stage,
``[calibrate]``, ``[convert]`` and any number of ``[[correct]]``, with the options of that stage.
Those of the package are in the folder ``presets``; a user's own are named by their path.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from snnconv.core.toml_files import PublishedMethod, TomlFiles

FOLDER = Path(__file__).parent / "presets"


class Preset(PublishedMethod):
    """One conversion method."""

    calibrate: dict[str, Any] = Field({}, description="options of snnconv calibrate")
    convert: dict[str, Any] = Field({}, description="options of snnconv convert")
    correct: tuple[dict[str, Any], ...] = Field((), description="options of snnconv correct, each")


PRESETS = TomlFiles(FOLDER, Preset, "preset", "method", "guide/compare", ("all",))

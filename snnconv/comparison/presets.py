"""A conversion method as a file: the options of its stages, and where they come from.

A preset is TOML: ``title``, ``reference``, ``deviations``, and a table for each stage,
``[calibrate]``, ``[convert]`` and any number of ``[[correct]]``, with the options of that stage.
Those of the package are in the folder ``presets``; a user's own are named by their path.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from snnconv.core.toml_files import TomlFiles
from snnconv.reports import ListItem, ListReport

FOLDER = Path(__file__).parent / "presets"


class Preset(BaseModel):
    """One conversion method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="what it does, in one line")
    reference: str = Field(description="where it is published")
    deviations: str = Field("none", description="what is done in another way here, and why")
    calibrate: dict[str, Any] = Field({}, description="options of snnconv calibrate")
    convert: dict[str, Any] = Field({}, description="options of snnconv convert")
    correct: tuple[dict[str, Any], ...] = Field((), description="options of snnconv correct, each")


PRESETS = TomlFiles(FOLDER, Preset, "preset", "method", "guide/compare", ("all",))


def names() -> list[str]:
    """The package's presets, sorted."""
    return PRESETS.names()


def listed() -> ListReport:
    """The package's presets, with a line on each."""
    items = [ListItem(name=name, summary=load(name).title) for name in names()]
    return ListReport(room="presets", items=items)


def load(name: str) -> Preset:
    """A preset by its name, or by the path of a TOML file.

    Raises:
        UsageError: there is none, it can't be read, or it has a key that is none.
    """
    return PRESETS.load(name)


def chosen(wanted: tuple[str, ...]) -> dict[str, Preset]:
    """The presets that a user names, ``all`` for those of the package, by a short name.

    Raises:
        UsageError: one of them can't be used, or two of them have one name.
    """
    return PRESETS.chosen(wanted)

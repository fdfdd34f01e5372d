"""A conversion method as a file: the options of its stages, and where they come from.

A preset is TOML: ``title``, ``reference``, ``deviations``, and a table for each stage,
``[calibrate]``, ``[convert]`` and any number of ``[[correct]]``, with the options of that stage.
Those of the package are in the folder ``presets``; a user's own are named by their path.
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from snnconv.core.validation import parameters
from snnconv.errors import UsageError, did_you_mean
from snnconv.reports import ListItem, ListReport

FOLDER = Path(__file__).parent / "presets"
_HOW = "see: snnconv docs guide/compare"


class Preset(BaseModel):
    """One conversion method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="what it does, in one line")
    reference: str = Field(description="where it is published")
    deviations: str = Field("none", description="what is done in another way here, and why")
    calibrate: dict[str, Any] = Field({}, description="options of snnconv calibrate")
    convert: dict[str, Any] = Field({}, description="options of snnconv convert")
    correct: tuple[dict[str, Any], ...] = Field((), description="options of snnconv correct, each")


def names() -> list[str]:
    """The package's presets, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def listed() -> ListReport:
    """The package's presets, with a line on each."""
    items = [ListItem(name=name, summary=load(name).title) for name in names()]
    return ListReport(room="presets", items=items)


def load(name: str) -> Preset:
    """A preset by its name, or by the path of a TOML file.

    Raises:
        UsageError: there is none, it can't be read, or it has a key that is none.
    """
    own = name.endswith(".toml")
    file = Path(name) if own else FOLDER / f"{name}.toml"
    if not own and name not in names():
        raise UsageError(
            "there is no method of that name", f"'{name}'", did_you_mean(name, [*names(), "all"])
        )
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no TOML, or nested too deep
        raise UsageError(f"preset {file} can't be read", str(error), _HOW) from error
    return parameters(Preset, given, f"preset {file}", "key")


def chosen(wanted: tuple[str, ...]) -> dict[str, Preset]:
    """The presets that a user names, ``all`` for those of the package, by a short name.

    Raises:
        UsageError: one of them can't be taken, or two of them have one name.
    """
    given = [name if name.endswith(".toml") else name.lower() for name in wanted]
    every = [each for name in given for each in (names() if name == "all" else [name])]
    found: dict[str, Preset] = {}
    for name in dict.fromkeys(every):
        short = Path(name).stem if name.endswith(".toml") else name
        if short in found:
            raise UsageError(
                "two methods have one name", f"'{short}'", f"rename one of the files: {name}"
            )
        found[short] = load(name)
    return found

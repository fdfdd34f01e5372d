"""Descriptions as TOML files: those of the package by their name, a user's own by their path."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from pydantic import BaseModel, ConfigDict, Field

from snnconv.core.validation import ModelType, parameters
from snnconv.errors import UsageError, did_you_mean


class PublishedMethod(BaseModel):
    """What a file says of a paper's method; a subclass adds the options of stages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(description="what it does, in one line")
    reference: str = Field(description="where it is published")
    deviations: str = Field("none", description="what is done in another way here, and why")


@dataclass(frozen=True)
class TomlFiles(Generic[ModelType]):
    """The descriptions of one kind: those of the package, and a user's own.

    Attributes:
        folder: the folder with those of the package.
        model: what a file holds; its ``title`` is one line for lists.
        kind: what a file is called, for error messages: ``preset``.
        noun: what it describes: ``method``.
        others: words that a command takes in place of a name.
        page: of the documentation, which describes the keys.
    """

    folder: Path
    model: type[ModelType]
    kind: str
    noun: str
    page: str
    others: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Return the names of those of the package, sorted."""
        return sorted(file.stem for file in self.folder.glob("*.toml"))

    def titles(self) -> dict[str, str]:
        """Return the titles of those of the package, by name."""
        return {name: str(getattr(self.load(name), "title", "")) for name in self.names()}

    def file(self, name: str) -> Path:
        """Return the file of a description.

        Args:
            name: a name of the package, or the path of a TOML file.

        Raises:
            UsageError: there is no description of that name.
        """
        if name.endswith(".toml"):
            return Path(name)
        if name not in self.names():
            remedy = did_you_mean(name, [*self.names(), *self.others])
            raise UsageError(f"there is no {self.noun} of that name", f"'{name}'", remedy)
        return self.folder / f"{name}.toml"

    def load(self, name: str) -> ModelType:
        """Read a description.

        Args:
            name: a name of the package, or the path of a TOML file.

        Raises:
            UsageError: there is none of that name, it can't be read, or it has an unknown key.
        """
        file, known = self.file(name), ", ".join(self.names())
        try:
            given = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            found, how = error.strerror or str(error), f"check the path, or use one of: {known}"
            raise UsageError(f"{self.kind} {file} can't be read", found, how) from error
        except (ValueError, RecursionError) as error:  # no TOML, or nested too deep
            how = f"see: snnconv docs {self.page}"
            raise UsageError(f"{self.kind} {file} can't be read", str(error), how) from error
        return parameters(self.model, given, f"{self.kind} {file}", "key")

    def chosen(self, wanted: tuple[str, ...]) -> dict[str, ModelType]:
        """Read the descriptions that a user names.

        Args:
            wanted: names, paths of TOML files, or ``all`` for those of the package.

        Returns:
            The descriptions by a short name.

        Raises:
            UsageError: one of them can't be used, or two of them have one name.
        """
        given = [name if name.endswith(".toml") else name.lower() for name in wanted]
        every = [each for name in given for each in (self.names() if name == "all" else [name])]
        found: dict[str, ModelType] = {}
        for name in dict.fromkeys(every):
            short = Path(name).stem if name.endswith(".toml") else name
            if short in found:
                raise UsageError(
                    f"two {self.noun}s have one name",
                    f"'{short}'",
                    f"rename one of the files: {name}",
                )
            found[short] = self.load(name)
        return found

"""Descriptions as TOML files: those of the package by their name, a user's own by their path."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from snnconv.core.validation import ModelType, parameters
from snnconv.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class TomlFiles(Generic[ModelType]):
    """The descriptions of one kind.

    Attributes:
        folder: of the package's.
        model: what a file holds.
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
        """The package's, sorted."""
        return sorted(file.stem for file in self.folder.glob("*.toml"))

    def file(self, name: str) -> Path:
        """Where one lies: a name, or the path of a TOML file.

        Raises:
            UsageError: there is none of that name.
        """
        if name.endswith(".toml"):
            return Path(name)
        if name not in self.names():
            remedy = did_you_mean(name, [*self.names(), *self.others])
            raise UsageError(f"there is no {self.noun} of that name", f"'{name}'", remedy)
        return self.folder / f"{name}.toml"

    def load(self, name: str) -> ModelType:
        """Read one.

        Raises:
            UsageError: there is none, it can't be read, or it has a key that is none.
        """
        file = self.file(name)
        try:
            given = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # no TOML, or nested too deep
            how = f"see: snnconv docs {self.page}"
            raise UsageError(f"{self.kind} {file} can't be read", str(error), how) from error
        return parameters(self.model, given, f"{self.kind} {file}", "key")

    def chosen(self, wanted: tuple[str, ...]) -> dict[str, ModelType]:
        """Read those that a user names, ``all`` for those of the package, by a short name.

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

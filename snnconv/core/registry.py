"""A room: a folder in which each file is one method, found by its file name.

Listing a room imports nothing; ``--neuron lm-ht`` is ``neurons/lm_ht.py``. A trailing underscore
keeps a Python keyword usable as a file name (``neurons/if_.py`` is ``if``).
"""

import ast
import difflib
import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar, cast

from snnconv.errors import UsageError

Method = TypeVar("Method")
LISTED = 20  # names in an error; of more, the closest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy that names the closest known name, and all of them where they are not too many."""
    known = sorted(known)
    if not known:
        return "there is none to choose from"
    close = difflib.get_close_matches(name, known, n=1)
    if len(known) > LISTED:
        few = difflib.get_close_matches(name, known, n=LISTED, cutoff=0.0)
        known = [*few, f"... ({len(known)} in all)"]
    listing = "one of: " + ", ".join(known)
    return f"did you mean '{close[0]}'? ({listing})" if close else f"use {listing}"


class Room(Generic[Method]):
    """The methods of one folder of the package.

    Args:
        folder: the folder's name inside the package, e.g. ``neurons``.
        kind: the singular, for error messages, e.g. ``neuron``.
        attribute: the name each method's file gives its method, e.g. ``NEURON``.
    """

    def __init__(self, folder: str, kind: str, attribute: str) -> None:
        self.folder = folder
        self.kind = kind
        self.attribute = attribute

    def names(self) -> list[str]:
        """The methods' names, sorted, read from the file names."""
        return sorted(self._files())

    def load(self, name: str) -> Method:
        """Import one method.

        Raises:
            UsageError: there is no such file.
        """
        module = importlib.import_module(
            f"snnconv.{self.folder.replace('/', '.')}.{self._file(name).stem}"
        )
        return cast(Method, getattr(module, self.attribute))

    def summary(self, name: str) -> str:
        """The first line of the method's docstring, read without importing it.

        Raises:
            UsageError: there is no such file.
        """
        source = self._file(name).read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def _files(self) -> dict[str, Path]:
        files = (Path(__file__).parent.parent / self.folder).glob("[!_]*.py")
        return {
            file.stem.rstrip("_").replace("_", "-"): file
            for file in files
            if re.search(rf"^{self.attribute}\b.*=", file.read_text(encoding="utf-8"), re.M)
        }

    def _file(self, name: str) -> Path:
        files = self._files()
        if name not in files:
            raise UsageError(
                f"there is no {self.kind} of that name", f"'{name}'", did_you_mean(name, files)
            )
        return files[name]

"""Registries of methods: neurons, surrogates, codings, statistics, metrics, tasks, data, ...

A method is one file. ``--neuron lm-ht`` is ``neurons/lm_ht.py``, and the file is a method because
it assigns ``NEURON``. Listing imports nothing. A trailing underscore lets a Python keyword be a
file name: ``neurons/if_.py`` is ``if``.

Methods come from outside, too: from an installed package by an entry point (``snnconv.neurons``),
or as ``file.py:NAME`` and ``package.module:NAME``, whose code is run because the user names it. A
checkpoint that names this code does not run it: that takes the user's consent.
"""

import ast
import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from snnconv.core import user_code
from snnconv.errors import CheckpointError, UsageError, did_you_mean

Method = TypeVar("Method")

PACKAGE = "snnconv"
ROOT = Path(__file__).parent.parent
CONSENT = "SNNCONV_ALLOW"
"""The environment variable that names code which checkpoints may run, with commas between."""


def is_code(name: str) -> bool:
    """Return whether a name is that of code: ``file.py:NAME`` or ``package.module:NAME``."""
    return ":" in name


def _sound(found: object) -> str:
    return ""


@dataclass(frozen=True)
class Registry(Generic[Method]):
    """The methods of one kind.

    Attributes:
        name: the plural, which ``snnconv ls`` takes: ``neurons``; entry points of installed
            packages are in the group ``snnconv.neurons``.
        kind: the singular, for error messages: ``neuron``.
        package: the package below ``snnconv`` that has a file for each method: ``neurons``.
        attribute: what a file assigns its method to: ``NEURON``.
        fault: what is wrong with an object as a method; empty if nothing is.
        named: code that the user has named in this process.
    """

    name: str
    kind: str
    package: str
    attribute: str
    fault: Callable[[object], str] = _sound
    named: dict[str, Method] = field(default_factory=dict, compare=False, repr=False)

    def names(self) -> list[str]:
        """Return the names of the package's own methods and of installed ones, sorted."""
        return sorted({*self._files(), *self._installed()})

    def own(self) -> list[str]:
        """Return the names of the package's own methods, sorted, for help and documentation."""
        return sorted(self._files())

    def load(self, name: str) -> Method:
        """Import a method that the user names.

        Raises:
            UsageError: there is no method of that name, or what is there is no method.
        """
        if name in (files := self._files()):
            module = importlib.import_module(f"{PACKAGE}.{self.package}.{files[name].stem}")
            return cast(Method, getattr(module, self.attribute))
        if is_code(name):
            self.named[name] = self._checked(name, user_code.method(name, self.kind))
            return self.named[name]
        entry = self._entry(name)
        return self._checked(name, user_code.method(entry.value, self.kind, installed=True))

    def recall(self, name: str) -> Method:
        """Import a method that a checkpoint names; run code only if the user named it.

        Raises:
            UsageError: there is no method of that name.
            CheckpointError: it is code that the user did not name, or that can't be imported.
        """
        if not is_code(name):
            return self.load(name)
        self.ask_consent(name)
        if name in self.named:
            return self.named[name]
        try:
            return self.load(name)
        except UsageError as error:
            raise CheckpointError(
                f"the checkpoint needs the code of {self.kind} '{name}' ({error.problem})",
                error.found,
                error.remedy,
            ) from error

    def ask_consent(self, name: str, instead: str = "") -> None:
        """Refuse code that a checkpoint names, unless the user named or allowed it.

        Args:
            name: of the code.
            instead: an option by which the user can name it; none if there is none.

        Raises:
            CheckpointError: the user did neither.
        """
        if name in self.named or name in os.environ.get(CONSENT, "").split(","):
            return
        allow = f"export {CONSENT}='{name}', and run the command again"
        raise CheckpointError(
            f"the checkpoint needs the code of {self.kind} '{name}'",
            "code that is not part of snnconv, and reading a checkpoint does not run it",
            f"if you trust that code: {instead + ', or ' if instead else ''}{allow}",
        )

    def summary(self, name: str) -> str:
        """Return the first line of the method's docstring, without importing the method.

        Raises:
            UsageError: there is no method of that name.
        """
        files = self._files()
        if name not in files:
            entry = self._entry(name)
            return f"{entry.value}, installed with {_distribution(entry)}"
        source = files[name].read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def _files(self) -> dict[str, Path]:
        files = ROOT.joinpath(*self.package.split(".")).glob("[!_]*.py")
        return {
            file.stem.rstrip("_").replace("_", "-"): file
            for file in files
            if re.search(rf"^{self.attribute}\b.*=", file.read_text(encoding="utf-8"), re.M)
        }

    def _installed(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=f"{PACKAGE}.{self.name}"):
            found.setdefault(entry.name.lower().replace("_", "-"), []).append(entry)
        return found

    def _entry(self, name: str) -> EntryPoint:
        installed = self._installed()
        if name not in installed:
            known = {*self._files(), *installed}
            raise UsageError(
                f"there is no {self.kind} of that name", f"'{name}'", did_you_mean(name, known)
            )
        first, *others = installed[name]
        if any(other.value != first.value for other in others):
            packages = ", ".join(map(_distribution, installed[name]))
            raise UsageError(
                f"{self.kind} '{name}' means more than one",
                f"entry points of {packages}",
                f"name the code: {first.value}",
            )
        return first

    def _checked(self, name: str, found: object) -> Method:
        if wrong := self.fault(found):
            raise UsageError(
                f"'{name}' is no {self.kind} that can be used",
                wrong,
                "see: snnconv docs own-methods",
            )
        return cast(Method, found)


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"


_ALL: tuple[Registry[Any], ...] = (
    Registry("datasets", "data set", "data.datasets", "DATASET"),
    Registry("neurons", "neuron", "neurons", "NEURON"),
    Registry("surrogates", "surrogate", "neurons.surrogates", "SURROGATE"),
    Registry("norms", "norm", "neurons.norms", "NORM"),
    Registry("statistics", "statistic", "calibration.statistics", "STATISTIC"),
    Registry("metrics", "metric", "metrics", "METRIC"),
    Registry("exports", "export format", "exports", "EXPORT"),
    Registry("corrections", "correction", "corrections", "CORRECTION"),
    Registry("tasks", "task", "tasks", "TASK"),
    Registry("losses", "loss", "training.losses", "LOSS"),
    Registry("codings", "coding", "simulation.codings", "CODING"),
)
REGISTRIES = {registry.name: registry for registry in _ALL}
"""All registries, by name."""

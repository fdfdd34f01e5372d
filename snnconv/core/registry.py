"""Registries of methods: which neurons, statistics, metrics and data sets there are.

A method is one file. ``--neuron lm-ht`` is ``neurons/lm_ht.py``, and the file is a method because
it assigns ``NEURON``. Listing imports nothing. A trailing underscore lets a Python keyword be a
file name: ``neurons/if_.py`` is ``if``.
"""

import ast
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from snnconv.errors import UsageError, did_you_mean

Method = TypeVar("Method")

PACKAGE = "snnconv"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Registry(Generic[Method]):
    """The methods of one kind.

    Attributes:
        kind: the singular, for error messages: ``neuron``.
        package: the package below ``snnconv`` that has a file for each method: ``neurons``.
        attribute: what a file assigns its method to: ``NEURON``.
    """

    kind: str
    package: str
    attribute: str

    def names(self) -> list[str]:
        """The methods' names, sorted, read from the file names."""
        return sorted(self._files())

    def load(self, name: str) -> Method:
        """Import one method.

        Raises:
            UsageError: there is no method of that name.
        """
        module = importlib.import_module(f"{PACKAGE}.{self.package}.{self._file(name).stem}")
        return cast(Method, getattr(module, self.attribute))

    def summary(self, name: str) -> str:
        """The first line of the method's docstring, read without importing it.

        Raises:
            UsageError: there is no method of that name.
        """
        source = self._file(name).read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def _files(self) -> dict[str, Path]:
        files = ROOT.joinpath(*self.package.split(".")).glob("[!_]*.py")
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


REGISTRIES: dict[str, Registry[Any]] = {
    "datasets": Registry("data set", "data.datasets", "DATASET"),
    "neurons": Registry("neuron", "neurons", "NEURON"),
    "statistics": Registry("statistic", "calibration.statistics", "STATISTIC"),
    "metrics": Registry("metric", "metrics", "METRIC"),
}
"""All registries, by the name that ``snnconv ls`` takes."""

"""Import packages that only some work needs, so that other work does not need them."""

import functools
import importlib
from types import ModuleType

from snnconv.errors import UsageError, one_line


def imported(module: str, work: str) -> ModuleType:
    """Return a module of a package that this work needs.

    Args:
        module: its full name, e.g. ``torchvision.datasets``.
        work: what needs it, for the error's first line.

    Raises:
        UsageError: the package is missing, or does not fit the other packages.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        # a torchvision that was built for another torch raises any of these
        raise UsageError(
            f"{work} needs the package {package}, which can't be imported",
            one_line(error),
            f"pip install --upgrade {package}",
        ) from error


@functools.cache
def kernels(module: str) -> ModuleType | None:
    """Return a module of compiled functions, or None if numba is not installed.

    Args:
        module: its full name, e.g. ``snnconv.calibration.histogram_kernel``.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        return None

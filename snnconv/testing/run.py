"""Find a method's kind, and ask the method for the laws of that kind."""

import importlib
from typing import Any

from snnconv.core import user_code
from snnconv.core.registry import REGISTRIES, is_code
from snnconv.errors import CheckFailedError, UsageError, did_you_mean
from snnconv.testing.base import Case, Kind

KINDS = (
    *("neurons", "norms", "statistics", "corrections"),
    *("metrics", "exports", "tasks", "datasets"),
)
"""The registries whose methods have laws; the laws lie in the file of the same name."""


def laws(method: Any, kind: str | None = None) -> list[Case]:
    """Return all laws that can be asked of a method, each a function without arguments.

    Args:
        method: a class or object; or a name, as options of commands take it: ``lm-ht``,
            ``npz:FILE``, ``file.py:NAME`` or ``package.module:NAME``.
        kind: the method's registry, one of :data:`KINDS`; by default the one that it fits.

    Raises:
        UsageError: there is no such method, or it is of no kind that has laws.
    """
    return [case for case in every_case(method, kind) if not case.left_out]


def every_case(method: Any, kind: str | None = None) -> list[Case]:
    """Return what :func:`laws` returns, with those laws that can't be asked of this method."""
    kinds = [_kind(name) for name in ([kind] if kind else KINDS)]
    given = method
    if isinstance(method, str):
        if own := [found for found in kinds if found.names(method)]:
            return list(own[0].cases(own[0].load(method)))
        if not is_code(method):
            known = [name for found in map(_kind, KINDS) for name in found.registry.names()]
            raise UsageError(
                "there is no method of that name", f"'{method}'", did_you_mean(method, known)
            )
        method = user_code.method(method.partition("?")[0], "method")
    faults = {found.registry.kind: found.registry.fault(method) for found in kinds}
    for found in kinds:
        if not faults[found.registry.kind]:
            named = found.loads and isinstance(given, str)
            return list(found.cases(found.load(given) if named else method))
    raise UsageError(
        f"{given if isinstance(given, str) else repr(given)} is no method that has laws",
        "; ".join(f"no {word}: {fault}" for word, fault in faults.items()),
        "see: snnconv docs own-methods",
    )


def check(method: Any, kind: str | None = None) -> None:
    """Ask a method for every law of its kind.

    Args:
        method: as :func:`laws` takes it.
        kind: as :func:`laws` takes it.

    Raises:
        UsageError: there is no such method, or it is of no kind that has laws.
        CheckFailedError: some laws do not hold; the error names all of them.
    """
    asked = laws(method, kind)
    broken = {str(case): wrong for case in asked if (wrong := case.broken())}
    if broken:
        raise CheckFailedError(
            f"{len(broken)} of {len(asked)} laws do not hold for {method}",
            "\n".join(f"{law}: {wrong}" for law, wrong in broken.items()),
            "mend the first, and check again",
        )


def check_neuron(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.neurons.base.Neuron`, or its name."""
    check(method, "neurons")


def check_norm(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.neurons.norms.base.Norm`, or its name."""
    check(method, "norms")


def check_statistic(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.calibration.histogram.Statistic`, or its name."""
    check(method, "statistics")


def check_correction(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.corrections.base.Correction`, or its name."""
    check(method, "corrections")


def check_dataset(method: Any) -> None:
    """Apply :func:`check` to a data set, as ``--data`` takes it, or to a function for one."""
    check(method, "datasets")


def check_export(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.exports.base.Export`, or its name."""
    check(method, "exports")


def check_metric(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.metrics.base.Metric`, or its name."""
    check(method, "metrics")


def check_task(method: Any) -> None:
    """Apply :func:`check` to a :class:`snnconv.tasks.base.Task`, or its name."""
    check(method, "tasks")


def _kind(name: str) -> Kind[Any]:
    if name not in REGISTRIES or name not in KINDS:
        raise UsageError("there are no laws of that kind", f"'{name}'", did_you_mean(name, KINDS))
    try:
        kind: Kind[Any] = importlib.import_module(f"snnconv.testing.{name}").KIND
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "hypothesis":
            raise UsageError(
                "laws can't be checked",
                "hypothesis is not installed",
                "pip install 'snnconv[testing]'",
            ) from error
        raise
    return kind

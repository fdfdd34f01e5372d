"""All lowerings, and the tables that front ends read, which are made from them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from torch import nn

from snnconv.frontends.lowering import (
    arithmetic,
    attention,
    axes,
    choices,
    convolution,
    einsums,
    functions,
    identities,
    indexing,
    matrices,
    normalisation,
    piecewise,
    pooling,
    reductions,
    reshaping,
    resizing,
    sequences,
)
from snnconv.frontends.lowering.contract import Lowering, Onnx

FILES = (
    *(convolution, matrices, einsums, normalisation, pooling, piecewise, functions, arithmetic),
    *(choices, reductions, reshaping, axes, indexing, identities, resizing, attention, sequences),
)

LOWERINGS: tuple[Lowering, ...] = tuple(one for file in FILES for one in file.LOWERINGS)
"""Every way to write every operation."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class OfModule(NamedTuple):
    """A module's lowering, and its attributes that are arguments after ``x``."""

    lowering: Lowering
    attributes: tuple[str, ...]


class OfOperator(NamedTuple):
    """An ONNX operator, and the lowering that it belongs to."""

    onnx: Onnx
    lowering: Lowering


def _table(entries: Iterable[tuple[Key, Value]]) -> dict[Key, Value]:
    """Make a table, and refuse a key that stands twice."""
    found: dict[Key, Value] = {}
    for key, value in entries:
        if key in found:
            raise ValueError(f"two lowerings name {key}")
        found[key] = value
    return found


def _overload(name: str) -> str:
    """Return an ATen operator's full name, as ``str(torch.ops.aten.relu.default)`` gives it."""
    return f"aten.{name}" if "." in name else f"aten.{name}.default"


MODULES: Mapping[type[nn.Module], OfModule] = _table(
    (kind, OfModule(one, attributes))
    for one in LOWERINGS
    for kind, attributes in one.modules.items()
)
"""PyTorch's modules."""

FUNCTIONS: Mapping[Callable[..., Any], Lowering] = _table(
    (function, one) for one in LOWERINGS for function in dict.fromkeys(one.functions)
)
"""PyTorch's functions and Python's operators."""

METHODS: Mapping[str, Lowering] = _table((name, one) for one in LOWERINGS for name in one.methods)
"""A tensor's methods, by their names."""

NAMED: Mapping[str, Lowering] = _table((name, one) for one in LOWERINGS for name in one.named)
"""Functions of other packages, by their full names."""

ATEN: Mapping[str, Lowering] = _table(
    (_overload(name), one) for one in LOWERINGS for name in one.aten
)
"""ATen's operators, by their full names."""

OPERATORS: Mapping[str, OfOperator] = _table(
    (name, OfOperator(onnx, one)) for one in LOWERINGS for name, onnx in one.onnx.items()
)
"""ONNX's operators."""

LEAVES = frozenset(f"{kind.__module__}.{kind.__qualname__}" for kind in MODULES)
"""Modules that the graph holds as one node, by the name that an exported program has for them."""


def of_target(target: object) -> Lowering | None:
    """Return the lowering of what a trace calls: a function, a method or an operator of ATen."""
    if isinstance(target, str):
        return METHODS.get(target)
    if callable(target) and (found := FUNCTIONS.get(target)):
        return found
    name = f"{getattr(target, '__module__', None)}.{getattr(target, '__qualname__', None)}"
    return NAMED.get(name) or ATEN.get(str(target))

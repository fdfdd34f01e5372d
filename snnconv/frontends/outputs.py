"""Networks with several outputs: their names, and the one that is chosen.

Outputs stand in tuples, lists, mappings and dataclasses, which may hold one another. The name of an
output is the way to it: ``logits``, ``0``, ``heads.1``.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import nn

from snnconv.errors import UnsupportedError, UsageError, did_you_mean


def leaves(value: Any, way: str = "") -> dict[str, Any]:
    """Return the values of a network's outputs by name, in their order; None is left out.

    A network that returns one value has one output without a name.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        parts = {str(key): part for key, part in value.items()}
    elif is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        parts = dict(zip(map(str, names), value, strict=True))
    else:
        return {way: value}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        found |= leaves(part, f"{way}.{name}" if way else name)
    return found


def choose(names: Sequence[str], wanted: str | None, whose: str) -> str:
    """Return the wanted output, which is given by its name or its number from 0.

    Args:
        names: the names of all outputs.
        wanted: one of them; None is enough if there is only one output.
        whose: what an error calls the network.

    Raises:
        UnsupportedError: there are several, and none is wanted.
        UsageError: there is no such output.
    """
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise UnsupportedError(
            f"no output of {whose} is chosen",
            f"{len(names)} outputs ({', '.join(names)})" if names else "no output",
            f"choose one by its name or number: --output {(*names, 'NAME')[0]}",
        )
    if wanted in names:
        return wanted
    if wanted.isdecimal() and int(wanted) < len(names):
        return names[int(wanted)]
    raise UsageError(
        f"{whose} has no output of that name or number",
        f"'{wanted}' of {len(names)} outputs ({', '.join(names) or 'one without a name'})",
        did_you_mean(wanted, names) if any(names) else "drop --output",
    )


def with_output(module: nn.Module, name: str) -> nn.Module:
    """Return the module with one of its outputs in place of all; it shares all tensors.

    It is of a class of its own, derived from the module's, so that modules inside keep their names.
    """
    inner = module.forward

    @functools.wraps(inner)
    def forward(self: nn.Module, *args: Any, **keywords: Any) -> Any:
        return leaves(inner(*args, **keywords))[name]

    kind = type(type(module).__name__, (type(module),), {"forward": forward})
    made: nn.Module = object.__new__(kind)
    vars(made).update({name: held for name, held in vars(module).items() if name != "forward"})
    return made

"""Values that users type: ``NAME=VALUE`` pairs, in options and behind a model's question mark."""

import json
from collections.abc import Iterable
from typing import Any

from snnconv.errors import UsageError


def parse_value(text: str) -> Any:
    """A JSON scalar where it is one (``4``, ``0.5``, ``true``, ``null``), else the text itself."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, int | float | bool | None) else text


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """``["a=1", "b=x"] -> {"a": 1, "b": "x"}``.

    Raises:
        UsageError: no equals sign.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UsageError("a parameter can't be read", f"'{pair}'", "write it as NAME=VALUE")
        found[name] = parse_value(value)
    return found

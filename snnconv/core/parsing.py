"""Values that users type: ``NAME=VALUE`` pairs, in options and behind a model's question mark."""

import math
from collections.abc import Iterable
from typing import Any

from snnconv.core.bounds import parsed_json
from snnconv.errors import UsageError


def parse_value(text: str) -> Any:
    """Return a JSON scalar or list if it is one (``4``, ``true``, ``["a"]``), else the text.

    ``NaN`` and numbers too large for a float are none: they stay text, for a parameter to refuse.
    """
    try:
        value = parsed_json(text)
    except ValueError:
        return text
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite and isinstance(value, int | float | list | None) else text


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """Return ``["a=1", "b=x"]`` as ``{"a": 1, "b": "x"}``.

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

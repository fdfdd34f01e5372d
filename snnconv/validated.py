"""``--param NAME=VALUE`` against the parameters that a method declares."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from snnconv.errors import UsageError
from snnconv.plugins import did_you_mean

ParamsType = TypeVar("ParamsType", bound=BaseModel)


def parameters(model: type[ParamsType], given: Mapping[str, Any], whose: str) -> ParamsType:
    """A method's parameters from what the user gave.

    Raises:
        UsageError: an unknown name, or a value out of its range.
    """
    known = list(model.model_fields)
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "drop it: it has no parameters"
            raise UsageError(f"{whose} has no such parameter", f"'{name}'", remedy)
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "together"
        raise UsageError(
            f"parameter {name} of {whose} can't be taken",
            f"{first['input']!r}",
            f"{first['msg'][0].lower()}{first['msg'][1:]}",
        ) from error

"""Values from outside: read from text, bounded, and held against the models that declare them.

An error says which value can't be used, and what it may be.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError, field_validator
from pydantic.fields import FieldInfo

from snnconv.core.bounds import DEPTH, LARGEST, NAME, SMALLEST
from snnconv.errors import UsageError, did_you_mean

ModelType = TypeVar("ModelType", bound=BaseModel)
Value = TypeVar("Value")

_REMEDIES = {
    "greater_than_equal": "give {ge} or more",
    "greater_than": "give more than {gt}",
    "less_than_equal": "give {le} or less",
    "less_than": "give less than {lt}",
    "int_parsing": "give a whole number",
    "float_parsing": "give a number",
    "value_error": "{error}",
}
"""Our words, by pydantic's type of error; for other types pydantic's words are used."""


class Given(BaseModel):
    """Values that a user gives: each can be computed with, looked up and written down."""

    @field_validator("*")
    @classmethod
    def _value_is_bounded(cls, value: Any) -> Any:
        return bounded(value)


def parameters(
    model: type[ModelType], given: Mapping[str, Any], whose: str, noun: str = "parameter"
) -> ModelType:
    """Return a method's parameters, or a stage's options, from what the user gave.

    Args:
        model: what is known.
        given: what the user gave.
        whose: for error messages, e.g. ``neuron 'if'``.
        noun: what the model's fields are called there.

    Raises:
        UsageError: an unknown name, or a value out of its range.
    """
    known = list(model.model_fields)
    given = spelled(model, given)
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "drop it: it has no parameters"
            raise UsageError(f"{whose} has no such {noun}", f"'{name}'", remedy)
    return checked(
        model, given, lambda name: f"{noun} {name} of {whose}", f"these {noun}s of {whose}"
    )


def checked(
    model: type[ModelType], given: Mapping[str, Any], what: Callable[[str], str], whole: str
) -> ModelType:
    """Return a model of these values.

    Raises:
        UsageError: a value out of its range; :func:`refusal` says which.
    """
    try:
        return model(**given)
    except ValidationError as error:
        raise refusal(model, error, what, whole) from error


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Return what a field may be, if that is a list of texts."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())


def spelled(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same options as the model spells them, from any case and ``-`` or ``_``."""
    fields = {_plain(name): name for name in model.model_fields}
    found = {
        name if name in model.model_fields else fields.get(_plain(name), name): value
        for name, value in given.items()
    }
    return {
        name: _spelled(model.model_fields[name], value) if name in model.model_fields else value
        for name, value in found.items()
    }


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _spelled(field: FieldInfo, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_spelled(field, one) for one in value)
    if not isinstance(value, str):
        return value
    if named := choices(field):
        return {_plain(name): name for name in named}.get(_plain(value), value)
    if isinstance(field.json_schema_extra, dict) and "registry" in field.json_schema_extra:
        # a method's name; with a dot it is a file or a module, which are as they are
        return re.sub(r"^[^.:?]+(?![^:?])", lambda head: _plain(head[0]).replace("_", "-"), value)
    return value


def refusal(
    model: type[BaseModel], error: ValidationError, what: Callable[[str], str], whole: str
) -> UsageError:
    """Return the error for the first wrong value of a model: which, what it was, what it may be.

    Args:
        model: the one that refused.
        error: what it says.
        what: a field's name as the message is to call it.
        whole: what it is to call all fields, where they do not go together.
    """
    first, name = error.errors()[0], _field(error)
    if not first["loc"]:
        found = ", ".join(f"{key}={value}" for key, value in dict(first["input"]).items())
        return UsageError(f"{whole} can't be used together", found, _allowed(first))
    field = model.model_fields.get(str(first["loc"][0]))
    allowed = _allowed(first)
    if field and first["type"] == "literal_error":
        allowed = did_you_mean(str(first["input"]), choices(field))
    means = f" ({field.description})" if field and field.description else ""
    found = "it is not given" if first["input"] == () else f"{first['input']!r}"
    return UsageError(f"{what(name)} can't be used", found, allowed + means)


def reason(error: ValidationError) -> str:
    """Return the first wrong value of a model in one line: ``std.0 is 0.0: ...``."""
    first = error.errors()[0]
    if not first["loc"]:
        return f"{error.title}: {_allowed(first)}"
    value = "" if first["type"] == "missing" else f" is {first['input']!r:.100}"
    return f"{error.title}: {_field(error)}{value}: {_allowed(first)}"


def _field(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.errors()[0]["loc"])


def _allowed(first: Mapping[str, Any]) -> str:
    """Return what a value may be, from an error of pydantic's."""
    template = _REMEDIES.get(first["type"])
    message: str = first["msg"][:1].lower() + first["msg"][1:]
    return template.format(**first.get("ctx", {})) if template else message


# Bounds


def bounded(value: Value) -> Value:
    """Return a value as it is, if it can be computed with, looked up and written down.

    Raises:
        ValueError: a number out of range, or a text or path that no file can have.
    """
    if isinstance(value, float):
        if value != 0 and not SMALLEST <= abs(value) <= LARGEST:  # NaN, too
            raise ValueError(f"give 0, or a number from {SMALLEST:g} to {LARGEST:g} in size")
    elif isinstance(value, str | Path):
        _text(str(value))
    elif isinstance(value, tuple):
        _each(value)
    return value


def _each(values: Iterable[object]) -> None:
    for value in values:
        bounded(value)


def _text(text: str) -> None:
    if "\0" in text:
        raise ValueError("leave out the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("give a name in UTF-8") from None
    # a name may stand behind a colon, as in npz:FILE, and what follows a question mark is no name
    for name in text.partition("?")[0].replace(":", "/").split("/"):
        if (size := len(name.encode())) > NAME:
            raise ValueError(f"give a name of at most {NAME} bytes: this one has {size}")


# Text


_OF_PYTHON = {"True": True, "False": False, "None": None}


def parse_value(text: str) -> Any:
    """Return a JSON scalar or list if it is one (``4``, ``true``, ``["a"]``), else the text.

    ``NaN`` and numbers too large for a float are none: they stay text, for a parameter to refuse.
    ``True``, ``False`` and ``None`` are what Python takes them for: as text, all are true.
    """
    if text in _OF_PYTHON:
        return _OF_PYTHON[text]
    try:
        value = parsed_json(text)
    except ValueError:
        return text
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite and isinstance(value, int | float | list | dict | None) else text


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


def parsed_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: no JSON, nested too deep, or with a whole number that no float can hold.
    """
    too_deep = f"JSON nested deeper than {DEPTH}"
    try:
        data = json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level, depth = [data], 0
    while level := [part for whole in level for part in _parts(whole)]:
        depth += 1
        if depth > DEPTH:
            raise ValueError(too_deep)
    return data


def _whole(digits: str) -> int:
    number = int(digits)
    if abs(number) > sys.float_info.max:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return number


def _parts(whole: Any) -> Iterable[Any]:
    if isinstance(whole, dict):
        return whole.values()
    return whole if isinstance(whole, list) else ()

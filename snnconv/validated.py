"""Options and parameters against the models that declare them, and errors that help."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from snnconv.errors import UsageError
from snnconv.plugins import did_you_mean

ModelType = TypeVar("ModelType", bound=BaseModel)

_REMEDIES = {
    "greater_than_equal": "give {ge} or more",
    "greater_than": "give more than {gt}",
    "less_than_equal": "give {le} or less",
    "less_than": "give less than {lt}",
    "literal_error": "give {expected}",
    "value_error": "{error}",
}
"""By pydantic's type of error; others are told in pydantic's words."""


def parameters(
    model: type[ModelType], given: Mapping[str, Any], whose: str, noun: str = "parameter"
) -> ModelType:
    """A method's parameters, or a stage's options, from what the user gave.

    Args:
        model: what is known.
        given: what the user gave.
        whose: for error messages, e.g. ``neuron 'if'``.
        noun: what the model's fields are called there.

    Raises:
        UsageError: an unknown name, or a value out of its range.
    """
    known = list(model.model_fields)
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "drop it: it has no parameters"
            raise UsageError(f"{whose} has no such {noun}", f"'{name}'", remedy)
    try:
        return model(**given)
    except ValidationError as error:
        raise refusal(model, error, lambda name: f"{noun} {name} of {whose}") from error


def refusal(
    model: type[BaseModel], error: ValidationError, what: Callable[[str], str]
) -> UsageError:
    """The first thing wrong with the values of a model: which, what it was, what it may be.

    Args:
        model: the one that refused.
        error: what it says.
        what: a field's name as the message is to call it.
    """
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "together"
    template = _REMEDIES.get(first["type"])
    message = first["msg"][:1].lower() + first["msg"][1:]
    allowed = template.format(**first["ctx"]) if template else message
    field = model.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    means = f" ({field.description})" if field and field.description else ""
    return UsageError(f"{what(name)} can't be taken", f"{first['input']!r}", allowed + means)

"""What may stand behind a data set's question mark."""

from collections.abc import Mapping

from snnconv.errors import UsageError
from snnconv.plugins import did_you_mean
from snnconv.values import parse_pairs


def whole_number(data_set: str, query: str, name: str, what: str, remedy: str) -> int | None:
    """The one option of a data set, a whole number from 1; none where there is no query.

    Args:
        data_set: its name, for errors.
        query: what stands behind the question mark, ``name=4``.
        name: of the option.
        what: it means, for errors.
        remedy: for a value that is none.

    Raises:
        UsageError: another option, or another value.
    """
    options = parse_pairs(query.split("&")) if query else {}
    for given in options:
        if given != name:
            raise UsageError(
                f"data set '{data_set}' has no such option",
                f"'{given}'",
                did_you_mean(given, [name]),
            )
    value = options.get(name)
    if value is not None and (type(value) is not int or value < 1):
        raise UsageError(f"{what} can't be taken", f"'{value}'", remedy)
    return value


def whole_numbers(data_set: str, query: str, defaults: Mapping[str, int]) -> dict[str, int]:
    """The options of a data set, whole numbers from 1, ``a=4&b=5``; their defaults if not given.

    Args:
        data_set: its name, for errors.
        query: what stands behind the question mark.
        defaults: by name.

    Raises:
        UsageError: another option, or another value.
    """
    options = parse_pairs(query.split("&")) if query else {}
    for name, value in options.items():
        if name not in defaults:
            raise UsageError(
                f"data set '{data_set}' has no such option",
                f"'{name}'",
                did_you_mean(name, list(defaults)),
            )
        if type(value) is not int or value < 1:
            example = "&".join(f"{key}={n}" for key, n in defaults.items())
            raise UsageError(
                f"{name} can't be taken", f"'{value}'", f"give a whole number from 1: ?{example}"
            )
    return {**defaults, **options}

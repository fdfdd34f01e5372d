"""Options behind a data set's question mark."""

from collections.abc import Mapping

from snnconv.core.validation import parse_pairs
from snnconv.errors import UsageError, did_you_mean


def whole_number(
    data_set: str, query: str, name: str, what: str, most: int, remedy: str
) -> int | None:
    """Return a data set's one option, a whole number from 1; None without a query.

    Args:
        data_set: its name, for errors.
        query: what stands behind the question mark, ``name=4``.
        name: of the option.
        what: it means, for errors.
        most: the largest value.
        remedy: for a value that is none.

    Raises:
        UsageError: another option, or another value.
    """
    return whole_numbers(data_set, query, {name: (what, most, remedy)}).get(name)


def whole_numbers(
    data_set: str, query: str, known: Mapping[str, tuple[str, int, str]]
) -> dict[str, int]:
    """Return the options that are given, each a whole number from 1.

    Args:
        data_set: its name, for errors.
        query: what stands behind the question mark, ``name=4&other=5``.
        known: by name, what it means, the largest value, and the remedy for a value that is none.

    Raises:
        UsageError: another option, or another value.
    """
    options = parse_pairs(query.split("&")) if query else {}
    for given, value in options.items():
        if given not in known:
            raise UsageError(
                f"data set '{data_set}' has no such option",
                f"'{given}'",
                did_you_mean(given, known),
            )
        what, most, remedy = known[given]
        if type(value) is not int or not 1 <= value <= most:
            raise UsageError(f"{what} can't be used", f"'{value}'", f"{remedy} (1 to {most})")
    return options

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core.validation import parse_pairs, parse_value
from snnconv.errors import ExitCode, UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("false", False),
        ("null", None),
        ("potential", "potential"),
        ("True", True),
        ("False", False),
        ("None", None),
        ("TRUE", "TRUE"),
        ("", ""),
        ("08", "08"),
        ("a=b", "a=b"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"quoted"', '"quoted"'),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("9" * 308, int("9" * 308)),
        ("9" * 309, "9" * 309),
    ],
)
def test_one_value(text, value):
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_what_json_writes_is_read_back(value):
    found = parse_value(json.dumps(value))
    assert found == value
    assert type(found) is type(value)


@given(st.text())
def test_any_text_is_some_value(text):
    json.dumps(parse_value(text), allow_nan=False)


def test_pairs():
    assert parse_pairs(["levels=2", "v0=0.5", "form=a=b", "empty="]) == {
        "levels": 2,
        "v0": 0.5,
        "form": "a=b",
        "empty": "",
    }
    assert parse_pairs([]) == {}


@pytest.mark.parametrize("pair", ["levels", "=2", "", "="])
def test_no_pair(pair):
    with pytest.raises(UsageError, match="write it as NAME=VALUE") as caught:
        parse_pairs(["v0=1", pair])
    assert caught.value.code == ExitCode.USAGE
    assert caught.value.found == f"'{pair}'"

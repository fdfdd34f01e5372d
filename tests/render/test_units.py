"""Numbers as they are read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnconv.render import units


@pytest.mark.parametrize(
    ("how", "value", "text"),
    [
        (units.number, 0, "0"),
        (units.number, 0.01234, "0.0123"),
        (units.number, 0.9999, "1.00"),
        (units.number, 9.999, "10.0"),
        (units.number, 1234.5, "1234"),
        (units.number, 1e-9, "1.00e-09"),
        (units.number, math.nan, "not finite"),
        (units.compact, 2.5, "2.5"),
        (units.compact, 100.0, "100"),
        (units.tick, 0.1 + 0.2, "0.3"),
        (units.tick, 97.25, "97.25"),
        (units.percent, 0.97204, "97.20%"),
        (units.percent, math.inf, "not finite"),
        (units.points, -0.00281, "-0.28"),
        (units.points, 0.001, "+0.10"),
        (units.points, -0.00001, "0.00"),
        (units.si, 0, "0"),
        (units.si, 512, "512"),
        (units.si, 999_999, "1.00 M"),
        (units.si, 1.44e9, "1.44 G"),
        (units.energy, 1.6, "1.60 mJ"),
        (units.energy, 5.2e-3, "5.20 uJ"),
        (units.energy, 9.999e-4, "1.00 uJ"),
        (units.energy, 0, "0 mJ"),
        (units.energy, 2e-12, "0.00200 pJ"),
        (units.seconds, 0.00184, "1.84 ms"),
        (units.seconds, 2e-5, "20.0 us"),
        (units.seconds, 65, "65.0 s"),
        (units.seconds, 200, "3 min 20 s"),
        (units.seconds, 7500, "2 h 05 min"),
        (units.memory, 611, "611 MiB"),
        (units.memory, 2048, "2.00 GiB"),
        (units.count, 60000, "60 000"),
        (units.value, None, "-"),
        (units.value, True, "yes"),
        (units.value, 99.9, "99.9"),
        (units.value, [1, "a"], "1, a"),
        (units.value, {"a": 1.0}, "a=1"),
        (units.printable, "a\x1b[31m\nb\u202e", "a?[31m?b?"),
        (units.typographic, "-0.28", "\u22120.28"),
        (units.typographic, "5.2 uJ (3%)", "5.2 \u00b5J (3%)"),
    ],
)
def test_values(how, value, text):
    assert how(value) == text


@given(st.floats(1e-5, 1e17))
def test_three_digits_are_right(x):
    text = units.si(x)
    number, _, prefix = text.partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}[prefix]
    assert float(number) * factor == pytest.approx(x, rel=0.006)


def test_nothing_stays_nothing():
    assert units.shown(units.percent, None) is None

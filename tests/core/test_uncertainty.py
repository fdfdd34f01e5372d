"""Intervals and tests against values by hand, and against counting every case."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_rel

from snnconv.core.uncertainty import (
    Z95,
    apart,
    discordant,
    mcnemar,
    packed,
    packed_numbers,
    paired,
    unpacked,
    unpacked_numbers,
    wilson,
)


def test_wilson_by_hand():
    # 5 of 10: z^2 = 3.8415; centre 0.5, half 1.96*sqrt(0.025 + 0.0096036)/1.38415 = 0.26340
    assert wilson(0.5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    # none of 10: 0 to z^2/(n + z^2) = 3.8415/13.8415
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(1.0, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert wilson(0.0, 10)[0] == 0.0
    assert wilson(1.0, 10)[1] == 1.0


@settings(deadline=None)
@given(st.integers(1, 20000), st.data())
def test_an_end_of_the_interval_is_z_deviations_from_the_share(n, data):
    """What defines it: the shares p with |found - p| <= z*sqrt(p*(1 - p)/n)."""
    k = data.draw(st.integers(0, n))
    for end in wilson(k / n, n):
        if 0 < end < 1:
            assert abs(k / n - end) == pytest.approx(Z95 * math.sqrt(end * (1 - end) / n))
    low, high = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k / n, n) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (-0.1, 5), (1.1, 5), (math.nan, 5)])
def test_what_is_no_share_has_no_interval(share, n):
    with pytest.raises(ValueError, match="no share"):
        wilson(share, n)


def test_intervals_apart():
    assert apart((0.1, 0.2), (0.3, 0.4))
    assert apart((0.3, 0.4), (0.1, 0.2))
    assert not apart((0.1, 0.3), (0.3, 0.4))


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 6, 2 / 64),
        (1, 5, 2 * (1 + 6) / 64),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_by_hand(one, other, p):
    assert mcnemar(one, other) == mcnemar(other, one) == p


@pytest.mark.parametrize("n", range(1, 11))
def test_mcnemar_against_every_case(n):
    """Each discordant sample goes either way, like a coin."""
    cases = [sum(coins) for coins in itertools.product((0, 1), repeat=n)]
    for one in range(n + 1):
        as_far = sum(abs(n - 2 * case) >= abs(n - 2 * one) for case in cases)
        assert mcnemar(one, n - one) == as_far / 2**n


@pytest.mark.parametrize(("one", "other"), [(600, 401), (2600, 2400), (4000, 10)])
def test_mcnemar_of_many(one, other):
    expected = binomtest(one, one + other, 0.5).pvalue
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.booleans(), max_size=70), st.data())
def test_bits_come_back(right, data):
    n = len(right)
    other = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    bits, others = unpacked(packed(right), n), unpacked(packed(other), n)
    assert bits.bit_count() == sum(right)
    pairs = list(zip(right, other, strict=True))
    assert discordant(bits, others) == (pairs.count((True, False)), pairs.count((False, True)))


def test_the_first_sample_is_the_highest_bit():
    assert packed([True, False, False, True]) == "kA=="  # 1001 0000


@pytest.mark.parametrize(("text", "n"), [("kA==", 9), ("kA==", 3), ("no base64", 8), ("\u00e9", 4)])
def test_bits_of_other_samples_are_refused(text, n):
    with pytest.raises(ValueError, match=r"."):
        unpacked(text, n)


def test_paired_by_hand():
    """Differences 1, 1, 4: mean 2, variance 3, so t = 2/sqrt(3/3) = 2, and erfc(sqrt(2))."""
    assert paired([2, 3, 9], [1, 2, 5]) == pytest.approx(math.erfc(2**0.5))
    assert paired([1, 2, 5], [2, 3, 9]) == paired([2, 3, 9], [1, 2, 5])
    assert paired([1, 2], [1, 2]) == 1.0
    assert paired([2, 3], [1, 2]) == 0.0
    assert paired([1, 2], [1 + 1e-7, 2 + 3e-7]) == 1.0  # rounding is no difference


@settings(deadline=None)
@given(st.integers(100, 400), st.floats(-0.3, 0.3), st.integers(0, 99))
def test_of_a_hundred_samples_it_is_students(n, shift, seed):
    """The bound in its docstring holds around a p of 0.05."""
    generator = random.Random(seed)
    one = [generator.expovariate(1) for _ in range(n)]
    other = [value + shift + generator.gauss(0, 1) for value in one]
    found, students = paired(one, other), ttest_rel(one, other).pvalue
    assert abs(found - students) < 0.004
    assert abs(found - students) < 0.0035 or not 0.03 < found < 0.07


@pytest.mark.parametrize(("one", "other"), [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_what_is_no_pair_of_samples_is_not_tested(one, other):
    with pytest.raises(ValueError, match=r"samples|argument"):
        paired(one, other)


@given(st.lists(st.floats(0, 1e9, width=32), max_size=40))
def test_numbers_of_samples_come_back(values):
    assert unpacked_numbers(packed_numbers(values), len(values)) == tuple(values)


@pytest.mark.parametrize("text", [packed_numbers([1.0]), packed_numbers([1.0, math.nan]), "?"])
def test_what_is_no_list_of_so_many_numbers_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        unpacked_numbers(text, 2)

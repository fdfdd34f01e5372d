"""Chance, and what of the input looks wrong."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core.metadata import DataInfo
from snnconv.core.uncertainty import at_least
from snnconv.frontends.ann_accuracy import Seen, candidates, misfit, near_chance


def info(mean=(0.5,), std=(0.25,)):
    return DataInfo(spec="own", shape=(3, 4, 4), classes=tuple("abc"), mean=mean, std=std)


@given(st.integers(1, 60), st.data(), st.integers(2, 12))
def test_the_tail_is_exact(n, data, classes):
    right = data.draw(st.integers(0, n))
    p = 1 / classes
    exact = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))
    assert at_least(right, n, p) == pytest.approx(exact, rel=1e-9)


def test_by_hand():
    assert at_least(2, 2, 0.5) == pytest.approx(0.25)
    assert at_least(0, 2, 0.5) == 1


@pytest.mark.parametrize(
    ("right", "samples", "classes", "near"),
    [
        (100, 1000, 10, True),
        (110, 1000, 10, True),
        (200, 1000, 10, False),
        (0, 1000, 10, True),
        (3, 3, 2, False),  # a perfect network would look like that
        (1, 3, 2, False),
        (5, 5, 1, False),
        (2, 1024, 1000, True),
        (700, 1024, 1000, False),
    ],
)
def test_near_chance(right, samples, classes, near):
    assert near_chance(Seen(right, samples, 0, 1), classes) is near


@pytest.mark.parametrize(
    ("low", "high", "mean", "std", "text"),
    [
        (0, 1, (0.5,), (0.25,), None),
        (0, 1, (0.0,), (1 / 255,), None),  # raw pixels, told as such
        (0, 255, (0.0,), (1.0,), None),  # as they are
        (0, 255, (123.0,), (58.0,), None),
        (-3, 3, (0.0,), (1.0,), None),
        (-3, 3, (0.1,), (0.9,), None),
        (0, 1, (123.0,), (58.0,), "look like those of pixels"),
        (0, 255, (0.48, 0.45, 0.4), (0.23, 0.22, 0.22), "as pixels have"),
    ],
)
def test_values_and_statistics_that_do_not_go_together(low, high, mean, std, text):
    found = misfit(Seen(1, 1, low, high), info(mean, std))
    assert found is None if text is None else text in found


def test_candidates_are_what_their_options_say():
    """Of values v = raw / 255: (raw / scale - mean) / std, by hand."""
    found = candidates(info(), 255.0)
    raw = 51.0
    for options, made in found.items():
        words = options.split()
        scale, mean, std = (float(words[k].split(",")[0]) for k in (1, 3, 5))
        expected = (raw / scale - mean) / std
        assert (raw / 255 - made.mean[0]) / made.std[0] == pytest.approx(expected)
    assert any("0.485,0.456,0.406" in options for options in found)

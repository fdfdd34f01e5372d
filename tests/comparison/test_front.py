"""The front of accuracy against cost: by its definition, pair by pair."""

from hypothesis import given
from hypothesis import strategies as st

from snnconv.comparison.front import Judged, front, worth_it

PLACES = st.tuples(st.integers(0, 4), st.integers(0, 4))
CELLS = st.dictionaries(st.integers(), PLACES, max_size=12)


def test_by_hand():
    cells = {"dear": (0.9, 5.0), "cheap": (0.8, 1.0), "beaten": (0.8, 2.0), "worse": (0.7, 1.0)}
    assert front(cells) == {"dear", "cheap"}


def test_equal_cells_stand_side_by_side():
    assert front({"one": (0.5, 1.0), "other": (0.5, 1.0)}) == {"one", "other"}


@given(CELLS)
def test_a_cell_is_on_it_exactly_if_none_beats_it(cells):
    found = front(cells)
    for key, (accuracy, cost) in cells.items():
        better = [k for k, (a, c) in cells.items() if a >= accuracy and c <= cost]
        assert (key in found) == all(cells[k] == (accuracy, cost) for k in better)


@given(CELLS)
def test_every_cell_is_beaten_or_equalled_by_one_on_it(cells):
    found = front(cells)
    for accuracy, cost in cells.values():
        assert any(cells[k][0] >= accuracy and cells[k][1] <= cost for k in found)


# Beyond chance


def cell(right, cost, n=200, spread=None):
    """A cell whose first samples are right; with a spread its cost differs between samples."""
    costs = None if spread is None else [cost + spread * (-1) ** i for i in range(n)]
    bits = sum(1 << i for i in range(right))
    return Judged(right / n, n, cost, bits, costs)


def test_what_chance_explains_is_worth_nothing():
    """6 samples alone are p = 2/64; 5 are p = 2/32."""
    cheap, six, five = cell(150, 1.0), cell(156, 2.0), cell(155, 2.0)
    assert worth_it({"cheap": cheap, "dear": six}) == {"cheap", "dear"}
    assert worth_it({"cheap": cheap, "dear": five}) == {"cheap"}
    assert front({"cheap": (0.75, 1.0), "dear": (0.775, 2.0)}) == {"cheap", "dear"}


def test_a_cell_that_is_cheaper_by_chance_does_not_beat_one_that_is_more_accurate():
    """Differences of mean 1 and deviation s over 200 samples: t = 14.1/s."""
    better = cell(190, 101.0, spread=0.0)
    assert worth_it({"better": better, "cheap": cell(150, 100.0, spread=7.0)}) == {
        "better",
        "cheap",
    }
    assert worth_it({"better": better, "cheap": cell(150, 100.0, spread=8.0)}) == {"better"}


def test_cells_that_chance_can_not_tell_apart_stand_side_by_side():
    one, other = cell(150, 100.0, spread=9.0), cell(151, 100.1, spread=0.0)
    assert worth_it({"one": one, "other": other}) == {"one", "other"}


def test_under_a_hundred_samples_nothing_is_worth_it():
    cells = {"a": cell(90, 1.0, n=99), "b": cell(10, 2.0, n=99)}
    assert worth_it(cells) == set()


def test_without_the_samples_intervals_must_be_apart():
    old = Judged(0.75, 200, 1.0)
    assert worth_it({"old": old, "near": Judged(0.80, 200, 2.0)}) == {"old"}
    assert worth_it({"old": old, "far": Judged(0.95, 200, 2.0)}) == {"old", "far"}


@given(
    st.dictionaries(st.integers(), st.tuples(st.integers(0, 200), st.integers(1, 4)), max_size=9)
)
def test_the_cheapest_is_worth_it_unless_a_better_one_costs_no_more(places):
    cells = {key: cell(right, float(cost)) for key, (right, cost) in places.items()}
    found = worth_it(cells)
    for key, one in cells.items():
        if all(one.cost < other.cost for k, other in cells.items() if k != key):
            assert key in found

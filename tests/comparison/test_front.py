"""The front of accuracy against cost: by its definition, pair by pair."""

from hypothesis import given
from hypothesis import strategies as st

from snnconv.comparison.front import front

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

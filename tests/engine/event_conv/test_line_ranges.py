from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from snnconv.engine.event_conv.events import line_ranges


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 4), st.data())
def test_they_are_all_lines_once_and_in_order(images, lines, most, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, images * lines), min_size=2, max_size=5)))
    seen = []
    for first, last, top, bottom in line_ranges(pairwise(cuts), lines, most):
        assert first < last <= first + most
        assert 0 <= top < bottom <= lines
        assert last == first + 1 or (top, bottom) == (0, lines)
        seen += [
            image * lines + line for image in range(first, last) for line in range(top, bottom)
        ]
    assert seen == list(range(cuts[0], cuts[-1]))


def test_whole_images_go_together():
    found = list(line_ranges(iter([(3, 30)]), 4, 3))
    assert found == [
        (0, 1, 3, 4),
        (1, 4, 0, 4),
        (4, 7, 0, 4),
        (7, 8, 0, 2),
    ]

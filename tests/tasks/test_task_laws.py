"""What every task in the room obeys: the laws of :mod:`snnconv.testing.tasks`."""

import pytest
from helpers.laws import cases

from snnconv.tasks.base import TASKS


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert TASKS.own() == [
        *("classification", "multi-label", "none", "ranking", "regression", "segmentation"),
    ]


@pytest.mark.parametrize("law", cases(TASKS))
def test_the_laws_of_tasks_hold(law):
    law()

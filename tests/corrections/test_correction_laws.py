"""What every correction in the room obeys: the laws of :mod:`snnconv.testing.corrections`."""

import pytest
from helpers.laws import cases

from snnconv.corrections.base import CORRECTIONS


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"amplitude", "bias", "ltl", "potential", "steps", "weights"} <= set(CORRECTIONS.names())


@pytest.mark.parametrize("law", cases(CORRECTIONS))
def test_the_laws_of_corrections_hold(law):
    law()

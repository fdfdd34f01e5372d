"""What every correction in the room obeys: the laws of :mod:`snnconv.testing.corrections`."""

import pytest
from helpers.laws import cases

from snnconv.corrections.base import CORRECTIONS

LONG = {(name, "what is not refused can be corrected") for name in ("ltl", "weights")}
"""What trains every layer for each neuron."""


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"amplitude", "bias", "ltl", "potential", "steps", "weights"} <= set(CORRECTIONS.names())


@pytest.mark.parametrize("law", cases(CORRECTIONS, LONG))
def test_the_laws_of_corrections_hold(law):
    law()

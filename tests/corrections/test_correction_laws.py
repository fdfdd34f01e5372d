"""What every correction in the room obeys: the laws of :mod:`snnconv.testing.corrections`."""

import pytest

from snnconv.corrections.base import CORRECTIONS
from snnconv.testing import laws

LONG = {("weights", "what is not refused can be corrected")}
"""What trains every layer for each neuron."""

CASES = [
    pytest.param(
        name, law, id=f"{name}-{law}", marks=pytest.mark.long if (name, str(law)) in LONG else ()
    )
    for name in CORRECTIONS.names()
    for law in laws(name, "corrections")
]


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"amplitude", "bias", "potential", "steps", "weights"} <= set(CORRECTIONS.names())
    assert {
        (name, str(law)) for name in CORRECTIONS.names() for law in laws(name, "corrections")
    } > LONG


@pytest.mark.parametrize(("name", "law"), CASES)
def test_the_laws_of_corrections_hold(name, law):
    law()

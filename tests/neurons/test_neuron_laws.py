"""What every neuron in the room obeys: the laws of :mod:`snnconv.testing.neurons`."""

import pytest

from snnconv.neurons.base import NEURONS
from snnconv.testing import laws

CASES = [(name, law) for name in NEURONS.names() for law in laws(name, "neurons")]


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"if", "lif", "lm-h", "lm-ht", "msat", "signed"} <= set(NEURONS.names())


@pytest.mark.parametrize(("name", "law"), CASES, ids=str)
def test_the_laws_of_neurons_hold(name, law):
    law()

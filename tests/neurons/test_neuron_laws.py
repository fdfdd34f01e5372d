"""What every neuron in the room obeys: the laws of :mod:`snnconv.testing.neurons`."""

import pytest
from helpers.laws import cases

from snnconv.neurons.base import NEURONS


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"if", "lif", "lm-h", "lm-ht", "msat", "signed"} <= set(NEURONS.names())


@pytest.mark.parametrize("law", cases(NEURONS))
def test_the_laws_of_neurons_hold(law):
    law()

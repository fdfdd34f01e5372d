"""What every export format in the room obeys: the laws of :mod:`snnconv.testing.exports`."""

import pytest
from helpers.laws import cases

from snnconv.exports.base import EXPORTS

LONG = {(format_, "what is no obstacle is written") for format_ in ("onnx", "pt2")}
"""What traces a network for each neuron."""


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"onnx", "torch"} <= set(EXPORTS.names())


@pytest.mark.parametrize("law", cases(EXPORTS, LONG))
def test_the_laws_of_exports_hold(law):
    law()

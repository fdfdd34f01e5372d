"""What every export format in the room obeys: the laws of :mod:`snnconv.testing.exports`."""

import pytest

from snnconv.exports.base import EXPORTS
from snnconv.testing import laws

LONG = {("onnx", "what is no obstacle is written")}
"""What traces a network for each neuron."""

CASES = [
    pytest.param(
        name, law, id=f"{name}-{law}", marks=pytest.mark.long if (name, str(law)) in LONG else ()
    )
    for name in EXPORTS.names()
    for law in laws(name, "exports")
]


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"onnx", "torch"} <= set(EXPORTS.names())
    assert {(name, str(law)) for name in EXPORTS.names() for law in laws(name, "exports")} > LONG


@pytest.mark.parametrize(("name", "law"), CASES)
def test_the_laws_of_exports_hold(name, law):
    law()

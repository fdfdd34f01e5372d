"""What every metric in the room obeys: the laws of :mod:`snnconv.testing.metrics`."""

import pytest

from snnconv.metrics.base import METRICS
from snnconv.testing import laws
from snnconv.testing.metrics import NETS, figures, leaves

CASES = [(name, law) for name in METRICS.names() for law in laws(name, "metrics")]


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"accuracy", "conversion-error", "energy", "firing-rate", "sin", "synops"} <= set(
        METRICS.names()
    )


@pytest.mark.parametrize(("name", "law"), CASES, ids=str)
def test_the_laws_of_metrics_hold(name, law):
    law()


@pytest.mark.parametrize("name", METRICS.names())
@pytest.mark.parametrize("net", NETS)
def test_no_figure_of_ours_is_negative(name, net):
    for place, value in leaves(figures(METRICS.load(name), net)):
        assert value is None or value >= 0, place

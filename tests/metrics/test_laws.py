"""What every metric in the room obeys: the laws of :mod:`snnconv.testing.metrics`."""

import pytest
from helpers.laws import cases

from snnconv.metrics.base import METRICS
from snnconv.testing.metrics import NETS, figures, leaves


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"accuracy", "conversion-error", "energy", "firing-rate", "sin", "synops"} <= set(
        METRICS.names()
    )


@pytest.mark.parametrize("law", cases(METRICS))
def test_the_laws_of_metrics_hold(law):
    law()


@pytest.mark.parametrize("name", METRICS.names())
@pytest.mark.parametrize("net", NETS)
def test_no_figure_of_ours_is_negative(name, net):
    for place, value in leaves(figures(METRICS.load(name), net)):
        assert value is None or value >= 0, place

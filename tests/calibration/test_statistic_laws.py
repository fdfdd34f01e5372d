"""What every statistic in the room obeys: the laws of :mod:`snnconv.testing.statistics`."""

import pytest
import torch
from helpers.laws import cases

from snnconv.calibration.histogram import STATISTICS
from snnconv.testing.statistics import Thresholds, activations


def test_the_room():
    """What is asked: an empty room would obey every law."""
    assert {"max", "mse", "percentile"} <= set(STATISTICS.names())


@pytest.mark.parametrize("law", cases(STATISTICS))
def test_the_laws_of_statistics_hold(law):
    law()


@pytest.mark.parametrize("kind", activations())
def test_the_maximum_is_exact(kind):
    rows = activations()[kind]
    found = Thresholds(STATISTICS.load("max"), {})(rows)
    assert torch.equal(found, rows.amax(0).double())
    assert STATISTICS.load("max").exact

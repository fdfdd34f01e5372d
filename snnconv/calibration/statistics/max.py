"""Threshold = the largest activation: nothing is clipped, small activations spike late.

``theta = max a``.

Shape:
    Histogram of ``channels`` -> ``[channels]``.

Reference:
    MSAT Algorithm 1, lines 1-6; Diehl et al. 2015; RMP (Han et al. 2020).

Deviations:
    None.
"""

from torch import Tensor

from snnconv.calibration.histogram import Histogram, Statistic
from snnconv.core.metadata import Parameters, Record


class Params(Parameters):
    """No parameters."""


def threshold(histogram: Histogram, params: Record) -> Tensor:
    """``max a``, exact."""
    return histogram.maximum.double()


STATISTIC = Statistic(Params, threshold, exact=True)

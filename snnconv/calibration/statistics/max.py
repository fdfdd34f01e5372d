"""Threshold = the largest activation: nothing is clipped, small activations spike late.

``theta = max a``.

Shape:
    Histogram of ``channels`` -> ``[channels]``.

Reference:
    MSAT Algorithm 1, lines 1-6; Diehl et al. 2015; RMP (Han et al. 2020).

Deviations:
    ``scale`` below 1 is RMP's scaling, and the heuristic of MSAT's Fig. 4 (1, 0.8, ..., 0.2).
"""

from torch import Tensor

from snnconv.calibration.histogram import Histogram, Statistic, ThresholdParams
from snnconv.core.metadata import Record


class Params(ThresholdParams):
    """The scale alone."""


def threshold(histogram: Histogram, params: Record) -> Tensor:
    """Return ``max a``, exact."""
    return histogram.maximum.double()


STATISTIC = Statistic(Params, threshold, exact=True)

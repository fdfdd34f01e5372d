"""Threshold = a high percentile of the activations: outliers are clipped.

``theta = min { x : share(a <= x) >= p/100 }`` over all activations of the site, zeros included.

Shape:
    Histogram of ``channels`` -> ``[channels]``.

Reference:
    Rueckauer et al. 2017, section 2.2.1 (p = 99.9).

Deviations:
    From a histogram of relative bins: within ``Histogram.relative_error`` of the exact percentile
    (0.05 % a layer, 0.4 % a channel). Where so few activations are positive that the percentile is
    zero, it is taken over the positive ones only: a threshold is never zero.
"""

import torch
from pydantic import Field
from torch import Tensor

from snnconv.calibration.histogram import Histogram, Statistic, ThresholdParams
from snnconv.core.metadata import Record


class Params(ThresholdParams):
    """The percentile."""

    percentile: float = Field(99.9, gt=0, le=100, description="p, of all activations")


def threshold(histogram: Histogram, params: Record) -> Tensor:
    """Return the p-th percentile."""
    assert isinstance(params, Params)
    share = params.percentile / 100
    value = histogram.quantile(share)
    return torch.where(value > 0, value, histogram.quantile(share, zeros=False))


STATISTIC = Statistic(Params, threshold)

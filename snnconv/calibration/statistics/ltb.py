"""Threshold = what local learning of the threshold arrives at: it rises as long as much is clipped.

From ``theta = 0`` on, ``steps`` times::

    theta += lr * 2 * mean(max(a - theta, 0))

the gradient of the squared error of clipping, ``mean((a - min(a, theta))^2)``, times ``-lr``. Few
steps clip more and are better at a small T; with many, theta comes near the maximum.

Shape:
    Histogram of ``channels`` -> ``[channels]``.

Reference:
    Bu et al. 2025, *Inference-Scale Complexity in ANN-SNN Conversion for High-Performance and
    Low-Power Applications* (LTB): its local learning of thresholds; 1,000 steps favour a small T,
    5,000 a large one.

Deviations:
    A step of the paper takes the mean over a batch of 100 samples, and what sites before clip is
    clipped there, too. Here each step takes the mean over all calibration samples, from their
    histogram, and sites before clip nothing. Theta is at most the maximum. The paper reads the
    logits late, and averages them from a step on that thresholds and means give: here they are read
    from the first step on.
"""

import torch
from pydantic import Field
from torch import Tensor

from snnconv.calibration.counts import PART
from snnconv.calibration.histogram import Histogram, Statistic, ThresholdParams
from snnconv.core.bounds import COUNT
from snnconv.core.metadata import Record


class Params(ThresholdParams):
    """How long thresholds learn."""

    steps: int = Field(1000, ge=1, le=COUNT, description="of learning; more clip less")
    lr: float = Field(1.0, gt=0, le=1, description="learning rate, the paper's eta")


def threshold(histogram: Histogram, params: Record) -> Tensor:
    """Return the threshold after all steps; 0 for a channel without any activation."""
    assert isinstance(params, Params)
    return torch.cat([_learned(part, params) for part in histogram.parts(4 * PART)])


def _learned(histogram: Histogram, params: Params) -> Tensor:
    """Return the thresholds of some channels."""
    counts, sums = histogram.counts.double(), histogram.sums()
    every = (histogram.counts.sum(1) + histogram.zeros).clamp(min=1)
    means = sums / counts.clamp(min=1)
    # of all bins from a bin on, and one more bin that nothing lies in
    number, total = (
        torch.nn.functional.pad(of.flip(1).cumsum(1).flip(1), (0, 1)) for of in (counts, sums)
    )
    edges, top = histogram.edges(), histogram.maximum.double()
    theta = torch.zeros_like(top)
    for _ in range(params.steps):
        at = torch.searchsorted(edges, theta[:, None], right=True) - 1
        at = at.clamp(0, counts.shape[1] - 1)
        above = total.gather(1, at + 1) - theta[:, None] * number.gather(1, at + 1)
        within = counts.gather(1, at) * (means.gather(1, at) - theta[:, None]).clamp(min=0)
        rise = 2 * params.lr * (above + within).squeeze(1) / every
        theta = torch.minimum(theta + rise, top)
    return theta


STATISTIC = Statistic(Params, threshold)

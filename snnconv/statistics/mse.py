"""Threshold = the one whose spike counts represent the activations with the least squared error.

``theta = argmin E[(a - q(a))^2]``, ``q(a) = theta/T * clip(floor(a*T/theta + v0), 0, T)``: what an
IF neuron under constant current ``a`` puts out in ``T`` steps (``v0`` in units of theta).

Shape:
    Histogram of ``channels`` -> ``[channels]``.

Reference:
    The idea of Deng & Gu 2021 (Opt) and Li et al. 2021 (Calibration), which balance clipping
    against rounding.

Deviations:
    Neither paper's search: here a grid over (0, max], then a finer one around its best, on the
    histogram's bins in place of the activations: where a bin is not far narrower than ``theta/T``
    (many steps, or the wide bins of single channels) the error found may be some percent above the
    least, with ``v0 = 0`` above all.
"""

import torch
from pydantic import Field
from torch import Tensor

from snnconv.bounds import STEPS
from snnconv.facts import Facts, Parameters
from snnconv.statistic import Histogram, Statistic

_GRID = 200
_LARGEST = 2**20  # numbers in a table of candidates by values, to bound memory


class Params(Parameters):
    """The simulation the threshold is to be best for."""

    timesteps: int = Field(32, ge=1, le=STEPS, description="T")
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential, units of theta")


def threshold(histogram: Histogram, params: Facts) -> Tensor:
    """The threshold of least squared error."""
    assert isinstance(params, Params)
    centres = histogram.centres()
    found = torch.zeros(len(histogram.maximum), dtype=torch.float64)
    for channel, (counts, top) in enumerate(
        zip(histogram.counts, histogram.maximum.double(), strict=True)
    ):
        used = torch.nonzero(counts).flatten()
        if len(used) == 0:
            continue
        values, weights = torch.minimum(centres[used], top), counts[used].double()
        step = top / _GRID
        best = _search(values, weights, torch.arange(1, _GRID + 1) * step, params)
        finer = best + step * torch.linspace(-1, 1, _GRID, dtype=torch.float64)
        found[channel] = _search(values, weights, finer[finer > 0].clamp(max=top), params)
    return found


def _search(values: Tensor, weights: Tensor, candidates: Tensor, params: Params) -> Tensor:
    """The candidate ``[k]`` of least error, for values and their weights ``[n]``."""
    at_once = max(1, _LARGEST // len(values))
    errors = torch.cat(
        [_errors(values, weights, some, params) for some in candidates.split(at_once)]
    )
    return candidates[errors.argmin()]


def _errors(values: Tensor, weights: Tensor, theta: Tensor, params: Params) -> Tensor:
    T, theta = params.timesteps, theta[:, None]
    spikes = torch.floor(values * (T / theta) + params.v0).clamp_(0, T)
    return (values - spikes.mul_(theta / T)).square_() @ weights


STATISTIC = Statistic(Params, threshold)

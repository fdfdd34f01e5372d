"""Threshold = the one whose spike counts represent the activations with the least squared error.

``theta = argmin E[(a - q(a))^2]``, ``q(a) = theta/T * clip(floor(a*T/theta + v0), 0, T)``: what an
IF neuron under constant current ``a`` puts out in ``T`` steps (``v0`` in units of theta).

Shape:
    Histogram of ``channels`` -> ``[channels]``.

Reference:
    The idea of Deng & Gu 2021 (Opt) and Li et al. 2021 (Calibration), which balance clipping
    against rounding; Lloyd, *Least squares quantization in PCM*, 1982: the best theta for given
    levels.

Deviations:
    Neither paper's search: here a grid up to the maximum, a finer one around the best of its
    thresholds, and steps from there to those at which an activation changes its level. Compiled
    code (:mod:`snnconv.calibration.mse_kernel`) finds the same, bit by bit. The search reads the
    bins that a checkpoint keeps (:mod:`snnconv.calibration.bins`): how many activations a bin has,
    their mean, the least and the largest are exact, to float32. The others are taken to lie evenly
    below their mean, and evenly above it.
    docs/reference/methods.md says how near the least error is. T and v0 that are not given are
    those of the conversion, which searches again.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from snnconv.calibration.bins import Bins, Channel, Numbers
from snnconv.calibration.histogram import Histogram, Refit, Statistic, ThresholdParams
from snnconv.core.bounds import STEPS
from snnconv.core.metadata import Record
from snnconv.core.packages import kernels

_KERNEL = "snnconv.calibration.mse_kernel"
_OCTAVES = 10  # below the maximum, that the first grid spans
_COARSE = 16  # thresholds an octave in it
_FINE = 2**15  # boundaries between levels that the finer grid looks up
WORTH = 1.1  # times the least error of the first grid: what clips more can't be best
STARTS = 6  # thresholds of the finer grid that are made better
ZOOM = 64  # thresholds between the neighbours of each of them
NEAR = 8  # boundaries on each side that are tried at once
ROUNDS = 3
HAIR = 2.0**-20  # of theta, by which rounding in float32 must not cost the level of an activation


class Params(ThresholdParams):
    """The simulation the threshold is to be best for; what is not given is the conversion's."""

    timesteps: int | None = Field(
        None, ge=1, le=STEPS, description="T; that of the conversion by default, 32 until then"
    )
    v0: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="initial potential, units of theta; that of the neuron by default, 0.5 until "
        "then",
    )

    @property
    def levels(self) -> int:
        """T, or what stands for it."""
        return 32 if self.timesteps is None else self.timesteps

    @property
    def start(self) -> float:
        """V0, or what stands for it."""
        return 0.5 if self.v0 is None else self.v0


@dataclass(frozen=True)
class Spread:
    """How the activations of a channel lie: at points, and evenly between neighbouring points.

    Attributes:
        points: ascending, ``[n]``.
        density: the density of activations between a point and the one before, ``[n]``.
        tails: number, sum and sum of squares of the activations from a point on, ``[3, n + 1]``.
    """

    points: Numbers
    density: Numbers
    tails: Numbers

    def above(self, x: Numbers, powers: int = 2) -> Numbers:
        """Return number, sum and sum of squares of the activations that are ``x`` at least."""
        place = np.searchsorted(self.points, x)
        end, density = self.points[np.minimum(place, len(self.points) - 1)], self.density[place]
        # no powers: a library's third power may be rounded otherwise than a compiler's
        between = (end - x, end * end - x * x, end * end * end - x * x * x)
        return np.stack(
            [
                self.tails[power][place] + density * between[power] / (power + 1)
                for power in range(powers)
            ]
        )


def spread(counts: Numbers, sums: Numbers, least: Numbers, largest: Numbers) -> Spread:
    """Return what the bins of a channel, none of them empty, tell of its activations."""
    others = np.maximum(counts - 2, 0)
    width = largest - least
    mean = (sums - least - largest) / np.maximum(others, 1)
    mean = np.where(others > 0, np.clip(mean, least, largest), least)
    lower = np.divide(largest - mean, width, out=np.zeros_like(width), where=width > 0)
    single = (others <= 1) | (width == 0)
    at = np.stack(
        [
            np.where(width == 0, counts, 1),
            np.where(width == 0, 0, np.where(single, others, 0)),
            np.where(width == 0, 0, 1),
        ],
        -1,
    ).ravel()
    before = np.stack(
        [
            np.zeros_like(width),
            np.where(single, 0, others * lower),
            np.where(single, 0, others * (1 - lower)),
        ],
        -1,
    ).ravel()
    points = np.stack([least, mean, largest], -1).ravel()
    start = np.concatenate([points[:1], points[:-1]])
    wide = points - start
    # if the mean lies on an end, all activations do
    at += np.where(wide > 0, 0, before)
    before = np.where(wide > 0, before, 0)
    tails = np.zeros((3, len(points) + 1))
    for power in range(3):
        between = sum(points**i * start ** (power - i) for i in range(power + 1)) / (power + 1)
        each = at * points**power
        each[:-1] += (before * between)[1:]
        tails[power, :-1] = each[::-1].cumsum()[::-1]
    density = np.divide(before, wide, out=np.zeros_like(wide), where=wide > 0)
    return Spread(points, np.append(density, 0.0), tails)


def errors(spread: Spread, theta: Numbers, params: Params) -> tuple[Numbers, Numbers]:
    """Return sums of squared errors ``[k]``, and the best thresholds for these levels.

    With ``u = theta/T`` an activation of level ``k`` has the error ``a^2 - 2 u k a + u^2 k^2``. It
    has passed ``k`` boundaries ``(j - v0) u``, so sums over boundaries are sums of ``k a`` and, of
    ``2 j - 1``, of ``k^2``.
    """
    T = params.levels
    levels = np.arange(1, T + 1)
    unit = theta / T
    found = []
    for some in np.array_split(unit, -(-len(unit) * T // _FINE)):
        number, total = spread.above((levels - params.start) * some[:, None])
        # level by level, as compiled code adds
        squares = (number * (2.0 * levels - 1)).cumsum(1)[:, -1]
        found.append((total.cumsum(1)[:, -1], squares))
    weighted, squares = (np.concatenate(parts) for parts in zip(*found, strict=True))
    best = np.divide(weighted, squares, out=unit.copy(), where=squares > 0)
    return spread.tails[2, 0] - 2 * unit * weighted + unit * unit * squares, best * T


def threshold(histogram: Histogram, params: Record) -> Tensor:
    """Return the threshold of least squared error."""
    return search(histogram.bins(), params)


def search(bins: Bins, params: Record, compiled: bool = True) -> Tensor:
    """Return the threshold from what a checkpoint keeps; 0 for a channel without activation.

    Args:
        bins: the bins of a site.
        params: :class:`Params`.
        compiled: whether compiled code may search, if numba is installed. The result is the same
            without.
    """
    assert isinstance(params, Params)
    if compiled and (kernel := kernels(_KERNEL)) is not None:
        rows, lengths = bins.rows.contiguous().numpy(), bins.lengths.long().numpy()
        T = params.levels
        return torch.from_numpy(
            kernel.thresholds(rows, lengths, _coarse(), _fine(T), T, params.start)
        )
    best = [_best(channel, params) for channel in bins.channels()]
    return torch.tensor(best, dtype=torch.float64)


@functools.cache
def _coarse() -> Numbers:
    """Return the first grid, as shares of the maximum."""
    return np.geomspace(2.0**-_OCTAVES, 1, _OCTAVES * _COARSE + 1)


@functools.cache
def _fine(levels: int) -> Numbers:
    """Return the finer grid from each threshold of the first one on, as shares of the maximum."""
    number = max(128, min(2048, _FINE // levels))
    return np.ascontiguousarray(np.minimum(np.geomspace(_coarse(), 1, number, axis=1), 1))


def _fitted(params: Record, levels: int, v0: float) -> Params:
    """Return the parameters for a conversion; what the user gave stays."""
    assert isinstance(params, Params)
    own = {"timesteps": levels, "v0": v0}
    given = params.model_dump(exclude_none=True)
    return Params.model_validate(own | given)


def _best(bins: Channel, params: Params) -> float:
    if not len(bins[0]):
        return 0.0
    seen = spread(*bins)
    top = float(seen.points[-1])
    candidates = _coarse() * top
    error, _ = errors(seen, candidates, params)
    count, total, squares = seen.above(candidates, 3)
    clipped = squares - 2 * candidates * total + candidates * candidates * count
    # clipped activations have at least this error, so nothing below the last of these candidates
    # can be best
    first = max(0, int(np.argmax(clipped <= WORTH * error.min())) - 1)
    candidates = _fine(params.levels)[first] * top
    error, _ = errors(seen, candidates, params)
    around = np.pad(error, 1, constant_values=np.inf)
    lows = np.flatnonzero((error <= around[:-2]) & (error <= around[2:]))
    lows = lows[np.argsort(error[lows], kind="stable")[:STARTS]]
    found = [_improved(seen, _zoomed(seen, candidates, int(low), params), params) for low in lows]
    return min(found)[1]


def _zoomed(seen: Spread, candidates: Numbers, low: int, params: Params) -> float:
    """Return the best of the thresholds between the neighbours of one, and of itself."""
    ends = candidates[max(0, low - 1)], candidates[min(len(candidates) - 1, low + 1)]
    between = np.append(np.linspace(*ends, ZOOM), candidates[low])
    return float(between[errors(seen, between, params)[0].argmin()])


def _improved(seen: Spread, theta: float, params: Params) -> tuple[float, float]:
    """Return the least error near a threshold, and where it is."""
    T, v0, at = params.levels, params.start, seen.points
    error, best = errors(seen, np.array([theta]), params)
    found = (float(error[0]), theta)
    for _ in range(ROUNDS):
        theta = found[1]
        level = np.clip(np.floor(at * T / theta + v0), 0, T)
        up = at[level > 0] * T / (level[level > 0] - v0)
        down = at[level < T] * T / (level[level < T] + 1 - v0)
        ends = np.concatenate([_first(up, NEAR), -_first(-down, NEAR)])
        near = np.minimum(np.concatenate([ends, best[:1]]) * (1 - HAIR), at[-1])
        error, better = errors(seen, near, params)
        least = int(error.argmin())
        if error[least] >= found[0]:
            break
        found, best = (float(error[least]), float(near[least])), better[least:]
    return found


def _first(values: Numbers, number: int) -> Numbers:
    return np.sort(np.partition(values, number)[:number] if len(values) > number else values)


STATISTIC = Statistic(Params, threshold, refit=Refit(_fitted, search))

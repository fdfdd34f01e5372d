"""The search of :mod:`snnconv.calibration.statistics.mse`, compiled: a channel at a time.

Every number is computed as by the numpy functions there, in the same order, so the thresholds are
the same, bit by bit. What they do is said there.

Shape:
    Bins of all channels ``[n, 4]``, one channel after the other; thresholds ``[channels]``.
"""

import numpy as np
from numpy.typing import NDArray

from snnconv.calibration.statistics.mse import HAIR, NEAR, ROUNDS, STARTS, WORTH, ZOOM
from snnconv.core.jit import compiled, inlined, parallel_slices

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]


@inlined
def _spread(bins: Floats, points: Doubles, density: Doubles, tails: Doubles) -> None:
    """Fill in points ``[3 n]``, density ``[3 n + 1]`` and tails ``[3, 3 n + 1]`` of n bins."""
    size = 3 * len(bins)
    for i in range(len(bins)):
        count, mean = np.float64(bins[i, 0]), np.float64(bins[i, 1])
        least, largest = np.float64(bins[i, 2]), np.float64(bins[i, 3])
        others, width = max(count - 2, 0.0), largest - least
        inner = (count * mean - least - largest) / max(others, 1.0)
        inner = min(max(inner, least), largest) if others > 0 else least
        lower = (largest - inner) / width if width > 0 else 0.0
        single = others <= 1 or width == 0
        for j, point in enumerate((least, inner, largest)):
            points[3 * i + j] = point
        at, before = tails[1], density  # for now
        at[3 * i] = count if width == 0 else 1.0
        at[3 * i + 1] = others if single and width != 0 else 0.0
        at[3 * i + 2] = 0.0 if width == 0 else 1.0
        before[3 * i] = 0.0
        before[3 * i + 1] = 0.0 if single else others * lower
        before[3 * i + 2] = 0.0 if single else others * (1 - lower)
    for i in range(size):
        if i == 0 or points[i] <= points[i - 1]:
            at[i] += before[i]
            before[i] = 0.0
    number = total = squares = 0.0
    tails[:, size] = 0.0
    for i in range(size - 1, -1, -1):
        p, here = points[i], at[i]
        each = here, here * p, here * (p * p)
        if i < size - 1:
            end, between = points[i + 1], before[i + 1]
            each = (
                each[0] + between,
                each[1] + between * ((p + end) / 2),
                each[2] + between * ((p * p + end * p + end * end) / 3),
            )
        number, total, squares = number + each[0], total + each[1], squares + each[2]
        tails[0, i], tails[1, i], tails[2, i] = number, total, squares
    for i in range(size):
        if before[i] > 0:
            density[i] = before[i] / (points[i] - points[i - 1])
    density[size] = 0.0


@inlined
def _place(points: Doubles, x: float, low: int) -> int:
    """Return how many points are below ``x``, at least ``low`` of them."""
    step, size = 1, len(points)
    while low + step <= size and points[low + step - 1] < x:
        low += step
        step *= 2
    high = min(low + step - 1, size)
    while low < high:
        middle = (low + high) // 2
        if points[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _errors(
    points: Doubles,
    density: Doubles,
    tails: Doubles,
    theta: Doubles,
    levels: int,
    v0: float,
    places: Longs,
    error: Doubles,
    best: Doubles,
) -> int:
    """Fill in the errors of thresholds and the best ones for their levels; return the least's.

    ``places`` ``[levels]`` is working memory: of a larger threshold, boundaries lie further up.
    """
    last, least = np.inf, 0
    for i in range(len(theta)):
        unit, place = theta[i] / levels, 0
        if theta[i] < last:
            places[:] = 0
        last = theta[i]
        weighted = squares = 0.0
        for level in range(1, levels + 1):
            x = (level - v0) * unit
            place = _place(points, x, max(place, places[level - 1]))
            places[level - 1] = place
            end = points[min(place, len(points) - 1)]
            weighted += tails[1, place] + density[place] * (end * end - x * x) / 2
            number = tails[0, place] + density[place] * (end - x)
            squares += number * (2.0 * level - 1)
        error[i] = tails[2, 0] - 2 * unit * weighted + unit * unit * squares
        best[i] = (weighted / squares if squares > 0 else unit) * levels
        if error[i] < error[least]:
            least = i
    return least


@inlined
def _level(x: float, theta: float, levels: int, v0: float) -> float:
    """Return the level of an activation."""
    return float(min(max(np.floor(x * levels / theta + v0), 0.0), levels))


@inlined
def _keep(values: Doubles, value: float) -> None:
    """Keep a value if it is among the least ones, which are in ascending order."""
    i = len(values) - 1
    if value >= values[i]:
        return
    while i > 0 and values[i - 1] > value:
        values[i] = values[i - 1]
        i -= 1
    values[i] = value


@inlined
def _near(
    points: Doubles, theta: float, levels: int, v0: float, ups: Doubles, downs: Doubles
) -> None:
    """Find the nearest thresholds above and, negative, below: there activations change levels.

    Activations of one level do so in their order, so only the first and the last few count.
    """
    ups[:] = np.inf
    downs[:] = np.inf
    first, size = 0, len(points)
    while first < size:
        level = _level(points[first], theta, levels, v0)
        step, last = 1, first  # the last one of this level: not above it
        while last + step < size and _level(points[last + step], theta, levels, v0) <= level:
            last += step
            step *= 2
        while step > 1:
            step //= 2
            if last + step < size and _level(points[last + step], theta, levels, v0) <= level:
                last += step
        if level > 0:
            for i in range(first, min(first + NEAR, last + 1)):
                _keep(ups, points[i] * levels / (level - v0))
        if level < levels:
            for i in range(max(first, last + 1 - NEAR), last + 1):
                _keep(downs, -(points[i] * levels / (level + 1 - v0)))
        first = last + 1


@inlined
def _first(
    points: Doubles,
    density: Doubles,
    tails: Doubles,
    coarse: Doubles,
    levels: int,
    v0: float,
    places: Longs,
    error: Doubles,
    best: Doubles,
) -> int:
    """Return from which threshold of the first grid on the best one lies."""
    theta = coarse * points[len(points) - 1]
    least = _errors(points, density, tails, theta, levels, v0, places, error, best)
    for i in range(len(theta)):
        x, place = theta[i], _place(points, theta[i], 0)
        end, between = points[min(place, len(points) - 1)], density[place]
        count = tails[0, place] + between * (end - x)
        total = tails[1, place] + between * (end * end - x * x) / 2
        squares = tails[2, place] + between * (end * end * end - x * x * x) / 3
        if squares - 2 * x * total + x * x * count <= WORTH * error[least]:
            return max(0, i - 1)
    return 0


@inlined
def _lowest(error: Doubles, lows: Longs) -> int:
    """Find the lowest of the places where the error is least among neighbours; return how many."""
    found, last = 0, len(error) - 1
    for i in range(last + 1):
        if (i > 0 and error[i - 1] < error[i]) or (i < last and error[i + 1] < error[i]):
            continue
        at = min(found, STARTS)
        while at > 0 and error[lows[at - 1]] > error[i]:
            lows[at] = lows[at - 1]
            at -= 1
        lows[at] = i
        found = min(found + 1, STARTS)
    return found


def thresholds(
    rows: Floats, lengths: Longs, coarse: Doubles, fine: Doubles, levels: int, v0: float
) -> Doubles:
    """Return the threshold of each channel, 0 for one without bins.

    Args:
        rows: bins.
        lengths: how many each channel has.
        coarse: the first grid, as shares of the maximum ``[n]``.
        fine: the finer grid from each of its thresholds on ``[n, m]``.
        levels: T.
        v0: the initial potential, in units of theta.
    """
    found = np.zeros(len(lengths))
    firsts = np.append(0, lengths.cumsum())
    work = fine.shape[1] * levels
    parallel_slices(search, len(found), work, rows, firsts, coarse, fine, levels, v0, found)
    return found


@compiled
def search(
    start: int,
    stop: int,
    rows: Floats,
    firsts: Longs,
    coarse: Doubles,
    fine: Doubles,
    levels: int,
    v0: float,
    out: Doubles,
) -> None:
    """Find the thresholds of the channels from ``start`` to ``stop``; see :func:`thresholds`."""
    most = max(len(coarse), fine.shape[1], ZOOM + 1, 2 * NEAR + 1)
    error, best, theta = np.empty(most), np.empty(most), np.empty(most)
    places, lows = np.zeros(levels, np.int64), np.empty(STARTS + 1, np.int64)
    ups, downs = np.empty(NEAR), np.empty(NEAR)
    for channel in range(start, stop):
        bins = rows[firsts[channel] : firsts[channel + 1]]
        size = 3 * len(bins)
        out[channel] = 0.0
        if size == 0:
            continue
        points, density, tails = np.empty(size), np.empty(size + 1), np.empty((3, size + 1))
        _spread(bins, points, density, tails)
        first = _first(points, density, tails, coarse, levels, v0, places, error, best)
        grid = fine[first] * points[size - 1]
        _errors(points, density, tails, grid, levels, v0, places, error, best)
        number = _lowest(error[: len(grid)], lows)
        least = np.inf
        for low in lows[:number]:
            ends = grid[max(0, low - 1)], grid[min(len(grid) - 1, low + 1)]
            for i in range(ZOOM):
                theta[i] = i * ((ends[1] - ends[0]) / (ZOOM - 1)) + ends[0]
            theta[ZOOM - 1], theta[ZOOM] = ends[1], grid[low]
            some, rounds = theta[: ZOOM + 1], ROUNDS + 1
            at = _errors(points, density, tails, some, levels, v0, places, error, best)
            while True:
                found, found_error, better = some[at], error[at], best[at]
                rounds -= 1
                if rounds == 0:
                    break
                _near(points, found, levels, v0, ups, downs)
                near = 0
                for up in ups:
                    if up < np.inf:
                        theta[near] = up
                        near += 1
                for down in downs:
                    if down < np.inf:
                        theta[near] = -down
                        near += 1
                theta[near] = better
                some = theta[: near + 1]
                for i in range(near + 1):
                    some[i] = min(some[i] * (1 - HAIR), points[size - 1])
                at = _errors(points, density, tails, some, levels, v0, places, error, best)
                if error[at] >= found_error:
                    break
            if found_error > least or (found_error == least and found >= out[channel]):
                continue
            least, out[channel] = found_error, found

"""Scales: from values to 0..1 along an axis, with ticks at round values."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from snnconv.core.bounds import LARGEST, SMALLEST

Kind = Literal["linear", "log2", "log10"]


def finite(values: Iterable[float | None]) -> list[float]:
    """Return what can be drawn."""
    return [v for v in values if v is not None and math.isfinite(v)]


def nice_step(span: float, count: int) -> float:
    """Return the least of 1, 2, 2.5, 5 times a power of ten with at most ``count`` steps."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 2.5, 5, 10):
        # a hair of tolerance: 0.3 / 3 is a little above 0.1
        if factor * power >= raw * (1 - 1e-9):
            return factor * power
    return 10 * power


@dataclass(frozen=True)
class Scale:
    """An axis from ``lo`` to ``hi``; logarithmic ones are positive."""

    kind: Kind
    lo: float
    hi: float

    def at(self, value: float) -> float:
        """Return where a value lies, 0..1 within the scale."""
        if self.kind == "linear":
            return (value - self.lo) / (self.hi - self.lo)
        return math.log(value / self.lo) / math.log(self.hi / self.lo)

    def holds(self, value: float | None) -> bool:
        """Return whether a value has a place on this scale at all."""
        if value is None or not math.isfinite(value):
            return False
        return self.kind == "linear" or SMALLEST <= value <= LARGEST

    def within(self, value: float | None) -> bool:
        """Return whether a value lies between both ends, or on one."""
        return value is not None and self.holds(value) and -1e-9 <= self.at(value) <= 1 + 1e-9

    def ticks(self, count: int = 5) -> list[float]:
        """Return about ``count`` round values within the scale."""
        if self.kind == "log2":
            return self._powers_of_two(count)
        if self.kind == "log10":
            return self._decades(count)
        return linear_ticks(self.lo, self.hi, count)

    def _powers_of_two(self, count: int) -> list[float]:
        first, top = math.ceil(math.log2(self.lo)), math.floor(math.log2(self.hi))
        stride = max(1, math.ceil((top - first + 1) / max(count, 1)))
        # counted from the top: T is the step that everybody looks for
        found = [2.0**k for k in range(first, top + 1) if (top - k) % stride == 0]
        # and a T between powers, where its number does not touch its neighbour's
        if found and self.hi == int(self.hi) and self.hi >= found[-1] * 1.4:
            found.append(self.hi)
        return found

    def _decades(self, count: int) -> list[float]:
        first, top = math.floor(math.log10(self.lo)), math.ceil(math.log10(self.hi))
        for mantissas in ((1,), (1, 3), (1, 2, 5)):
            found = [
                m * 10.0**k
                for k in range(first, top + 1)
                for m in mantissas
                if self.lo * (1 - 1e-9) <= m * 10.0**k <= self.hi * (1 + 1e-9)
            ]
            if len(found) > count:
                stride = math.ceil(len(found) / count)
                return found[::stride]
            if len(found) >= 3:
                return found
        return linear_ticks(self.lo, self.hi, count)


def linear_ticks(lo: float, hi: float, count: int = 5) -> list[float]:
    """Return round values from ``lo`` to ``hi``."""
    step = nice_step(hi - lo, count)
    first, top = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
    return [k * step for k in range(first, top + 1)]


def linear(
    values: Iterable[float | None],
    count: int = 5,
    lo: float | None = None,
    hi: float | None = None,
) -> Scale:
    """Return a linear scale that holds all values and ends on round ones, unless told."""
    known = finite(values)
    low = lo if lo is not None else min(known, default=0.0)
    high = hi if hi is not None else max(known, default=1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) * 0.1 or 1.0
        low, high = (
            low - room if lo is None else low,
            high + room if hi is None or lo is not None else high,
        )
    step = nice_step(high - low, count)
    if lo is None:
        low = math.floor(low / step + 1e-9) * step
    if hi is None:
        high = math.ceil(high / step - 1e-9) * step
    return Scale("linear", low, high)


def log(kind: Kind, values: Iterable[float | None], room: float = 0.0) -> Scale:
    """Return a logarithmic scale of the values within bounds, with ``room`` at both ends."""
    known = [v for v in finite(values) if SMALLEST <= v <= LARGEST]
    low, high = min(known, default=1.0), max(known, default=1.0)
    if high <= low * (1 + 1e-9):
        return Scale(kind, low / math.sqrt(2), low * math.sqrt(2))
    margin = (high / low) ** room
    return Scale(kind, low / margin, high * margin)

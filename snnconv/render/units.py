"""Numbers as people read them: percentages, SI prefixes, units. Never ``1e-05``, never ``NaN``."""

import math
import unicodedata
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from snnconv.core.scores import Score

Value = TypeVar("Value")

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_ENERGIES = ((1e3, "J"), (1.0, "mJ"), (1e-3, "uJ"), (1e-6, "nJ"), (1e-9, "pJ"))
NOT_FINITE = "not finite"


class Number(NamedTuple):
    """A number in full, its unit, and what it is where a cell holds several."""

    value: float
    unit: str = ""
    of: str = ""


class Measured(str):
    """Text that knows the numbers in it, for files that programs read.

    Attributes:
        numbers: all of them, in the order of the text.
    """

    numbers: tuple[Number, ...]

    def __new__(cls, text: str, *known: Number) -> "Measured":
        """Return the text with its numbers."""
        made = super().__new__(cls, text)
        made.numbers = known
        return made


def numbers(text: str | None, of: str = "") -> tuple[Number, ...]:
    """Return the numbers that a text knows, under another name if one is given."""
    found = text.numbers if isinstance(text, Measured) else ()
    return tuple(each._replace(of=of) for each in found) if of else found


def hundredths(share: float) -> float:
    """Return a share in per cent, without the dust that a product by 100 adds."""
    return float(f"{100 * share:.15g}")


def shown(how: Callable[[Value], str], value: Value | None) -> str | None:
    """Return a value in words; None stays None, which every renderer shows as a dash."""
    return None if value is None else how(value)


def number(x: float) -> str:
    """Return three significant digits: ``0.0123``, ``1.23``, ``123``."""
    if not math.isfinite(x):
        return NOT_FINITE
    return Measured(_three_digits(x), Number(x))


def _three_digits(x: float) -> str:
    if x == 0:
        return "0"
    size = math.floor(math.log10(abs(float(f"{x:.3g}"))))
    if size < -5:
        return f"{x:.2e}"
    return f"{x:.{max(0, 2 - size)}f}"


def compact(x: float) -> str:
    """Return a number like :func:`number`, without trailing zeros: for ticks and parameters."""
    text = number(x)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def tick(x: float) -> str:
    """Return a round value on an axis, in as many digits as it needs."""
    if x != 0 and abs(x) < 1e-3:
        return compact(x)
    return f"{round(x, 9):.7g}"


def percent(share: float) -> str:
    """Return a share of 0..1 with two decimals: ``97.20%``."""
    if not math.isfinite(share):
        return NOT_FINITE
    return Measured(f"{share:.2%}", Number(hundredths(share), "%"))


def ratio(value: float, decimals: int = 2) -> str:
    """Return how many times as large: ``0.21``."""
    if not math.isfinite(value):
        return NOT_FINITE
    return Measured(f"{value:.{decimals}f}", Number(value))


def score(kind: Score, value: float) -> str:
    """Return a score as its kind shows it."""
    if not math.isfinite(value):
        return NOT_FINITE
    exact = Number(value) if kind.relative else Number(hundredths(value), "%")
    return Measured(kind.shown(value), exact)


def two_errors(kind: Score, error: float) -> str:
    """Return two standard errors of a score: ``within 1.20%``."""
    two = score(kind, 2 * error)
    return Measured(f"within {two}", *numbers(two, "two standard errors"))


def points(difference: float) -> str:
    """Return a signed difference of two shares in percentage points: ``-0.28``."""
    if not math.isfinite(difference):
        return NOT_FINITE
    text = f"{100 * difference:+.2f}"
    return Measured("0.00" if float(text) == 0 else text, Number(hundredths(difference)))


def interval(bounds: tuple[float, float]) -> str:
    """Return two shares in per cent, without the sign: ``97.2 to 99.6``."""
    low, high = map(hundredths, bounds)
    both = Number(low, "%", "95 % from"), Number(high, "%", "95 % to")
    return Measured(f"{low:.1f} to {high:.1f}", *both)


def p_value(p: float) -> str:
    """Return how likely chance is: ``p = 0.031``, ``p < 0.001``."""
    known = Number(p, "", "p")
    if p < 0.001:
        return Measured("p < 0.001", known)
    return Measured(f"p = {p:.2f}" if p >= 0.1 else f"p = {p:.3f}", known)


def si(x: float, unit: str = "") -> str:
    """Return three significant digits with an SI prefix: ``1.23 M``, ``456 kSOPs``."""
    if not math.isfinite(x):
        return NOT_FINITE
    rounded, known = abs(float(f"{x:.3g}")), Number(x, unit)
    for factor, prefix in _PREFIXES:
        if rounded >= factor > 1:
            return Measured(f"{number(x / factor)} {prefix}{unit}", known)
    text = f"{x:.0f}" if x == int(x) and rounded < 1e3 else number(x)
    return Measured(f"{text} {unit}".rstrip(), known)


def energy_scale(mj: float) -> tuple[float, str]:
    """Return the factor from mJ, and the unit, in which an energy reads best."""
    rounded = abs(float(f"{mj:.3g}")) if math.isfinite(mj) else 1.0
    for factor, unit in _ENERGIES:
        if rounded >= factor:
            return 1 / factor, unit
    return (1.0, "mJ") if rounded == 0 else (1 / _ENERGIES[-1][0], _ENERGIES[-1][1])


def energy(mj: float) -> str:
    """Return an energy given in mJ: ``1.44 mJ``, ``30.1 uJ``."""
    if not math.isfinite(mj):
        return NOT_FINITE
    factor, unit = energy_scale(mj)
    return Measured(f"{number(mj * factor)} {unit}", Number(mj, "mJ"))


def energy_of_ann(mj: float | None, ratio: float | None) -> str | None:
    """Return an energy with its share of the ANN's: ``1.44 mJ (12.3%)``."""
    if mj is None or ratio is None:
        return shown(energy, mj)
    spent, share = energy(mj), numbers(percent(ratio), "of the ANN's")
    return Measured(f"{spent} ({100 * ratio:.1f}%)", *numbers(spent), *share)


def seconds(s: float) -> str:
    """Return a duration: ``1.30 ms``, ``42.0 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if not math.isfinite(s):
        return NOT_FINITE
    return Measured(_duration(s), Number(s, "s"))


def _duration(s: float) -> str:
    if s < 1e-3:
        return f"{number(s * 1e6)} us"
    if s < 1:
        return f"{number(s * 1e3)} ms"
    if s < 120:
        return f"{number(s)} s"
    if s < 7200:
        return f"{int(s) // 60} min {int(s) % 60:02d} s"
    return f"{int(s) // 3600} h {int(s) % 3600 // 60:02d} min"


def memory(mib: float) -> str:
    """Return a memory size given in MiB."""
    text = f"{number(mib / 1024)} GiB" if mib >= 1024 else f"{number(mib)} MiB"
    return Measured(text, Number(mib, "MiB"))


def count(n: float) -> str:
    """Return a whole number with spaces between thousands: ``60 000``."""
    if not math.isfinite(n):
        return NOT_FINITE
    return Measured(f"{n:,.0f}".replace(",", " "), Number(n))


def value(x: object) -> str:
    """Return a configuration's value: floats short, lists with commas, none as ``-``."""
    if x is None:
        return "-"
    if isinstance(x, bool):
        return "yes" if x else "no"
    if isinstance(x, float):
        # six digits, since a learning rate or a percentile is a setting and not a measurement
        return Measured(f"{x:.6g}", Number(x)) if math.isfinite(x) else NOT_FINITE
    if isinstance(x, dict):
        return pairs(x) or "-"
    if isinstance(x, list | tuple):
        return ", ".join(value(each) for each in x) or "-"
    return Measured(str(x), Number(x)) if isinstance(x, int) else str(x)


def pairs(params: dict[str, object]) -> str:
    """Return parameters in a line: ``v0=0.5, levels=2``."""
    return ", ".join(f"{name}={value(x)}" for name, x in params.items())


def printable(text: str) -> str:
    """Return text without control characters, which could come from a file's name."""
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cs", "Cf") else c for c in text)


def typographic(text: str) -> str:
    """Return ``uJ``, ``us`` and a leading minus with their real signs, if the output is UTF-8."""
    if text[:1] == "-" and text[1:2].isdigit():
        text = f"\u2212{text[1:]}"
    return text.replace(" uJ", " \u00b5J").replace(" us", " \u00b5s")

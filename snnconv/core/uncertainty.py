"""What chance alone does to an accuracy and to a cost: intervals, and tests of a difference.

An accuracy is a share of n drawn samples. :func:`wilson` gives the accuracies on all samples that
are compatible with it. :func:`mcnemar` gives the probability that two equally good networks differ
as much on the same samples, and :func:`paired` does so for two mean costs. Reports keep right and
wrong by sample as text (:func:`packed`), and numbers by sample, too (:func:`packed_numbers`).

Reference:
    Wilson 1927; McNemar 1947, exact (binomial) form; Dietterich 1998 on classifiers; Student 1908,
    paired.
"""

import base64
import math
import struct
from collections.abc import Iterable, Sequence

Z95 = 1.959963984540054
"""A normal variable is within this many standard deviations 95 times in 100."""

CHANCE = 0.05
"""A difference counts as one if chance causes it less often than this."""

FEW = 100
"""With fewer samples, nothing is called better or worse."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of ``n`` samples, within 0..1.

    Raises:
        ValueError: it is no share, or there are no samples.
    """
    if n < 1 or not 0 <= share <= 1:
        raise ValueError(f"{share} is no share of {n} samples")
    square = Z95**2 / n
    centre = (share + square / 2) / (1 + square)
    half = Z95 * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    # at shares of 0 and 1 an end is exact, and rounding would move it
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def interval(share: float | None, n: int) -> tuple[float, float] | None:
    """Return :func:`wilson`'s interval, or None for what is no share of samples."""
    return wilson(share, n) if share is not None and n > 0 and 0 <= share <= 1 else None


ROUNDING = 1e-5
"""Two costs that are nearer to each other, as a share of the largest one, differ by rounding."""

ALPHA = 1e-3
"""Chance of a wrong warning that a network guesses."""


def at_least(right: int, samples: int, chance: float) -> float:
    """Return the probability of so many right answers by chance: an exact binomial tail."""
    if right <= 0 or chance >= 1:
        return 1.0
    hit, miss = math.log(chance), math.log1p(-chance)
    return math.fsum(
        math.exp(
            math.lgamma(samples + 1)
            - math.lgamma(k + 1)
            - math.lgamma(samples - k + 1)
            + k * hit
            + (samples - k) * miss
        )
        for k in range(right, samples + 1)
    )


def lucky(right: int, samples: int, classes: int) -> bool:
    """Whether guesses could be right as often; never if a perfect network could be luck, too."""
    chance = 1 / classes
    return bool(samples) and at_least(samples, samples, chance) < ALPHA <= at_least(
        right, samples, chance
    )


def apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two intervals have no point in common."""
    return one[1] < other[0] or other[1] < one[0]


def mcnemar(only_one: int, only_other: int) -> float:
    """Return how often chance makes two equally good networks differ as much: p, two-sided.

    Args:
        only_one: samples that the first alone has right.
        only_other: samples that the second alone has right.
    """
    n, fewer = only_one + only_other, min(only_one, only_other)
    ways = term = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << n))


def paired(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how often chance makes two equally dear networks differ as much in the mean: p.

    It is the paired t-test, two-sided, by the normal distribution, which Student's is close to: of
    100 samples and more, a p of 0.05 is off by less than 0.0035. Costs that differ by no more than
    the rounding of float32 do not differ.

    Args:
        one: a cost of each sample.
        other: the other network's, of the same samples.

    Raises:
        ValueError: the samples are fewer than two, or not as many.
    """
    import numpy as np

    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"{len(one)} and {len(other)} samples are no pairs with a deviation")
    differences = np.subtract(one, other, dtype=np.float64)
    if np.abs(differences).max() <= ROUNDING * max(np.abs(one).max(), np.abs(other).max()):
        return 1.0
    n, mean, variance = len(differences), float(differences.mean()), float(differences.var(ddof=1))
    if not variance:
        return 1.0 if mean == 0 else 0.0
    return math.erfc(abs(mean) / math.sqrt(2 * variance / n))


def standard_error(parts: Sequence[float]) -> float:
    """Return the standard error of the mean of independent parts, of which there are two or more.

    Of the jackknife's pseudo-values (:func:`snnconv.tasks.base.pseudo_values`) it is that of the
    score that they are of.
    """
    mean = math.fsum(parts) / len(parts)
    variance = math.fsum((part - mean) ** 2 for part in parts) / (len(parts) - 1)
    return math.sqrt(variance / len(parts))


def packed(right: Iterable[bool]) -> str:
    """Return one bit for each sample, the first one highest, as base64."""
    bits = [bool(each) for each in right]
    padded = bits + [False] * (-len(bits) % 8)
    number = int("".join("01"[bit] for bit in padded) or "0", 2)
    return base64.b64encode(number.to_bytes(len(padded) // 8, "big")).decode()


def unpacked(text: str, n: int) -> int:
    """Return the bits of ``n`` samples as one number, for ``&`` and ``int.bit_count``.

    Raises:
        ValueError: the text is none that :func:`packed` makes of so many samples.
    """
    content = base64.b64decode(text, validate=True)
    number = int.from_bytes(content, "big")
    if len(content) != (n + 7) // 8 or number & ((1 << -n % 8) - 1):
        raise ValueError(f"{len(content)} bytes are not the bits of {n} samples")
    return number


def discordant(one: int, other: int) -> tuple[int, int]:
    """Return how many samples only the first network has right, and only the second."""
    return (one & ~other).bit_count(), (other & ~one).bit_count()


def packed_numbers(values: Sequence[float]) -> str:
    """Return a float32 for each sample, little endian, as base64."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def unpacked_numbers(text: str, n: int) -> tuple[float, ...]:
    """Return the numbers of ``n`` samples.

    Raises:
        ValueError: the text is none that :func:`packed_numbers` makes of so many samples.
    """
    content = base64.b64decode(text, validate=True)
    if len(content) != 4 * n:
        raise ValueError(f"{len(content)} bytes are not the numbers of {n} samples")
    found = struct.unpack(f"<{n}f", content)
    if not all(map(math.isfinite, found)):
        raise ValueError("a number of a sample is NaN or infinite")
    return found

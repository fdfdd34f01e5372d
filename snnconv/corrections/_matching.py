"""Currents a channel at which a mean output is what it is to be.

Shape:
    ``[C]``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_FINEST = 2.0**-22
"""So narrow, as a share of its size and of theta, is a bracket without a float32 number inside."""


_LARGEST = 1e4
"""Currents are tried up to this many thetas, because a target may be out of reach."""


def matching(
    mean: Callable[[Tensor], Tensor],
    target: Tensor,
    theta: Tensor,
    tolerance: Tensor,
    rounds: int,
) -> Tensor:
    """Return the current of each channel at which its mean output is closest to a target.

    Every round adds what is missing. As soon as a channel has had too little and too much, the
    next current is between the two: their middle, and now and then the point on the line through
    both means. If the current is known much better than the tolerance and the mean is still not
    met, neurons cross theta together there, and no current in between is nearer.
    Neurons whose mean output rises with their current are matched as closely as whole spikes allow;
    for the others, the closest current that was tried is kept.

    Args:
        mean: the channels' mean outputs ``[C]`` float64 at these currents ``[C]`` float32.
        target: the wanted means, ``[C]`` float64.
        theta: the channels' thresholds, ``[C]`` float64: the least step to try.
        tolerance: the allowed distance, ``[C]``.
        rounds: the most rounds; 1 adds once what is missing.
    """
    current = torch.zeros_like(target)
    missing = target - mean(current.float())
    best, least = current.clone(), missing.abs()
    low, high = torch.full_like(target, -torch.inf), torch.full_like(target, torch.inf)
    of_low, of_high = missing.clone(), missing.clone()
    step, limit = torch.ones_like(target), _LARGEST * theta
    for number in range(rounds):
        between = torch.isfinite(low) & torch.isfinite(high)
        finest = (tolerance / 16).clamp(min=_FINEST * (theta + current.abs()))
        narrow = between & (high - low <= finest)
        done = (least <= tolerance) | narrow
        if done.all():
            break
        below = missing > 0
        low, of_low = _where(below, (current, missing), (low, of_low))
        high, of_high = _where(below, (high, of_high), (current, missing))
        between = torch.isfinite(low) & torch.isfinite(high)
        share = torch.full_like(target, 0.5) if number % 3 else of_low / (of_low - of_high)
        inside = low + (high - low) * share.nan_to_num(0.5).clamp(0.01, 0.99)
        current = torch.where(between, inside, current + step * missing)
        step = torch.where(between, step, 2 * step)
        current = torch.where(done, best, current.float().double()).clamp(-limit, limit)
        missing = target - mean(current.float())
        if rounds == 1:
            return current
        better = missing.abs() < least
        best, least = _where(better, (current, missing.abs()), (best, least))
    return best


def _where(
    condition: Tensor, this: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    first, second = (torch.where(condition, a, b) for a, b in zip(this, other, strict=True))
    return first, second

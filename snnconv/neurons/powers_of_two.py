"""Powers of two up to a number: the sizes of spikes of theta/2^k, in units of the smallest.

The functions of numbers are for kernels, those of tensors for the neurons themselves; both do the
same.
"""

import torch
from torch import Tensor

from snnconv.neurons.kernel import ONE, ZERO, Number

FINEST = 8
"""The most levels: a spike may be as small as theta/128."""

_SHARE = 0.75
"""The share of a level at which it fires; a plain float, as exported files have no numpy."""
_SHARE_IN_KERNEL = Number(_SHARE)


def power(count: Number) -> Number:
    """Return the largest power of two up to a count; 0 below 1."""
    found, level = ONE if count >= ONE else ZERO, ONE
    for _ in range(1, FINEST):
        level = level + level
        found = level if count >= level else found
    return found


def nearest(size: Number, most: Number) -> Number:
    """Return the largest power of two up to ``most`` of which a size has 3/4; 1 at least."""
    found, level = ONE, ONE
    for _ in range(1, FINEST):
        level = level + level
        found = level if size >= _SHARE_IN_KERNEL * level and level <= most else found
    return found


def nearest_powers(sizes: Tensor, most: int) -> Tensor:
    """Return the largest powers of two up to ``most`` of which sizes have 3/4; 1 at least."""
    found, level = torch.ones_like(sizes), 2
    while level <= most:
        found = torch.where(sizes >= _SHARE * level, level, found)
        level *= 2
    return found


def powers(counts: Tensor) -> Tensor:
    """Round counts towards 0 to a power of two of their sign."""
    _, exponent = torch.frexp(counts)
    sizes = torch.ldexp(torch.ones_like(counts), exponent - 1)
    return torch.where(counts == 0, counts, sizes * counts.sign())

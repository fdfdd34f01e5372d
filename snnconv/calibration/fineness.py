"""How fine a histogram's bins are: the fewer octaves have bins, the finer they are.

All bins of a histogram have the same relative width. Where octaves are added, bins become coarser:
neighbours are merged, exactly, so it does not matter when the octaves came.

Shape:
    Counts and rests ``[channels, bins]``, extremes ``[channels, bins, 2]``; see
    :class:`~snnconv.calibration.histogram.Histogram`.
"""

import torch
from torch import Tensor

_FEW = 16  # octaves: where there are fewer, bins are finer, in the memory of so many


def finer(octaves: int) -> int:
    """Return how many more leading bits bins keep if there are so few octaves."""
    return max(1, _FEW // octaves).bit_length() - 1


def coarser(counts: Tensor, rests: Tensor, rest: int, drop: int) -> tuple[Tensor, Tensor]:
    """Return the counts and rests ``[channels, bins]`` of bins that leave out more bits.

    Args:
        counts: of bins that leave out ``rest`` bits.
        rests: of these.
        rest: how many bits that is.
        drop: how many more are left out.
    """
    counts, rests = (of.unflatten(1, (-1, 1 << drop)) for of in (counts, rests))
    above = torch.arange(1 << drop) << rest
    return counts.sum(-1), (rests + counts * above).sum(-1)


def coarser_extremes(extremes: Tensor, counts: Tensor, rest: int, drop: int) -> Tensor:
    """Return the extremes ``[channels, bins, 2]`` of these bins; see :func:`coarser`."""
    above = (torch.arange(1 << drop, dtype=torch.int32) << rest)[:, None]
    none = torch.tensor([2**16 - 1, 0], dtype=torch.int32)
    used = counts.unflatten(1, (-1, 1 << drop))[..., None] > 0
    found = torch.where(used, extremes.unflatten(1, (-1, 1 << drop)) + above, none)
    return torch.stack([found[..., 0].amin(-1), found[..., 1].amax(-1)], -1)

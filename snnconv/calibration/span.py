"""The range of a site's activations, by channel, and how many there are: what bins depend on.

Shape:
    Rows ``[n, channels]``, none of them negative; ranges ``[channels]`` float32.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from snnconv.core.packages import kernels

KERNEL = "snnconv.calibration.histogram_kernel"
ADDRESSED = 2**31 - 1  # activations that an int32 can index


@dataclass(frozen=True)
class Span:
    """What is known of a site's activations before they are counted.

    Attributes:
        minimum: the smallest positive one; infinity if there is none.
        maximum: the largest; NaN and infinity show here.
        rows: how many a channel has.
    """

    minimum: Tensor
    maximum: Tensor
    rows: int

    @classmethod
    def none(cls, channels: int) -> Self:
        """Return the span of no activations."""
        return cls(torch.full((channels,), torch.inf), torch.zeros(channels), 0)

    def extended(self, rows: Tensor, compiled: bool = True) -> "Span":
        """Return the span with more activations.

        Args:
            rows: contiguous float32.
            compiled: whether compiled code may look at them, if numba is installed.
        """
        count = self.rows + len(rows)
        if (kernel := kernels(KERNEL) if compiled else None) is None:
            least = torch.where(rows > 0, rows, torch.inf).amin(0)
            minimum = torch.minimum(self.minimum, least)
            return Span(minimum, torch.maximum(self.maximum, rows.amax(0)), count)
        minimum, maximum = self.minimum.clone(), self.maximum.clone()
        ends = [end.view(torch.int32).numpy() for end in (minimum, maximum)]
        for part in rows.split(ADDRESSED // len(minimum)):
            kernel.span(part.view(-1).view(torch.int32).numpy(), *ends)
        return Span(minimum, maximum, count)

    @property
    def silent(self) -> bool:
        """Whether all activations are zero."""
        return not bool(self.maximum.any())

    @property
    def finite(self) -> bool:
        """Whether all activations are finite numbers."""
        return bool(np.isfinite(self.maximum.max().item()))

"""Places between places, by lines or splines: linear in the values at them, so neurons' means pass.

Shape:
    ``[B, C, *N] -> [B, C, *size]``.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attrs = Mapping[str, Any]
Tensors = Mapping[str, Tensor]


def run(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Places between places, to a size."""
    return F.interpolate(
        inputs[0], tuple(attrs["size"]), mode=attrs["mode"], align_corners=attrs["align_corners"]
    )


_NONE = 1e-9  # a weight that is 0 but for rounding


def reach(attrs: Attrs, tensors: Tensors, inputs: list[Tensor]) -> Tensor:
    """Axis by axis, since weights are products of one an axis: where they are not 0."""
    (x,) = inputs
    mode = "bicubic" if attrs["mode"] == "bicubic" else "bilinear"
    for axis, out in enumerate(attrs["size"], start=2):
        # [1, n, 1, n]: every place by itself
        each = torch.eye(x.shape[axis], dtype=torch.float64)[None, :, None]
        how = {"mode": mode, "align_corners": attrs["align_corners"]}
        weights = F.interpolate(each, (1, out), **how)[0, :, 0]
        x = torch.tensordot(x, (weights.abs() > _NONE).to(x), dims=([axis], [0])).movedim(-1, axis)
    return x

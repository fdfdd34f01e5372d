"""The share of a function's work that a step has to recompute, because an input has changed.

A function sees the mean of its inputs up to each step, and an input has changed if its mean differs
from that of the step before by more than rounding. A sum, an average or a maximum on the way to a
function adds up its inputs, and an input has changed if it is not zero.

Shape:
    Masks ``[B, *N]``; shares of a function's work ``[T, B]``.

Reference:
    Methods: "What functions cost".

Deviations:
    None.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snnconv.graph.ir import Node
from snnconv.graph.network import Network
from snnconv.graph.ops import OPS

ROUNDING = 2.0**-20
"""The largest difference that is only rounding, as a share of the larger value."""

Share = Callable[[list[Tensor]], Tensor]
"""The share of a function's work that masks of changed inputs require, by sample ``[B]``."""


def share_of(network: Network, node: Node) -> Share:
    """Return a function from masks of changes to the share of a node's work to recompute."""
    op = OPS[node.op]
    attrs = op.typed(node.attrs)
    roles = {role: network.tensor(name) for role, name in node.tensors.items()}

    def share(changed: list[Tensor]) -> Tensor:
        everything = op.recomputed(attrs, roles, [torch.ones_like(mask[:1]) for mask in changed])
        found = op.recomputed(attrs, roles, changed)
        units = found.reshape(len(found), -1).sum(1, dtype=torch.float64)
        return units / everything.sum(dtype=torch.float64)

    return share


class ChangedMeans:
    """Shares of a function's work at each step, found from the means of its inputs.

    Args:
        share: gives the share for masks of changed inputs.
        before: the means of the step before; None at the first step.
    """

    def __init__(self, share: Share, before: Sequence[Tensor] | None) -> None:
        self._share, self._before = share, before
        self._shares: list[Tensor] = []

    def __call__(self, means: Sequence[Tensor]) -> None:
        """Compare the means of a step with those of the step before."""
        before = self._before
        masks = [torch.ones_like(x) for x in means] if before is None else []
        for now, last in zip(means, before or [], strict=False):
            least = torch.maximum(now.abs(), last.abs()) * ROUNDING
            masks.append(((now - last).abs() > least).to(now.dtype))
        self._shares.append(self._share(masks))
        self._before = [x.clone() for x in means]

    def shares(self) -> Tensor:
        """Return the shares of all steps, ``[T, B]`` float64."""
        return torch.stack(self._shares)


def of_increases(share: Share, inputs: Sequence[Tensor], done: int) -> Tensor:
    """Return shares ``[T, B]`` of an operation that adds up its inputs.

    Args:
        share: gives the share for masks of changed inputs.
        inputs: ``[T, B, *N]``; ``T = 1`` if an input does not change after the first step.
        done: the number of steps before these.
    """
    steps = max(len(value) for value in inputs)
    found = []
    for k in range(steps):
        masks = []
        for value in inputs:
            there = len(value) == steps > 1 or k + done == 0
            now = value[k if len(value) == steps else 0]
            masks.append((now != 0).to(now.dtype) if there else torch.zeros_like(now))
        found.append(share(masks))
    return torch.stack(found)

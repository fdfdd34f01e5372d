"""The cumulative rule: a nonlinear operation takes running sums and gives its own increase.

With ``X[t]`` the running sum of the input, ``x_out[t] = t*f(X[t]/t) - (t-1)*f(X[t-1]/(t-1))``, so
the mean output is ``f`` of the mean input. For max pooling, where ``t*f(X/t) = f(X)``, it is the
pool of the sum and its increase, for any kernel, stride and padding.

Shape:
    ``[T, B, *N] -> [T, B, *M]``.

Reference:
    LIPooling (Li & Zeng 2022), here for signed increases and overlapping windows.

Deviations:
    None.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Sums = tuple[Tensor, Tensor]
"""State of a max pooling between two chunks: the running sum of its input, and its pool."""

Means = tuple[list[Tensor], Tensor]
"""State of a function between two chunks: the sum of each input, and ``t*f`` of the means."""

Compute = Callable[[list[Tensor]], Tensor]
"""An operation on all steps at once, ``[T, B, *N]``."""


def pool_increase(compute: Compute, x: Tensor, before: Sums | None) -> tuple[Tensor, Sums]:
    """Return the increase of the pooled running sum at each step, and the sums after the last."""
    total, last = before or (torch.zeros_like(x[0]), None)
    sums = []
    for current in x:
        total = total + current
        sums.append(total)
    pooled = compute([torch.stack(sums)])
    first = torch.zeros_like(pooled[0]) if last is None else last
    return pooled - torch.cat([first[None], pooled[:-1]]), (total, pooled[-1])


def function_increase(
    compute: Compute,
    inputs: list[Tensor],
    done: int,
    before: Means | None,
    seen: Callable[[list[Tensor]], None] | None = None,
) -> tuple[Tensor, Means]:
    """Return the increase of ``t*f(mean of the inputs up to t)`` at each step, and the last sums.

    Args:
        compute: the function.
        inputs: ``[T, B, *N]`` each; ``T = 1`` if an input does not change.
        done: the number of steps before these.
        before: the sums after those steps.
        seen: called with the means of each step in turn.
    """
    steps = max(value.shape[0] for value in inputs)
    totals, last = before or ([torch.zeros_like(x[0]) for x in inputs], None)
    sums = [running(total, value, steps) for total, value in zip(totals, inputs, strict=True)]
    after = [x[-1].clone() for x in sums]
    means = [times(x, done, divide=True) for x in sums]
    if seen is not None:
        for step in zip(*means, strict=True):
            seen(list(step))
    scaled = times(compute(means), done)
    total = scaled[-1].clone()
    return increase(scaled, last), (after, total)


def running(total: Tensor, value: Tensor, steps: int) -> Tensor:
    """Return the sum up to each step; a value of a single step is repeated at every step."""
    rows = value.expand(steps, *value.shape[1:])
    if torch.is_grad_enabled():
        sums = []
        for row in rows:
            total = total + row
            sums.append(total)
        return torch.stack(sums)
    found = torch.empty(rows.shape, dtype=total.dtype, device=total.device)
    for row, out in zip(rows, found, strict=True):
        total = torch.add(total, row, out=out)
    return found


def times(x: Tensor, done: int, divide: bool = False) -> Tensor:
    """Multiply or divide each step by its number, in place unless gradients are needed."""
    t = torch.arange(done + 1, done + len(x) + 1, device=x.device)
    t = t.view(-1, *[1] * (x.dim() - 1))
    if torch.is_grad_enabled():
        return x / t if divide else x * t
    return x.div_(t) if divide else x.mul_(t)


def increase(x: Tensor, last: Tensor | None) -> Tensor:
    """Subtract from each step the one before, in place unless gradients are needed."""
    if torch.is_grad_enabled():
        first = torch.zeros_like(x[0]) if last is None else last
        return x - torch.cat([first[None], x[:-1]])
    for now, before in zip(reversed(x[1:].unbind()), reversed(x[:-1].unbind()), strict=True):
        now -= before
    if last is not None:
        x[0] -= last
    return x

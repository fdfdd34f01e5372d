"""The cumulative rule: a nonlinear operation takes running sums and gives its increase.

With ``X[t]`` the running sum of the input, ``x_out[t] = t*f(X[t]/t) - (t-1)*f(X[t-1]/(t-1))``, so
the mean output is ``f`` of the mean input. For max pooling, where ``t*f(X/t) = f(X)``, it is the
pool of the sum and its increase, for any kernel, stride and padding.

A max pooling emits spikes, and operations are counted by their *level*. The pooling takes the
running number of spikes at each place, as it takes their running sum, and the level of an emission
is the increase of the largest number. So spikes of one amplitude keep their level, and the levels
of all steps together do not depend on how spikes are spread over steps.

Shape:
    ``[T, B, *N] -> [T, B, *M]``.

Reference:
    LIPooling (Li & Zeng 2022), here for signed increases and overlapping windows.

Deviations:
    None.
"""

from collections.abc import Callable, Mapping, Sequence, Set

import torch
from torch import Tensor

from snnconv.core.shapes import fold_time, per_neuron, unfold_time
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.ops import OPS, Role

Sums = tuple[Tensor, Tensor]
"""State of a max pooling between two chunks: the running sum of its input, and its pool."""

Means = tuple[list[Tensor], Tensor]
"""State of a function between two chunks: the sum of each input, and ``t*f`` of the means."""

Compute = Callable[[list[Tensor]], Tensor]
"""An operation on all steps at once, ``[T, B, *N]``."""

Emitted = Callable[[Compute, Tensor, Tensor | None, Sums | None], tuple[Tensor, Sums]]
"""The levels that a max pooling emits, see :class:`Levels`."""


def pool_increase(compute: Compute, x: Tensor, before: Sums | None) -> tuple[Tensor, Sums]:
    """The increase of the pooled running sum at each step, and the sums after the last."""
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
    """The increase of ``t*f(mean of the inputs up to t)`` at each step, and the last sums.

    Args:
        compute: the function.
        inputs: ``[T, B, *N]`` each; of ``T = 1`` where they do not change.
        done: steps before these.
        before: the sums after them.
        seen: is shown the means of each step in turn.
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
    """The sum up to each step; a value of one step comes again at every other."""
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
    """Each step of it times, or divided by, the step's number; in its place, if nothing learns."""
    t = torch.arange(done + 1, done + len(x) + 1, device=x.device)
    t = t.view(-1, *[1] * (x.dim() - 1))
    if torch.is_grad_enabled():
        return x / t if divide else x * t
    return x.div_(t) if divide else x.mul_(t)


def increase(x: Tensor, last: Tensor | None) -> Tensor:
    """What each step of it adds to the step before; in its place, if nothing learns."""
    if torch.is_grad_enabled():
        first = torch.zeros_like(x[0]) if last is None else last
        return x - torch.cat([first[None], x[:-1]])
    for now, before in zip(reversed(x[1:].unbind()), reversed(x[:-1].unbind()), strict=True):
        now -= before
    if last is not None:
        x[0] -= last
    return x


class Levels:
    """The levels that max poolings emit in one call of a network.

    Args:
        analysis: of the network.
        pools: the max poolings of spikes, if their levels are needed.
        amplitudes: what every spike of a site carries; none if spikes differ.
        emitted: the levels of what a max pooling emits, by the network's coding; see
            :meth:`snnconv.simulation.codings.base.Coding.emitted`.
        before: the sums of numbers of each max pooling, after the call before.

    Attributes:
        after: these sums after this call.
        sites: those whose numbers are wanted.
    """

    def __init__(
        self,
        analysis: Analysis,
        pools: Set[str],
        amplitudes: Mapping[str, Tensor | None],
        emitted: Emitted,
        before: Mapping[str, Sums],
    ) -> None:
        self.pools = pools
        self._emitted = emitted
        self.after: dict[str, Sums] = {}
        self._before = before
        self._units = dict(amplitudes)
        for node in analysis.graph.nodes:
            if node.name in pools:  # one channel of one site: its window has one amplitude
                self._units[node.name] = self._units.get(node.inputs[0])
        varying = {name for name, amplitude in amplitudes.items() if amplitude is None}
        self._varying = {
            name for name in pools if not varying.isdisjoint(analysis.sites_behind[name])
        }
        numbered = {name for name in pools if self._units[name] is None}
        self._readers = analysis.on_the_way_to(numbered)
        self.sites = amplitudes.keys() & self._readers.keys()
        self._numbers: dict[str, Tensor] = {}

    def fired(self, name: str, counts: Tensor) -> None:
        """Note the spikes of a site, ``[T, B, *N]``."""
        if name in self._readers:
            self._numbers[name] = counts

    def passed(self, node: Node) -> None:
        """Take numbers of spikes through wiring, where sums and averages add them up."""
        if node.name in self._readers and OPS[node.op].role is Role.LINEAR:
            numbers = self._taken(node)
            reached = OPS[node.op].wire(node.attrs, {}, [fold_time(value) for value in numbers])
            self._numbers[node.name] = unfold_time(reached, len(numbers[0]))

    def pooled(self, compute: Compute, node: Node, increase: Tensor) -> Tensor:
        """The levels of what a max pooling emits."""
        if (unit := self._units[node.name]) is not None:
            levels = (increase / per_neuron(unit, increase.dim() - 1)).round_()
        else:
            (numbers,) = self._taken(node)
            varying = increase if node.name in self._varying else None
            before = self._before.get(node.name)
            levels, self.after[node.name] = self._emitted(compute, numbers, varying, before)
        self.fired(node.name, levels)
        return levels

    def _taken(self, node: Node) -> Sequence[Tensor]:
        found = [self._numbers[name] for name in node.inputs]
        for name in set(node.inputs):
            if self._readers[name] == node.name:
                del self._numbers[name]
        return found

"""Differential coding: a spike says how the value sent differs from the mean of those before.

An edge carries a change ``x[t]`` at step t, and the decoded value is the mean of what was sent,
``r[t] = r[t-1] + x[t]/t``. A neuron that keeps sending its mean sends nothing:
``y[t] = r[t-1] + x[t]`` is the value that a step of rate coding would send. With ``I`` the current
that a neuron receives, decoded in the same way, and ``theta`` its threshold::

    v += I[t] - r[t-1]
    s = the signed neuron's count for v, its sum of counts being t*r[t-1]/theta
    v -= s*theta;   x[t] = s*theta;   r[t] = r[t-1] + x[t]/t

So r stays at or above zero, and at or below a ceiling. Linear operations are the same for changes
and for values, and a bias, which does not change, is part of r from the first step on. Operations
that are not linear see r: a max pooling and a function f emit ``x[t] = t*(f(r[t]) - f(r[t-1]))``,
which is the cumulative rule for y. Therefore the network is simulated with y: a neuron receives I
and sends y, everything else is as under rate coding, and the counts are the spikes s that the
changes need. A test simulates the form above, edge by edge, and finds the same spikes.

``signed`` neurons send changes with their own parameters. ``if`` neurons, whose spikes have one
sign, send changes as those of the paper do: as ``signed`` neurons of one spike without hysteresis.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    Huang et al. 2025, *Differential Coding for Training-Free ANN-to-SNN Conversion*.

Deviations:
    Thresholds are those of the calibration, not of the paper's iteration. A max pooling emits
    changes that are not whole numbers of spikes: each counts as the nearest whole number, and at
    least as one.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconv.errors import UsageError
from snnconv.neurons.base import Neuron
from snnconv.neurons.if_ import IF
from snnconv.neurons.kernel import Kernel, Number, Numbers
from snnconv.neurons.signed import Params, Signed, SignedOfLevels, State
from snnconv.neurons.signed import gradient_of_levels as signed_gradient
from snnconv.neurons.signed import step_of_levels as signed_step
from snnconv.simulation.codings.base import Coding
from snnconv.simulation.cumulative import Compute, Sums


class DifferentialState(NamedTuple):
    """Membrane potential and mean of what was sent, in spikes, ``[B, *N]``; steps done."""

    potential: Tensor
    sent: Tensor
    steps: int


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    own, t = constants[1:], schedule[0]
    potential, sent = state
    mean = sent * constants[0]
    count, value, (potential, total) = signed_step(
        current - mean, keep, own, schedule, (potential, sent * t)
    )
    return count, mean + value, (potential, total / t)


def gradient(
    current: Number,
    keep: Number,
    constants: Numbers,
    schedule: Numbers,
    state: Numbers,
    of_count: Number,
    of_value: Number,
    of_state: Numbers,
) -> tuple[Number, Numbers, Numbers]:
    """Compute the gradient of that step."""
    unit, own, t = constants[0], constants[1:], schedule[0]
    potential, sent = state
    later, later_sent = of_state
    found, (of_potential, of_total), _ = signed_gradient(
        current - sent * unit,
        keep,
        own,
        schedule,
        (potential, sent * t),
        of_count,
        of_value,
        (later, later_sent / t),
    )
    of_sent = (of_value - found) * unit + of_total * t
    return found, (of_potential, of_sent), ()


class DifferentialNeuron(Signed):
    """A layer of signed neurons that send changes."""

    KERNEL = Kernel(step, gradient, states=("potential", "sent"))

    def initial(self, sample: Tensor) -> DifferentialState:  # type: ignore[override]
        """Start all neurons at v0, with nothing sent."""
        start = super().initial(sample)
        return DifferentialState(start.potential, start.total, 0)

    def amplitude(self) -> None:  # type: ignore[override]
        """Return None: the count alone does not give the value that is sent."""

    def firing_threshold(self, current: Tensor, state: Any) -> Tensor:
        """Return what one change carries."""
        return self.unit(current)

    def gain(self, timesteps: int) -> float:
        """Return T: the first step's value is sent at all steps, if no later spike changes it."""
        return float(timesteps)

    def constants(self, sample: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return what a spike carries, and the constants of the signed neuron."""
        return self.unit(sample), *super().constants(sample)

    def step(  # type: ignore[override]
        self, current: Tensor, state: DifferentialState, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, DifferentialState]:
        """Compute one step."""
        t = state.steps + 1
        mean = state.sent * self.unit(current)
        before = State(state.potential, state.sent * t, state.steps)
        count, value, after = super().step(current - mean, before, keep)
        return count, mean + value, DifferentialState(after.potential, after.total / t, t)


class DifferentialCoding(Coding):
    """Spikes are changes."""

    sparse = False

    def neuron(self, neuron: Neuron[Any]) -> Neuron[Any]:
        """Return the signed neuron that sends changes.

        Raises:
            UsageError: the neurons are of another kind, or have no negative spikes.
        """
        if type(neuron) is IF:
            params = Params(hysteresis=0, v0=neuron.params.v0)
        elif isinstance(neuron, Signed) and type(neuron) in (Signed, SignedOfLevels):
            params = neuron.params
        else:
            raise UsageError(
                "these neurons can't send changes (--coding differential)",
                f"{type(neuron).__name__} neurons, which are neither signed nor if",
                "convert with --neuron signed, or with --coding rate",
            )
        if not params.negative:
            raise UsageError(
                "these neurons can't send changes (--coding differential)",
                "signed neurons without negative spikes: no sent value could become smaller",
                "drop --param negative and presets without them, or convert with --coding rate",
            )
        found = DifferentialNeuron(params, neuron.threshold, neuron.timesteps)
        found.ceiling = neuron.ceiling
        return found

    def emitted(
        self,
        compute: Compute,
        numbers: Tensor,
        increase: Tensor | None,
        done: int,
        before: Sums | None,
    ) -> tuple[Tensor, Sums]:
        """Return the change of the pooled mean at each step, in spikes: whole, and at least one."""
        mean, last = before or (torch.zeros_like(numbers[0]), None)
        steps = torch.arange(done + 1, done + len(numbers) + 1, device=numbers.device)
        means = []
        for t, changes in zip(steps, numbers, strict=True):
            mean = mean + changes / t
            means.append(mean)
        pooled = compute([torch.stack(means)])
        first = torch.zeros_like(pooled[0]) if last is None else last
        changed = pooled - torch.cat([first[None], pooled[:-1]])
        levels = (changed * steps.view(-1, *[1] * (changed.dim() - 1))).abs().round()
        return levels.clamp(min=1) * (changed != 0), (mean, pooled[-1])


CODING = DifferentialCoding

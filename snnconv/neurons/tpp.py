"""TPP: a neuron takes in the currents of all T steps, and then rounds their sum by chance.

With ``I`` the current, ``theta`` the threshold and ``Bernoulli(p)`` 1 with probability ``p``::

    v = sum over t of I[t]
    p[t] = clip(v / ((T - t + 1)*theta), 0, 1);   s ~ Bernoulli(p[t]);   x = s*theta;   v -= x

The chance is the share of the remaining steps that would have to emit the remaining charge. So the
count in T steps is ``clip(sum I/theta, 0, T)``, rounded down or up, for any order of currents; for
a whole number of thetas, every order of spikes is equally likely. A layer starts when the layer
before it has emitted everything, so the answer comes after T steps for each layer.

The number that decides depends on the seed, the sample, the layer, the step and the neuron alone
(:mod:`snnconv.neurons.confidence`): it is the same in every batch and in every number of threads.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, all T steps at once.

Reference:
    Bojkovic et al. 2025, *Temporal Misalignment in ANN-SNN Conversion and its Mitigation via
    Probabilistic Spiking Neurons*.

Deviations:
    We wrote the equations from memory of the paper; there is no released code to compare with.
    By these equations rounding has a bias: in four steps 0.3 is rounded up half of the time, and
    3.7 down. A charge that a spike has made negative has no chance below 0 that would make up for
    it. Outside a network no number is drawn, and charge is rounded up. In training, a spike's
    gradient by the potential is that of its chance: ``1/((T - t + 1)*theta)`` between 0 and 1. So
    that of the sum of spikes by a current is 1 between 0 and T*theta, as QCFS has it.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconv.core.shapes import stack_time
from snnconv.neurons.base import Grid, Neuron, NeuronParams, Spikes
from snnconv.neurons.kernel import ONE, ZERO, Kernel, Number, Numbers


class Params(NeuronParams):
    """Parameters of the TPP neuron: it has none of its own."""

    def grid(self, timesteps: int) -> Grid:
        """Return multiples of theta/T, as if rounding were to the nearest."""
        return Grid(timesteps, 0.5)


class State(NamedTuple):
    """Charge that is left ``[B, *N]``."""

    potential: Tensor


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    (theta,), (left,), (v,) = constants, schedule, state
    potential = v + current
    chance = potential / (left * theta)
    chance = ONE if chance > ONE else chance  # with keep 0 it never fires
    count = ONE if ONE - keep < chance else ZERO
    value = count * theta
    return count, value, (potential - value,)


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
    (theta,), (left,), (v,), (later,) = constants, schedule, state, of_state
    chance = (v + current) / (left * theta)
    uncertain = chance > ZERO and chance < ONE and keep > ZERO
    of_fired = (of_value - later) * theta + of_count
    found = later + (of_fired / (left * theta) if uncertain else ZERO)
    return found, (found,), ()


class TPP(Neuron[State]):
    """A layer of TPP neurons."""

    params_type = Params
    params: Params
    KERNEL = Kernel(step, gradient)
    causal = False
    draws = True

    def initial(self, sample: Tensor) -> State:
        """Return the state without charge."""
        return State(self.everywhere(sample.new_zeros(()), sample))

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    def averages(self) -> bool:
        """Return True: the neuron depends only on the sum of its currents."""
        return True

    def answers(self, timesteps: int) -> Tensor:
        """Return True at step T only."""
        return torch.arange(1, timesteps + 1) == timesteps

    def mixing(self, state: State, steps: int) -> Tensor:
        """Return ``[T, T]``, which puts all currents into the first step, and none later."""
        omega = torch.zeros(steps, steps)
        omega[0] = 1
        return omega

    def schedule(self, state: State, steps: int) -> Tensor:
        """Return the steps that are left, this one included."""
        return torch.arange(steps, 0, -1).float()[:, None]

    def charge(self, currents: Tensor) -> Tensor:
        """Return the sum of all currents at the first step, in the order of time; 0 later."""
        total = torch.zeros_like(currents[0])
        for current in currents:
            total = total + current
        return stack_time([total, *[torch.zeros_like(total)] * (len(currents) - 1)])

    def run(self, currents: Tensor, state: State, keep: Tensor | None) -> tuple[Spikes, State]:
        """Run all steps."""
        theta, potential = self.theta(currents[0]), state.potential
        counts, values = [], []
        for t, charge in enumerate(self.charge(currents)):
            potential = potential + charge
            chance = potential / ((len(currents) - t) * theta)
            drawn = torch.zeros_like(chance) if keep is None else 1 - keep[t]
            count = _Drawn.apply(chance, drawn)
            value = count * theta
            potential = potential - value
            counts.append(count)
            values.append(value)
        return Spikes(stack_time(counts), stack_time(values)), State(potential)


class _Drawn(torch.autograd.Function):
    """1 where the chance is above the number drawn, with the gradient of the chance."""

    @staticmethod
    def forward(chance: Tensor, drawn: Tensor) -> Tensor:
        return (drawn < chance.clamp(max=1)).to(chance.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        chance, drawn = ctx.saved_tensors
        uncertain = (chance > 0) & (chance < 1) & (drawn < 1)
        return grad * uncertain, None


NEURON = TPP

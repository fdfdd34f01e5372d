"""COS: a neuron runs ahead over its first steps, and shifts its initial potential by its error.

An IF neuron that has received all its charge may still be one spike off: its offset. With ``v`` the
potential, ``I`` the current, ``theta`` the threshold, ``rho`` steps are run from ``v0*theta``. Let
``n`` be the count in them, ``lo`` the least ``v`` before a spike, ``hi`` the largest ``v`` where
none was fired, all in units of theta::

    v < 0 after them, n > 0:   v0 -= max(1, lo - 0.999)     a spike less
    v >= 1 after them:         v0 += max(1, 1.001 - hi)     a spike more

Then the neuron runs all T steps from there, over the same currents. A layer needs the outputs of
the layer before it first, so the answer comes after T steps for each layer.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, all T steps at once.

Reference:
    Hao et al. 2023, *Bridging the Gap between ANNs and SNNs by Calibrating Offset Spikes*; limits
    0.999 and 1.001 of the authors' code.

Deviations:
    The ``rho`` steps are part of the T steps, and all of them if T is smaller; the authors' code
    runs its layers over 32 steps and reads the first T. One spike is corrected, as in that code;
    the paper's repetition for two and more is left out. Spike confidence acts on the T steps, not
    on the steps run ahead. Gradients treat the shift as a constant.
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from snnconv.core.bounds import STEPS
from snnconv.core.shapes import stack_time
from snnconv.neurons.base import Neuron, NeuronParams, Spikes


class Params(NeuronParams):
    """Parameters of the COS neuron."""

    examples = ({"rho": 1, "v0": 0}, {"rho": 4})
    rho: int = Field(
        8, ge=1, le=STEPS, description="first steps that the shift is found on, all T if fewer"
    )
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential, units of theta")


class State(NamedTuple):
    """Membrane potential ``[B, *N]``."""

    potential: Tensor


class COS(Neuron[State]):
    """A layer of COS neurons."""

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    causal = False

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0."""
        return State(self.everywhere(self.params.v0 * self.theta(sample), sample))

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    def answers(self, timesteps: int) -> Tensor:
        """Return True at step T only."""
        return torch.arange(1, timesteps + 1) == timesteps

    @torch.no_grad()
    def shift(self, currents: Tensor, start: Tensor) -> Tensor:
        """Return the shift of the initial potential ``[B, *N]``, from :attr:`Params.rho` steps."""
        theta, potential = self.theta(start), start
        count = torch.zeros_like(start)
        lo, hi = torch.full_like(start, torch.inf), torch.full_like(start, -torch.inf)
        for current in currents[: self.params.rho]:
            potential = potential + current
            fired = potential >= theta
            lo = torch.where(fired, torch.minimum(lo, potential), lo)
            hi = torch.where(fired, hi, torch.maximum(hi, potential))
            count = count + fired
            potential = potential - fired * theta
        less = -torch.maximum(theta, lo - 0.999 * theta)
        more = torch.maximum(theta, 1.001 * theta - hi)
        found = torch.where((potential < 0) & (count > 0), less, torch.zeros_like(start))
        # if every step had a spike, there is no step for another
        return torch.where((potential >= theta) & hi.isfinite(), more, found)

    def charge(self, currents: Tensor) -> Tensor:
        """Return the currents, with the shift added at the first step."""
        shift = self.shift(currents, self.initial(currents[0]).potential)
        return torch.cat([(currents[0] + shift)[None], currents[1:]])

    def run(self, currents: Tensor, state: State, keep: Tensor | None) -> tuple[Spikes, State]:
        """Run all steps."""
        theta = self.theta(currents[0])
        potential = state.potential + self.shift(currents, state.potential)
        counts, values = [], []
        for t, current in enumerate(currents):
            potential = potential + current
            fired = self.spike(potential, theta)
            if keep is not None:
                fired = fired * keep[t]
            value = fired * theta
            potential = potential - value
            counts.append(fired)
            values.append(value)
        return Spikes(stack_time(counts), stack_time(values)), State(potential)


NEURON = COS

"""Integrate-and-fire neuron with soft reset.

``v[t] = v[t-1] + I[t]``; ``s = H(v - theta)``; ``v -= s*theta``; ``x = s*theta``, where ``v`` is
the membrane potential, ``I`` the current, ``theta`` the threshold, ``s`` the spike, ``x`` what
the next layer sees. Under a constant current the count in T steps is ``clip(floor((v0 +
T*I)/theta), 0, T)``.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    MSAT Eq. 2-4; Han et al. 2020 (RMP) for the soft reset; Bu et al. 2022 and Deng & Gu 2021 for
    the initial potential of theta/2.

Deviations:
    The default ``v0`` is theta/2, which rounds to the nearest count where RMP's 0 rounds down: half
    the error on average, and no bias. RMP itself is ``v0=0`` on ``max`` thresholds. In training,
    gradients pass through the reset: without a leak they would otherwise grow by a factor of T a
    layer, since a current raises every later potential until it is spent on a spike.
"""

from typing import NamedTuple

from pydantic import Field
from torch import Tensor

from snnconv.neurons.base import CausalNeuron, NeuronParams
from snnconv.neurons.kernel import ZERO, Kernel, Number, Numbers, Slope


class Params(NeuronParams):
    """Parameters of the IF neuron."""

    examples = ({"v0": 0},)
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential, units of theta")


class State(NamedTuple):
    """Membrane potential ``[B, *N]``."""

    potential: Tensor


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    (theta,), (v,) = constants, state
    potential = v + current
    count = keep if potential >= theta else ZERO
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
    slope: Slope,
    shape: Numbers,
) -> tuple[Number, Numbers, Numbers]:
    """Compute the gradient of that step."""
    (theta,), (v,), (later,) = constants, state, of_state
    of_fired = ((of_value - later) * theta + of_count) * keep
    found = later + of_fired * slope(v + current, theta, shape)
    return found, (found,), ()


class IF(CausalNeuron[State]):
    """A layer of IF neurons."""

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    KERNEL = Kernel(step, gradient)

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0."""
        return State(self.everywhere(self.params.v0 * self.theta(sample), sample))

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        theta = self.theta(current)
        potential = state.potential + current
        fired = self.spike(potential, theta)
        if keep is not None:
            fired = fired * keep
        value = fired * theta
        return fired, value, State(potential - value)


NEURON = IF

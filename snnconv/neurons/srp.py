"""SRP: a simulation before the T steps finds inactive neurons, which then stay silent.

The network runs ``tau`` steps of IF neurons. A neuron whose residual potential ``v`` is not above
zero after them has had no input that would make it spike, so its spikes came too early: its mask
``K`` is 0, and that of the others is 1. Then all potentials start again, and the network runs its T
steps with what neurons put out multiplied by ``K``. With ``I`` the current and ``theta`` the
threshold::

    v += I;   s = H(v - theta);   x = s*theta;   v -= x        tau steps
    K = H(v - theta/1000);   v = v0*theta
    v += I;   s = K*H(v - theta);   x = s*theta;   v -= x      T steps

The answer is the mean over the T steps, and comes after ``tau + T`` of them. With ``tau = 0`` the
neuron is IF, bit by bit.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    Hao et al. 2023, *Reducing ANN-SNN Conversion Error through Residual Membrane Potential*; the
    limit of ``v`` is that of the authors' code, 0.001.

Deviations:
    The limit is in units of theta. A silenced neuron keeps its charge; the authors' neuron fires
    and its spikes are masked. Both put out nothing.
"""

from typing import NamedTuple

from pydantic import Field
from torch import Tensor

from snnconv.core.bounds import STEPS
from snnconv.neurons.base import CausalNeuron, NeuronParams
from snnconv.neurons.kernel import ZERO, Kernel, Number, Numbers, Slope

RESIDUAL = 1e-3
"""The least residual potential of an active neuron, in units of theta."""


class Params(NeuronParams):
    """Parameters of the SRP neuron."""

    examples = ({"tau": 0, "v0": 0}, {"tau": 2})
    tau: int = Field(4, ge=0, le=STEPS, description="steps that are simulated before the T steps")
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential, units of theta")


class State(NamedTuple):
    """Membrane potential and mask ``[B, *N]``."""

    potential: Tensor
    mask: Tensor


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    (theta,), (v, mask) = constants, state
    potential = v + current
    count = keep * mask if potential >= theta else ZERO
    value = count * theta
    return count, value, (potential - value, mask)


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
    """Compute the gradient of that step; the mask takes none."""
    (theta,), (v, mask), (later, later_mask) = constants, state, of_state
    of_fired = ((of_value - later) * theta + of_count) * (keep * mask)
    found = later + of_fired * slope(v + current, theta, shape)
    return found, (found, later_mask), ()


class SRP(CausalNeuron[State]):
    """A layer of SRP neurons."""

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    KERNEL = Kernel(step, gradient, states=("potential", "mask"))

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        self.lead = params.tau

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0, with none silenced."""
        start = self.everywhere(self.params.v0 * self.theta(sample), sample)
        return State(start, self.everywhere(sample.new_ones(()), sample))

    def begun(self, state: State) -> State:
        """Return all neurons at v0, silenced if little of their charge is left."""
        active = state.potential > RESIDUAL * self.theta(state.potential)
        start = self.initial(state.potential).potential
        return State(start, active.to(state.mask.dtype))

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        theta = self.theta(current)
        potential = state.potential + current
        fired = self.spike(potential, theta) * (state.mask if keep is None else keep * state.mask)
        value = fired * theta
        return fired, value, State(potential - value, state.mask)


NEURON = SRP

"""Leaky integrate-and-fire neuron.

``v[t] = decay*v[t-1] + I[t]``; ``s = H(v - theta)``; ``x = s*theta``; then ``v -= x`` with a soft
reset, ``v = 0`` where it fires with a hard one. ``v`` is the membrane potential, ``I`` the current,
``theta`` the threshold, ``s`` the spike, ``x`` what the next layer sees. ``decay`` is
``exp(-1/tau)``, for a time constant of tau steps; with ``decay = 1`` and a soft reset this is IF,
bit by bit. With ``learned``, each layer learns its decay, as ``sigmoid(w)``: this is PLIF.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    Eshraghian et al. 2023, *Training Spiking Neural Networks Using Lessons From Deep Learning*,
    section II-C: ``decay`` is their beta, and the weights absorb the factor of the current. Zenke
    and Vogels 2021, *The Remarkable Robustness of Surrogate Gradient Learning*: no gradient through
    the hard reset. Fang et al. 2021, *Incorporating Learnable Membrane Time Constant to Enhance
    Learning of Spiking Neural Networks*, for the learned decay, with ``input = scaled`` and
    ``reset = hard``; their ``1/tau`` is ``1 - decay``.

Deviations:
    Both papers have the soft reset one step later; here it acts immediately. Gradients pass
    through the soft reset (see :mod:`snnconv.neurons.if_`). ``input = scaled`` multiplies the
    current by ``1 - decay``, the Euler step of ``tau*dv/dt = I - v``, so that a constant current
    moves the potential towards its own value.
"""

import math
from typing import Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from snnconv.neurons.base import CausalNeuron, NeuronParams
from snnconv.neurons.kernel import ZERO, Kernel, Number, Numbers, Slope


class Params(NeuronParams):
    """Parameters of the LIF neuron."""

    examples = (
        {"decay": 1.0, "v0": 0.0},
        {"decay": 0.5, "reset": "hard"},
        {"decay": 0.25, "input": "scaled"},
        {"decay": 0.5, "input": "scaled", "reset": "hard", "learned": True},
    )
    decay: float = Field(
        0.9, gt=0, le=1, description="share of the potential that a step keeps: 1 does not leak"
    )
    reset: Literal["soft", "hard"] = Field(
        "soft", description="a spike takes theta off the potential, or all of it"
    )
    input: Literal["full", "scaled"] = Field(
        "full", description="the current as it is, or times 1 - decay"
    )
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential, units of theta")
    learned: bool = Field(False, description="each layer learns its decay, from this one on")

    @model_validator(mode="after")
    def _some_input(self) -> Self:
        if self.input == "scaled" and self.decay == 1:
            raise ValueError("input = scaled leaves nothing of a current if decay is 1")
        if self.learned and self.decay == 1:
            raise ValueError("a decay of 1 can't be learned: start below it, e.g. decay = 0.99")
        return self


class State(NamedTuple):
    """Membrane potential ``[B, *N]``."""

    potential: Tensor


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    (theta,), (decay, gain, hard), (v,) = constants, schedule, state
    potential = decay * v + gain * current
    count = keep if potential >= theta else ZERO
    value = count * theta
    after = ZERO if hard * count > ZERO else potential - value
    return count, value, (after,)


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
    (theta,), (decay, gain, hard), (v,), (later,) = constants, schedule, state, of_state
    potential = decay * v + gain * current
    count = keep if potential >= theta else ZERO
    of_reset = ZERO if hard > ZERO else later  # what a spike takes off
    of_after = ZERO if hard * count > ZERO else later
    of_fired = ((of_value - of_reset) * theta + of_count) * keep
    found = of_after + of_fired * slope(potential, theta, shape)
    return found * gain, (found * decay,), (found * v, found * current)


class LIF(CausalNeuron[State]):
    """A layer of LIF neurons."""

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    KERNEL = Kernel(step, gradient, learned=2)

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        if params.learned:
            self.w = nn.Parameter(torch.tensor([math.log(params.decay / (1 - params.decay))]))

    def decay(self) -> float | Tensor:
        """Return the share of the potential that a step keeps; ``[1]`` if it is learned."""
        return torch.sigmoid(self.w) if self.params.learned else self.params.decay

    def learnables(self) -> dict[str, Tensor]:
        """Return the decay, if it is learned."""
        decay = self.decay()
        return {"decay": decay.detach()} if isinstance(decay, Tensor) else {}

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0."""
        return State(self.everywhere(self.params.v0 * self.theta(sample), sample))

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    @property
    def scale(self) -> float | Tensor:
        """Return the factor of a current; ``[1]`` if it is learned."""
        return 1 - self.decay() if self.params.input == "scaled" else 1.0

    def shares(self) -> tuple[float, float]:
        """Return the decay and the factor of a current, as numbers."""
        with torch.no_grad():
            return float(self.decay()), float(self.scale)

    def schedule(self, state: State, steps: int) -> Tensor:
        """Return decay, the current's scale, and 1 for a hard reset; the same for each step."""
        decay, scale, hard = self.decay(), self.scale, float(self.params.reset == "hard")
        if not isinstance(decay, Tensor):
            return torch.tensor([[decay, scale, hard]]).expand(steps, 3)
        fixed = decay.new_tensor([hard])
        scaled = scale if isinstance(scale, Tensor) else decay.new_tensor([scale])
        return torch.stack([decay, scaled, fixed], 1).expand(steps, 3)

    def membrane(self, state: State) -> Tensor | None:
        """Return the potential; None with a hard reset, which does not balance charge."""
        return state.potential if self.params.reset == "soft" else None

    def charge(self, currents: Tensor) -> Tensor:
        """Return the scaled current."""
        return currents * self.scale

    def retention(self) -> Tensor:
        """Return the decay."""
        return torch.tensor([self.shares()[0]], dtype=torch.float64)

    def gain(self, timesteps: int) -> float:
        """Return 1 with a soft reset; with a hard one, a current counts at each step it lasts."""
        decay, scale = self.shares()
        if self.params.reset == "soft":
            return scale
        return scale * sum(decay**t for t in range(timesteps))

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        theta = self.theta(current)
        potential = self.decay() * state.potential + self.scale * current
        fired = self.spike(potential, theta)
        if keep is not None:
            fired = fired * keep
        value = fired * theta
        if self.params.reset == "soft":
            return fired, value, State(potential - value)
        return fired, value, State(torch.where(fired > 0, 0, potential))


NEURON = LIF

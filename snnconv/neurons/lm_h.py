"""LM-H: a dendrite and a soma; the share of each that reaches the next step is learned.

With ``v_D`` the dendrite's potential, ``v_S`` the soma's, ``I`` the current::

    v_D[t] = mu_D*v_D[t-1] + mu_S*v_S[t-1] + I[t]
    m_S[t] = lambda_S*v_S[t-1] + lambda_D*v_D[t]
    s = H(m_S - theta);   v_S[t] = m_S[t] - s*theta;   x = s*theta

At the start ``mu_D = mu_S = 0`` and ``lambda_S = lambda_D = 1``: this is IF, bit by bit. With
``lambda_S < 1`` it starts as LIF. ``v_D[0] = 0``, ``v_S[0] = v0*theta``.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    LM-H (Hao et al. 2024), *A Progressive Training Framework for Spiking Neural Networks with
    Learnable Multi-hierarchical Model*, the equations of the model and of progressive training.

Deviations:
    The four scalars are bounded as in the authors' code: ``mu = sigmoid(.) - 1/2`` and ``lambda =
    sigmoid(.) + 1/2``; the paper leaves them free. As there, no gradient passes through the reset;
    ``reset = through`` lets it pass, as the other neurons do (see :mod:`snnconv.neurons.if_`).
"""

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from snnconv.core.shapes import of_steps
from snnconv.neurons.base import CausalNeuron, NeuronParams
from snnconv.neurons.kernel import ZERO, Kernel, Number, Numbers, Slope


class Params(NeuronParams):
    """Parameters of the LM-H neuron."""

    examples = ({"scalars": "step", "v0": 0}, {"reset": "through"})
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential of the soma, units of theta")
    leak: float = Field(
        1.0, gt=0.5, lt=1.5, description="lambda_S at the start: 1 is IF, less is LIF"
    )
    scalars: Literal["layer", "step"] = Field("layer", description="one of each a layer, or a step")
    reset: Literal["detached", "through"] = Field(
        "detached", description="gradients: not through the reset, or through it too"
    )

    @property
    def fixed(self) -> bool:
        """Scalars for each step exist only for that many steps."""
        return self.scalars == "step"


class State(NamedTuple):
    """Potentials of dendrite and soma ``[B, *N]``, and steps done."""

    dendrite: Tensor
    soma: Tensor
    steps: int


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    (theta,), (mu_d, mu_s, lambda_s, lambda_d, _), (d, v) = constants, schedule, state
    dendrite = mu_d * d + mu_s * v + current
    before = lambda_s * v + lambda_d * dendrite
    count = keep if before >= theta else ZERO
    value = count * theta
    return count, value, (dendrite, before - value)


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
    (theta,), (mu_d, mu_s, lambda_s, lambda_d, through), (d, v) = constants, schedule, state
    of_dendrite, of_soma = of_state
    dendrite = mu_d * d + mu_s * v + current
    before = lambda_s * v + lambda_d * dendrite
    of_spent = of_value - of_soma if through > ZERO else of_value
    of_fired = (of_spent * theta + of_count) * keep
    of_before = of_soma + of_fired * slope(before, theta, shape)
    found = of_dendrite + lambda_d * of_before
    of_schedule = found * d, found * v, of_before * v, of_before * dendrite
    return found, (mu_d * found, lambda_s * of_before + mu_s * found), of_schedule


class LMH(CausalNeuron[State]):
    """A layer of LM-H neurons.

    Raises:
        UsageError: when run for more steps than it has scalars for.
    """

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    potentials = ("soma",)
    KERNEL = Kernel(step, gradient, ("dendrite", "soma"), learned=4)

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        length = timesteps if params.scalars == "step" else 1
        leak = math.log((params.leak - 0.5) / (1.5 - params.leak))
        self.mu_d = nn.Parameter(torch.zeros(length))
        self.mu_s = nn.Parameter(torch.zeros(length))
        self.lambda_s = nn.Parameter(torch.full((length,), leak))
        self.lambda_d = nn.Parameter(torch.zeros(length))

    def scalars(self) -> Tensor:
        """Return ``mu_D, mu_S, lambda_S, lambda_D`` of each step: ``[1 or T, 4]``."""
        raw = torch.stack([self.mu_d, self.mu_s, self.lambda_s, self.lambda_d], 1)
        return torch.sigmoid(raw) + raw.new_tensor([-0.5, -0.5, 0.5, 0.5])

    def learnables(self) -> dict[str, Tensor]:
        """Return the scalars, within their bounds."""
        names = ("mu_D", "mu_S", "lambda_S", "lambda_D")
        return dict(zip(names, self.scalars().detach().unbind(1), strict=True))

    def initial(self, sample: Tensor) -> State:
        """Start all somata at v0, and all dendrites at 0."""
        soma = self.everywhere(self.params.v0 * self.theta(sample), sample)
        return State(self.everywhere(sample.new_zeros(()), sample), soma, 0)

    def membrane(self, state: State) -> Tensor:
        """Return the soma's potential."""
        return state.soma

    def retention(self) -> Tensor:
        """Return lambda_S ``[1 or T]``, for currents that do not come from the dendrite's past."""
        return self.scalars()[:, 2]

    def gain(self, timesteps: int) -> float:
        """Return the bound; if the reset is detached, a current counts at each later step."""
        return float(timesteps) if self.params.reset == "detached" else 1.0

    def acting(self, done: int, steps: int) -> Tensor:
        """Return the scalars of each of the next steps ``[steps, 4]``."""
        scalars = self.scalars()
        return of_steps(scalars, done, steps) if self.params.fixed else scalars.expand(steps, -1)

    def schedule(self, state: State, steps: int) -> Tensor:
        """Return the scalars of each step, and 1 if gradients pass through the reset."""
        scalars = self.acting(state.steps, steps)
        through = scalars.new_full((steps, 1), self.params.reset == "through")
        return torch.cat([scalars, through], 1)

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        ((mu_d, mu_s, lambda_s, lambda_d),) = self.acting(state.steps, 1)
        theta = self.theta(current)
        dendrite = mu_d * state.dendrite + mu_s * state.soma + current
        before = lambda_s * state.soma + lambda_d * dendrite
        fired = self.spike(before, theta)
        if keep is not None:
            fired = fired * keep
        value = fired * theta
        soma = before - (value.detach() if self.params.reset == "detached" else value)
        return fired, value, State(dendrite, soma, state.steps + 1)


NEURON = LMH

"""GLIF: a leaky integrate-and-fire neuron whose gates choose between two leaks, inputs and resets.

With ``o = s[t-1]``, and with gates ``alpha, beta, gamma`` between 0 and 1::

    keep = 1 - alpha*(1 - tau)
    v[t] = keep*v[t-1]*(1 - gamma*o) - (1 - alpha)*leak*theta
           + (1 - beta*(1 - g[t]))*I[t] - (1 - gamma)*v_re*theta*o
    s[t] = H(v[t] - v_th*theta);   x = s*theta

``alpha`` chooses between an exponential leak (1) and a linear one (0), ``beta`` between a
conductance ``g`` of each step (1) and the current as it is (0), ``gamma`` between a hard reset (1)
and a soft one (0). Gates, ``tau, leak, v_re, v_th`` and ``g`` are learned, each as the sigmoid of a
number a channel. At ``alpha = 1, beta = 0, gamma = 1, v_th = 1`` this is LIF with a hard reset and
``decay = tau``, bit by bit. ``v[0] = 0``.

Shape:
    ``[T, B, *N] -> [T, B, *N]``. What is learned has the shape of the threshold, ``[1]`` or
    ``[C]``; ``g`` has ``[T, 1]`` or ``[T, C]``.

Reference:
    Yao et al. 2022, *GLIF: A Unified Gated Leaky Integrate-and-Fire Neuron for Spiking Neural
    Networks*; the starts are those of its code, and the equation is that of SpikingJelly's
    ``GatedLIFNode``. The surrogate is their rectangle of width 1 for a threshold of 1/2.

Deviations:
    Potentials are in units of theta. No gradient passes through ``o``, as in the LIF neuron with a
    hard reset; theirs passes. The gates start at the same values in each channel, where
    SpikingJelly draws them. There is no kernel: a layer runs by its own steps.
"""

import math
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from snnconv.core.shapes import of_steps, per_neuron
from snnconv.neurons.base import CausalNeuron, NeuronParams
from snnconv.neurons.surrogates.rectangle import Rectangle

Gate = Annotated[float, Field(gt=0, lt=1)]


class Params(NeuronParams):
    """Parameters of the GLIF neuron: where what it learns starts."""

    examples = ({"alpha": 0.9, "beta": 0.1, "gamma": 0.3},)
    alpha: Gate = Field(0.6, description="near 1, the leak is exponential; near 0, linear")
    beta: Gate = Field(0.8, description="near 1, each step has a conductance; near 0, none has")
    gamma: Gate = Field(0.6, description="near 1, the reset is hard; near 0, soft")
    tau: Gate = Field(0.25, description="share of the potential that the exponential leak keeps")
    v_th: Gate = Field(0.5, description="threshold, units of theta")
    v_re: Gate = Field(0.5, description="what the soft reset takes off, units of theta")
    conductance: Gate = Field(0.5, description="g at each step")

    @property
    def fixed(self) -> bool:
        """It learns a conductance for each step."""
        return True


class State(NamedTuple):
    """Potential before the reset, and the last spike ``[B, *N]``; steps done."""

    potential: Tensor
    spike: Tensor
    steps: int


NAMES = ("alpha", "beta", "gamma", "tau", "v_th", "v_re")
"""Of what is learned, as the parameters call it; ``leak`` and ``g`` have starts of their own."""


class GLIF(CausalNeuron[State]):
    """A layer of GLIF neurons.

    Raises:
        UsageError: when run for more steps than it has conductances for.
    """

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    by_channel = True
    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    tau: Tensor
    leak: Tensor
    v_th: Tensor
    v_re: Tensor

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        self.surrogate = Rectangle(1.0)
        shape = threshold.reshape(-1).shape
        starts = {name: getattr(params, name) for name in NAMES}
        starts["leak"] = params.v_th / (2 * timesteps)
        for name, start in starts.items():
            setattr(self, name, nn.Parameter(torch.full(shape, _logit(start))))
        g = torch.full((timesteps, *shape), _logit(params.conductance))
        self.conductance = nn.Parameter(g)

    def learnables(self) -> dict[str, Tensor]:
        """Return what it learns, within its bounds."""
        return {name: torch.sigmoid(raw.detach()) for name, raw in self.named_parameters()}

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at 0, none of them having fired."""
        zero = self.everywhere(sample.new_zeros(()), sample)
        return State(zero, zero, 0)

    def membrane(self, state: State) -> None:
        """Return None: a reset acts a step later, and the hard one does not balance charge."""

    def amplitude(self) -> Tensor:
        """Return theta."""
        return self.threshold

    def firing_threshold(self, current: Tensor, state: State) -> Tensor:
        """Return ``v_th*theta``."""
        return self.level(current)

    def level(self, sample: Tensor) -> Tensor:
        """Return ``v_th*theta``, to broadcast over one step."""
        share = per_neuron(torch.sigmoid(self.v_th), sample.dim()).to(sample.dtype)
        return share * self.theta(sample)

    def gain(self, timesteps: int) -> float:
        """Return the bound: a current counts at each step it lasts, up to a slope of 1/v_th."""
        alpha, tau, v_th = (torch.sigmoid(x.detach()) for x in (self.alpha, self.tau, self.v_th))
        kept = float((1 - alpha * (1 - tau)).max())
        return sum(kept**t for t in range(timesteps)) / float(v_th.min())

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        theta, last = self.theta(current), state.spike

        def value(raw: Tensor) -> Tensor:
            return per_neuron(torch.sigmoid(raw), current.dim()).to(current.dtype)

        alpha, gamma = value(self.alpha), value(self.gamma)
        kept = 1 - alpha * (1 - value(self.tau))
        (conductance,) = of_steps(self.conductance, state.steps, 1)
        gain = 1 - value(self.beta) * (1 - value(conductance))
        potential = kept * state.potential * (1 - gamma * last) + gain * current
        potential = potential - (1 - alpha) * value(self.leak) * theta
        potential = potential - (1 - gamma) * value(self.v_re) * theta * last
        level = self.level(current)
        # the surrogate gives the threshold no gradient, so it comes by the potential
        fired = self.spike(potential - (level - level.detach()), level.detach())
        if keep is not None:
            fired = fired * keep
        return fired, fired * theta, State(potential, fired.detach(), state.steps + 1)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


NEURON = GLIF

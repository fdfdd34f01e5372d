"""LM-HT: thresholds at L levels, and a matrix through which every step sees every step.

With ``u = theta/L`` the distance of the levels and Omega the layer's temporal-global information
matrix (T-GIM)::

    J[i] = sum over j of Omega[i,j]*I[j]
    v = lambda*v + J[t];   s = clip(floor(v/u), 0, L);   v -= s*u;   x = s*u

At one step under Omega = 1 this is the ANN with activations quantized to L levels; with L = 1,
Omega the identity and lambda = 1 it is IF, bit by bit.

Shape:
    ``[T, B, *N] -> [T, B, *N]``, all T steps at once unless Omega is lower triangular.

Reference:
    LM-HT Theorems 4.2 and 4.4. Omega = 1/T everywhere and v0 = u/2 are the start of hybrid
    training, for which the theorems hold; the identity is the start of vanilla STBP.

Deviations:
    The papers' unit is theta, with currents L times larger: dividing the membrane by L leaves
    weights and biases as they are. Omega is a free parameter, so that both starts are exact; the
    authors' ``2*sigmoid(m)/T`` is available as ``bounded``. lambda is ``sigmoid(alpha) + 1/2``, as
    theirs. The surrogate gradient is their rectangle: 1 for v in ``[u/2, (L + 1/2)*u]``; for a
    count it is 1/u, because x counts in u.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from snnconv.core.bounds import LEVELS
from snnconv.core.shapes import stack_time
from snnconv.errors import UsageError
from snnconv.neurons.base import Grid, Neuron, NeuronParams, Spikes
from snnconv.neurons.kernel import ZERO, Kernel, Number, Numbers

_HALF = Number(0.5)
_LARGEST = 4096
"""T at most: Omega has T x T numbers at each site."""


class Params(NeuronParams):
    """Parameters of the LM-HT neuron."""

    examples = (
        {"levels": 1, "omega": "identity", "v0": 0},
        {"levels": 4, "omega": "bounded", "reset": "through"},
        {"levels": 3, "omega": "causal", "leaks": "step"},
    )
    levels: int = Field(2, ge=1, le=LEVELS, description="L, levels of the threshold")
    omega: Literal["uniform", "identity", "bounded", "causal"] = Field(
        "uniform",
        description="T-GIM at the start: 1/T, the identity, 2*sigmoid(0)/T, or 1/i for steps to i",
    )
    leak: float = Field(1.0, gt=0.5, lt=1.5, description="lambda at the start")
    leaks: Literal["layer", "step"] = Field("layer", description="a lambda for each layer or step")
    v0: float = Field(0.5, ge=0, lt=1, description="initial potential, units of theta/L")
    reset: Literal["detached", "through"] = Field(
        "detached", description="gradients: by Omega only, or through potential and reset too"
    )

    @property
    def fixed(self) -> bool:
        """Omega has T rows."""
        return True

    def grid(self, timesteps: int) -> Grid:
        """Return the grid of L levels a step, up to theta."""
        return Grid(self.levels * timesteps, self.v0)


class State(NamedTuple):
    """Potential ``[B, *N]``, and the steps before ``[t, B, *N]`` where later ones may follow."""

    potential: Tensor
    past: Tensor


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    (unit,), (retention, levels, _), (v,) = constants, schedule, state
    potential = retention * v + current
    count = np.floor(potential / unit)
    count = ZERO if count < ZERO else count
    count = (levels if count > levels else count) * keep
    value = count * unit
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
    (unit,), (retention, levels, through), (v,) = constants, schedule, state
    (later,) = of_state
    potential = retention * v + current
    of_spent = of_value - later if through > ZERO else of_value
    of_fired = (of_spent * unit + of_count) * keep
    inside = potential >= unit * _HALF and potential <= (levels + _HALF) * unit
    found = later + (of_fired if inside else ZERO) / unit
    before = found * retention if through > ZERO else ZERO
    return found, (before,), (found * v,)


class LMHT(Neuron[State]):
    """A layer of LM-HT neurons, for T steps.

    Raises:
        UsageError: T is so large that Omega does not fit.
        ValueError: when run for another number of steps than it was made for.
    """

    params_type = Params
    params: Params
    KERNEL = Kernel(step, gradient, learned=1)

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        if timesteps > _LARGEST:
            raise UsageError(
                f"LM-HT neurons can't be made for T = {timesteps}",
                f"T x T numbers at each site, where T may be up to {_LARGEST}",
                "take fewer --timesteps or levels, or another --neuron",
            )
        self.levels = params.levels
        self.causal = self.remembers = params.omega == "causal"
        self.omega = nn.Parameter(_start(params.omega, timesteps))
        alpha = math.log((params.leak - 0.5) / (1.5 - params.leak))
        self.alpha = nn.Parameter(torch.full((timesteps if params.leaks == "step" else 1,), alpha))

    def unit(self, sample: Tensor) -> Tensor:
        """Return ``u = theta/L``, to broadcast over one step."""
        return self.theta(sample) / self.params.levels

    def amplitude(self) -> Tensor:
        """Return theta/L."""
        return self.threshold / self.params.levels

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0."""
        start = self.everywhere(self.params.v0 * self.unit(sample), sample)
        return State(start, sample.new_empty(0, *sample.shape))

    def matrix(self) -> Tensor:
        """Return Omega ``[T, T]``."""
        match self.params.omega:
            case "bounded":
                return 2 * torch.sigmoid(self.omega) / len(self.omega)
            case "causal":
                return self.omega.tril()
        return self.omega

    def retention(self) -> Tensor:
        """Return lambda ``[T]``."""
        return (torch.sigmoid(self.alpha) + 0.5).expand(self.timesteps)

    def charge(self, currents: Tensor) -> Tensor:
        """Return ``J``: the currents of all steps, mixed by Omega."""
        return self.mix(currents, len(currents))

    def gain(self, timesteps: int) -> float:
        """Return the currents that Omega makes from one current."""
        return self.matrix().detach().sum(0).max().item()

    def learnables(self) -> dict[str, Tensor]:
        """Return Omega (its lower triangle if it is causal), and lambda within its bounds."""
        omega = self.matrix().detach()
        kept = torch.ones_like(omega, dtype=torch.bool)
        return {
            "Omega": omega[kept.tril() if self.causal else kept],
            "lambda": self.retention().detach(),
        }

    def averages(self) -> bool:
        """Return whether Omega is 1/T everywhere, the start of hybrid training."""
        omega, T = self.matrix(), self.timesteps
        return not self.causal and bool((omega == omega.new_tensor(1 / T)).all())

    def answers(self, timesteps: int) -> Tensor:
        """Return True at steps t for which no row of Omega up to t has weight on a later step."""
        later = self.matrix().detach().cpu() != 0
        steps = range(1, timesteps + 1)
        return torch.tensor([not later[:t, t:timesteps].any() for t in steps])

    def single_threshold(self) -> "LMHT":
        """Return the neuron of one level that puts out in L steps what this one does in one.

        ``Omega'[i,j] = Omega[ceil(i/L), ceil(j/L)]/L``, so every step of a window of L gets the
        same current; lambda acts at a window's first step only. Counts are equal in each window if
        the currents are those of Theorem 4.2 (i), in ``[0, theta)``; potentials are L times this
        neuron's, as thresholds are.
        """
        L = self.params.levels
        changed = {"levels": 1, "omega": "uniform", "leaks": "step"}
        twin = LMHT(self.params.model_copy(update=changed), self.threshold, L * self.timesteps)
        with torch.no_grad():
            twin.omega.copy_(self.matrix().repeat_interleave(L, 0).repeat_interleave(L, 1) / L)
            twin.alpha.zero_()
            twin.alpha[::L] = self.alpha
        return twin

    def constants(self, sample: Tensor) -> tuple[Tensor, ...]:
        """Return ``u``."""
        return (self.unit(sample),)

    def schedule(self, state: State, steps: int) -> Tensor:
        """Return each step's lambda, levels, and 1 if gradients pass potential and reset."""
        done, p = len(state.past), self.params
        retention = self.retention()[done : done + steps, None]
        fixed = retention.new_tensor([[p.levels, p.reset == "through"]])
        return torch.cat([retention, fixed.expand(len(retention), 2)], 1)

    def mixing(self, state: State, steps: int) -> Tensor:
        """Return Omega of the next steps."""
        return self.rows(len(state.past), steps)

    def continued(
        self, state: State, changed: Mapping[str, Tensor], steps: int, seen: Tensor | None
    ) -> State:
        """Return the state, with the currents that the next call needs."""
        past = state.past if seen is None else self.past(seen, state)
        return State(changed["potential"], past)

    def rows(self, done: int, steps: int) -> Tensor:
        """Return Omega of the next steps, ``[steps, done + steps]``."""
        T = self.timesteps
        if done + steps > T or (steps < T and not self.causal):
            raise ValueError(f"an LM-HT neuron for {T} steps was given {steps} after {done}")
        return self.matrix()[done : done + steps, : done + steps]

    def seen(self, currents: Tensor, state: State) -> Tensor:
        """Return what is mixed: these steps' currents, and those before them ``[s, B, *N]``."""
        return torch.cat([state.past, currents]) if len(state.past) else currents

    def past(self, seen: Tensor, state: State) -> Tensor:
        """Return the state that the next call starts from."""
        return seen if self.causal else state.past

    def mix(self, seen: Tensor, steps: int) -> Tensor:
        """Return ``J`` of the last ``steps`` steps ``[steps, B, *N]``.

        A sum of products, not a matrix product, whose rounding depends on the batch.
        """
        rows = self.rows(len(seen) - steps, steps).to(seen.dtype)
        places = [1] * (seen.dim() - 1)
        mixed = torch.zeros_like(seen[-steps:])
        for j, current in enumerate(seen):
            mixed = mixed + rows[:, j].view(-1, *places) * current
        return mixed

    def run(self, currents: Tensor, state: State, keep: Tensor | None) -> tuple[Spikes, State]:
        """Run all steps."""
        seen = self.seen(currents, state)
        mixed = self.mix(seen, len(currents))
        unit, retention = self.unit(currents[0]), self.retention().to(currents.dtype)
        potential, counts, values = state.potential, [], []
        detached, done = self.params.reset == "detached", len(state.past)
        for t, current in enumerate(mixed):
            carried = potential.detach() if detached else potential
            potential = retention[done + t] * carried + current
            count = level_spikes(potential, unit, self.params.levels)
            if keep is not None:
                count = count * keep[t]
            value = count * unit
            potential = potential - (value.detach() if detached else value)
            counts.append(count)
            values.append(value)
        after = State(potential, self.past(seen, state))
        return Spikes(stack_time(counts), stack_time(values)), after


def _start(omega: str, timesteps: int) -> Tensor:
    match omega:
        case "identity":
            return torch.eye(timesteps)
        case "bounded":
            return torch.zeros(timesteps, timesteps)
        case "causal":
            lower = torch.ones(timesteps, timesteps).tril()
            return lower / lower.sum(1, keepdim=True)
    return torch.full((timesteps, timesteps), 1 / timesteps)


class _LevelSpikes(torch.autograd.Function):
    @staticmethod
    def forward(potential: Tensor, unit: Tensor, levels: int) -> Tensor:
        return (potential / unit).floor_().clamp_(0, levels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        potential, unit, ctx.levels = inputs
        ctx.save_for_backward(potential, unit)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        potential, unit = ctx.saved_tensors
        inside = (potential >= unit / 2) & (potential <= (ctx.levels + 0.5) * unit)
        return grad * inside / unit, None, None


def level_spikes(potential: Tensor, unit: Tensor, levels: int) -> Tensor:
    """Compute ``clip(floor(v/u), 0, L)`` in the potential's type; its derivative is a rectangle."""
    count: Tensor = _LevelSpikes.apply(potential, unit, levels)
    return count


NEURON = LMHT

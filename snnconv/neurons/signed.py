"""Signed neuron with memory: it takes back spikes that came too early.

With ``v`` the membrane potential, ``I`` the current, ``theta`` the threshold, ``m`` the sum of all
counts so far, ``g`` the most spikes of a step and ``h`` the hysteresis::

    v += I
    n = floor(v/theta), but 0 where -h*theta < v < 0
    s = clip(n, -g, g);   s = max(s, -m);   s = min(s, M[t] - m) under a ceiling
    v -= s*theta;   m += s;   x = s*theta

The sum never falls below zero, because a ReLU does not either. It may at a transfer site, whose
activation may be negative: there ``s = max(s, -m)`` is left out, and ``h`` is 0, because a value
below zero is not an error that could wait. If the activation has a ceiling ``c`` (ReLU6, QCFS),
``M[t] = floor(t*c/theta)``, so no mean output lies above it. The total charge is
``U = v + m*theta``, so ``m`` follows ``clip(floor(U/theta), 0, M)`` as fast as ``g`` spikes a step
allow. After the input of a layer has settled, its mean output is the quantized activation: spikes
that came too early have no lasting effect. ``v`` starts at ``v0*theta``. Under differential coding
``m`` is not a whole number; there it bounds a whole number of spikes.

With ``levels = L`` above 1 a step has one spike of ``theta/2^k``, ``k < L``: an event with an
index. Its unit ``u = theta/2^(L - 1)`` replaces theta above, and ``g = 2^(L - 1)``. If a count is
not 0, its size becomes the largest power of two ``p`` with ``abs(v/u - v0) >= 3*p/4``, or 1. If a
bound cuts it, the rest is rounded towards 0 to a power of two. A count is in units of u, so a spike
of theta counts ``2^(L - 1)``.

Presets: ``snm`` has one spike, a negative one at ``v <= -theta``, and ``v0 = 0``; ``burst`` has up
to five spikes, none of them negative. With one spike and none negative, the neuron is IF, bit by
bit.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    Wang et al. 2022, *Signed Neuron with Memory: Towards Simple, Accurate and High-Efficient
    ANN-SNN Conversion* (``snm``); Li & Zeng 2022, *Efficient and Accurate Conversion of Spiking
    Neural Network with Burst Spikes* (``burst``). The negative spike at ``v < 0`` under a memory is
    that of Hu et al. 2023 (Fast-SNN).

Deviations:
    The general form is this project's: several spikes of both signs, and the dead zone of ``h``,
    in which a potential that is a little below zero waits. Levels of theta/2^k are those of Huang
    et al. 2025, *Differential Coding for Training-Free ANN-to-SNN Conversion*; from ``v0 = u/2``
    the smallest is fired at half of u, where their ``v0 = 0`` waits for three quarters. SNM's
    threshold is one a neuron, from its own largest activation; here it is a layer's or a channel's.
    The most spikes of ``burst`` and its ``v0`` may be changed, which the paper's five and 0 may
    not. Gradients: straight through
    the floor, as for QCFS, exact through the bounds, the reset and the memory. So the gradient
    of the mean output by a current is 1 where the sum follows the charge, and 0 where a bound holds
    it, the same as a clipped ReLU's; with a triangle (:mod:`snnconv.neurons.surrogates.triangle`)
    charge far from a threshold would have none, although it is put out a step later.
"""

from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from snnconv.core.bounds import LEVELS
from snnconv.core.shapes import per_neuron
from snnconv.neurons.base import CausalNeuron, Grid, NeuronParams
from snnconv.neurons.kernel import ONE, ZERO, Kernel, Number, Numbers
from snnconv.neurons.powers_of_two import FINEST, nearest, nearest_powers, power, powers

PRESETS: dict[str, dict[str, float | bool]] = {
    "snm": {"spikes": 1, "hysteresis": 1.0, "v0": 0.0},
    "burst": {"spikes": 5, "negative": False},
}
"""Published neurons that are special cases."""


class Params(NeuronParams):
    """Parameters of the signed neuron; a preset sets those that are not given."""

    examples = (
        {"spikes": 4, "hysteresis": 0},
        {"preset": "snm"},
        {"preset": "burst"},
        {"levels": 3},
        {"negative": False, "v0": 0},
    )
    preset: Literal["mixed", "snm", "burst"] = Field("mixed", description="a published neuron")
    spikes: int = Field(1, ge=1, le=LEVELS, description="g, the most spikes of a step")
    levels: int = Field(
        1, ge=1, le=FINEST, description="L: a spike carries theta/2^k, k < L; more than 1 for g = 1"
    )
    hysteresis: float = Field(
        0.25, ge=0, le=1, description="h, how far below 0 a negative spike waits, units of u"
    )
    negative: bool = Field(True, description="negative spikes on")
    v0: float = Field(
        0.5, ge=0, lt=1, description="initial potential, units of u = theta/2^(L - 1)"
    )

    @property
    def parts(self) -> int:
        """``2^(L - 1)``, units of a spike of theta."""
        return int(2 ** (self.levels - 1))

    @property
    def most(self) -> int:
        """The largest count of a step."""
        return self.spikes * self.parts

    def grid(self, timesteps: int) -> Grid:
        """Return multiples of u/T, up to g*theta."""
        return Grid(timesteps * self.most, self.v0, float(self.spikes))

    def fit(self, timesteps: int) -> Grid:
        """Return the grid clipped at theta, as if it had one spike a step.

        More spikes in a step serve to correct late charge. A finer grid has a smaller error and
        more spikes; the scale of the thresholds decides how fine it is. Parts of theta serve
        to round less.
        """
        return Grid(timesteps * self.parts, self.v0)

    @model_validator(mode="after")
    def _one_kind_of_levels(self) -> Self:
        if self.levels > 1 and self.spikes > 1:
            raise ValueError("levels above 1 take spikes=1: a step has one spike of theta/2^k")
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        return PRESETS.get(str(given.get("preset", "mixed")), {}) | given


class State(NamedTuple):
    """Membrane potential and sum of counts ``[B, *N]``, and steps done."""

    potential: Tensor
    total: Tensor
    steps: int


def _counted(potential: Number, constants: Numbers, schedule: Numbers) -> tuple[Number, Number]:
    """Return how many units fit, up to g of either sign, and the gradient by the potential."""
    unit, g, negative = constants[0], schedule[1], schedule[3]
    count = np.floor(potential / unit)
    if count > g:
        return g, ZERO
    if negative > ZERO and count < -g:
        return -g, ZERO
    return count, ONE


def _bounded(
    count: Number,
    of_potential: Number,
    potential: Number,
    total: Number,
    constants: Numbers,
    schedule: Numbers,
) -> tuple[Number, Number, Number]:
    """Return a count within the bounds of memory and ceiling, and its gradients."""
    (unit, ceiling), t, h, negative = constants, schedule[0], schedule[2], schedule[3]
    of_total = ZERO
    if negative > ZERO:
        if negative == ONE and count < -np.floor(total):
            count, of_potential, of_total = ZERO - np.floor(total), ZERO, -ONE
        if potential < ZERO and potential > -h * unit:
            count = ZERO
    elif count < ZERO:
        count, of_potential = ZERO, ZERO
    if ceiling > ZERO and count > ZERO:
        most = np.floor(t * ceiling - total)
        if count > most:
            count, of_potential, of_total = max(most, ZERO), ZERO, -ONE
    return count, of_potential, of_total


def _spikes(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Number]:
    """Return a step's count, its gradient by the potential, times the unit, and by the total."""
    potential, total = state[0] + current, state[1]
    count, of_potential = _counted(potential, constants, schedule)
    found = _bounded(count, of_potential, potential, total, constants, schedule)
    return found if keep > ZERO else (ZERO, ZERO, ZERO)


def _spikes_of_levels(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Number]:
    """Return the same for a neuron that may have levels."""
    potential, total = state[0] + current, state[1]
    g, fine, v0 = schedule[1], schedule[4], schedule[5]
    count, of_potential = _counted(potential, constants, schedule)
    if fine > ZERO and count != ZERO:
        size = nearest(abs(potential / constants[0] - v0), g)
        count = size if count > ZERO else -size
    given = (count, of_potential, potential, total, constants, schedule)
    count, of_potential, of_total = _bounded(*given)
    if fine > ZERO:
        rounded = -power(-count) if count < ZERO else power(count)
        if rounded != count:
            count, of_potential, of_total = rounded, ZERO, ZERO
    return (count, of_potential, of_total) if keep > ZERO else (ZERO, ZERO, ZERO)


def _after(
    count: Number, current: Number, constants: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    value = count * constants[0]
    return count, value, (state[0] + current - value, state[1] + count)


def _through(
    of_potential: Number,
    of_total: Number,
    unit: Number,
    of_count: Number,
    of_value: Number,
    of_state: Numbers,
) -> tuple[Number, Numbers, Numbers]:
    """Return the gradients of a step, by those of its count."""
    later, later_total = of_state
    of_spike = of_count + later_total + (of_value - later) * unit
    found = later + of_spike * of_potential / unit
    return found, (found, later_total + of_spike * of_total), ()


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    count, _, _ = _spikes(current, keep, constants, schedule, state)
    return _after(count, current, constants, state)


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
    _, of_potential, of_total = _spikes(current, keep, constants, schedule, state)
    return _through(of_potential, of_total, constants[0], of_count, of_value, of_state)


def step_of_levels(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron that may have levels."""
    count, _, _ = _spikes_of_levels(current, keep, constants, schedule, state)
    return _after(count, current, constants, state)


def gradient_of_levels(
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
    _, of_potential, of_total = _spikes_of_levels(current, keep, constants, schedule, state)
    return _through(of_potential, of_total, constants[0], of_count, of_value, of_state)


class Signed(CausalNeuron[State]):
    """A layer of signed neurons."""

    params_type = Params
    params: Params
    KERNEL = Kernel(step, gradient, states=("potential", "total"))

    def __new__(cls, params: Params | None = None, *given: Any) -> "Signed":
        """Make neurons with levels from a separate class, whose kernel takes twice the time."""
        leveled = cls is Signed and params is not None and params.levels > 1
        return super().__new__(SignedOfLevels if leveled else cls)

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        self.levels = params.most
        self.signed = self.tracks = params.negative

    @property
    def hysteresis(self) -> float:
        """h at this site."""
        return 0.0 if self.two_sided else self.params.hysteresis

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0, without a spike so far."""
        start = self.everywhere(self.params.v0 * self.unit(sample), sample)
        return State(start, self.everywhere(sample.new_zeros(()), sample), 0)

    def unit(self, sample: Tensor) -> Tensor:
        """Return ``u = theta/2^(L - 1)``, to broadcast over one step."""
        return self.theta(sample) / self.params.parts

    def amplitude(self) -> Tensor:
        """Return the unit."""
        return self.threshold / self.params.parts

    def left(self, state: State) -> Tensor | None:
        """Return how many spikes a step may add under a ceiling, ``[B, *N]``; None without one."""
        if self.ceiling is None:
            return None
        share = per_neuron(self.ceiling, state.total.dim()) / self.unit(state.total)
        most = ((state.steps + 1) * share).to(state.total.dtype)
        return _floor(most - state.total)

    def constants(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unit, and the ceiling in units of it; 0 for none."""
        unit = self.unit(sample)
        if self.ceiling is None:
            return unit, unit.new_zeros(())  # one number, not one of each neuron
        return unit, per_neuron(self.ceiling, sample.dim()) / unit

    def schedule(self, state: State, steps: int) -> Tensor:
        """Return each step's number, g, h, the signs, 1 if levels differ, and v0.

        The signs are 1 if spikes may be negative, 2 if their sum may be, too.
        """
        p = self.params
        numbers = torch.arange(state.steps + 1, state.steps + steps + 1).float()
        signs = p.negative + self.two_sided
        same = torch.tensor([p.most, self.hysteresis, signs, p.levels > 1, p.v0])
        same = same.expand(steps, len(same))
        return torch.cat([numbers[:, None], same], 1)

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        unit, g = self.unit(current), self.params.most
        potential = state.potential + current
        count = _Floor.apply(potential, unit)
        # with `where`, a bound that is just met lets the gradient pass
        count = torch.where(count > g, g, count)
        if self.params.negative:
            count = torch.where(count < -g, -g, count)
        if self.params.levels > 1:
            near = nearest_powers((potential.detach() / unit - self.params.v0).abs(), g)
            near = torch.where(count == 0, 0, near * count.detach().sign())
            count = count + (near - count).detach()
        if self.params.negative:
            if not self.two_sided:
                least = 0 - _floor(state.total)
                count = torch.where(count < least, least, count)
            waiting = (potential < 0) & (potential > -self.hysteresis * unit)
            count = torch.where(waiting, count - count.detach(), count)
        else:
            count = torch.where(count < 0, 0, count)
        left = self.left(state)
        if left is not None:
            count = torch.where((count > left) & (count > 0), left.clamp(min=0), count)
        if self.params.levels > 1:
            rounded = powers(count.detach())
            count = torch.where(rounded == count, count, rounded)
        if keep is not None:
            count = torch.where(keep > 0, count, 0)
        value = count * unit
        after = State(potential - value, state.total + count, state.steps + 1)
        return count, value, after


class SignedOfLevels(Signed):
    """The same with spikes of theta/2^k."""

    KERNEL = Kernel(step_of_levels, gradient_of_levels, states=("potential", "total"))


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(potential: Tensor, theta: Tensor) -> Tensor:
        return (potential / theta).floor_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (theta,) = ctx.saved_tensors
        return grad / theta, None


def _floor(values: Tensor) -> Tensor:
    found: Tensor = _Floor.apply(values, torch.ones(()))
    return found


NEURON = Signed

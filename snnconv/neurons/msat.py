"""Multi-stage adaptive threshold: each neuron's threshold follows its own potential and input.

With ``V[t]`` the potential before firing, ``v[t]`` after it, ``m[t]`` the running mean of ``v``
over steps 1..t, all in units of the calibrated ``theta``::

    DTT[t]   = alpha*(v[t] - m[t]) + V_T + k_a*ln(1 + exp((v[t] - m[t])/k_i))
    DET[t+1] = exp(-(V[t+1] - V[t])/C)
    V_th[t+1] = theta * sigmoid(tau_mp*DTT[t] + tau_rd*DET[t+1]),   V_th[1] = theta
    s = H(V - V_th);   v = V - s*V_th;   x = s*V_th

DTT (dynamic tracking threshold) raises the threshold of a neuron whose potential stays high, DET
(dynamic evoked threshold) lowers that of a neuron that is depolarised quickly.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.

Reference:
    MSAT Eq. 9-13 and 15, Algorithm 1, lines 11-13; constants of Table 2.

Deviations:
    ``V_T = -1`` comes from the authors' code, because the paper does not print it; with
    ``v_t=auto`` conversion finds one for each layer, since Eq. 12 calls it "the parameter to
    optimize". Eq. 13 repeats the factor
    ``tau_rd`` of Eq. 11: it is applied once. ``depolarization=input`` takes the input current in
    place of ``V[t+1] - V[t]``, as the authors' code does. With DTT or DET switched off its term
    is left out of the sigmoid's argument; with both off the threshold is theta, which is IF. In
    training the threshold is a detached function of the state; gradients pass through the
    potential, the surrogate and the reset (see :mod:`snnconv.neurons.if_`).
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from snnconv.neurons.base import CausalNeuron, Grid, NeuronParams
from snnconv.neurons.exact_math import exp, softplus
from snnconv.neurons.exact_math_scalar import exp as exp_of
from snnconv.neurons.exact_math_scalar import softplus as softplus_of
from snnconv.neurons.kernel import ONE, ZERO, Kernel, Number, Numbers, Slope

PRESETS: dict[str, dict[str, float]] = {
    "vgg16": {"alpha": 0.03, "tau_mp": 1.0, "tau_rd": 1.0},
    "resnet20": {"alpha": 0.3, "tau_mp": 0.5, "tau_rd": 0.5},
    "resnet34": {"alpha": 1.0, "tau_mp": 0.5, "tau_rd": 0.5},
}
"""The columns of Table 2 that differ."""
OFFSET = -1.0  # the authors' V_T


class Params(NeuronParams):
    """Parameters of the MSAT neuron; a preset sets those that are not given."""

    examples = (
        {"dtt": False},
        {"det": False},
        {"dtt": False, "det": False},
        {"preset": "resnet34", "depolarization": "input", "v0": 0.25},
        {"preset": "resnet20", "det": False, "v0": 0.5},
        {"k_a": 0.5, "k_i": 2, "c": 1, "tau_mp": 2, "tau_rd": 0.25, "v_t": -0.5},
        {"preset": "resnet20", "v_t": "auto"},
    )
    preset: Literal["vgg16", "resnet20", "resnet34"] = Field("vgg16", description="Table 2 column")
    alpha: float = Field(0.03, description="slope of DTT left of its bend")
    k_a: float = Field(1.0, ge=0, description="height of DTT's bend")
    k_i: float = Field(1.0, gt=0, description="width of DTT's bend")
    c: float = Field(5.0, gt=0, description="C, input sensitivity of DET")
    tau_mp: float = Field(1.0, ge=0, description="weight of DTT")
    tau_rd: float = Field(1.0, ge=0, description="weight of DET")
    v_t: float | Literal["auto"] = Field(
        OFFSET, description="V_T, DTT's offset; auto: one for each layer, found by conversion"
    )
    v0: float = Field(0.0, ge=0, lt=1, description="initial potential, units of theta")
    dtt: bool = Field(True, description="dynamic tracking threshold on")
    det: bool = Field(True, description="dynamic evoked threshold on")
    depolarization: Literal["potential", "input"] = Field(
        "potential", description="what DET sees: V[t+1] - V[t], or the input current"
    )

    @property
    def offset(self) -> float:
        """V_T, before each layer has its own."""
        return OFFSET if self.v_t == "auto" else self.v_t

    @property
    def by_layer(self) -> dict[str, tuple[float, float]]:
        """V_T, within bounds that move the threshold from almost 0 to almost theta."""
        return {"v_t": (-5.0, 5.0)} if self.v_t == "auto" and self.dtt else {}

    def fit(self, timesteps: int) -> Grid:
        """Return the grid of spikes that carry the threshold at a constant potential."""
        if not (self.dtt or self.det):
            return self.grid(timesteps)
        drive = self.tau_rd * self.det
        drive += self.dtt * self.tau_mp * (self.offset + self.k_a * math.log(2))
        return Grid(timesteps, self.v0, 1 / (1 + math.exp(-drive)))

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        return PRESETS.get(str(given.get("preset", "vgg16")), {}) | given


class State(NamedTuple):
    """Between two steps: potentials and running mean ``[B, *N]`` in membrane units, steps done."""

    before: Tensor
    after: Tensor
    mean: Tensor
    steps: int


_HALF, _LN2 = Number(0.5), Number(0.6931471)  # a little less than ln(2)
_LEFT, _RIGHT = Number(0.25), Number(0.19)  # slopes: sigmoid(2) is 0.5 + 2*0.1904
_SLACK, _LESS = Number(1e-4), Number(1 - 1e-4)


def _fires_at(
    current: Number, theta: Number, schedule: Numbers, state: Numbers
) -> tuple[Number, Number]:
    """Return the potential before firing, and the threshold."""
    adapts, sees_input, _, a_i, a, slope, level, c, tau = schedule
    last, v, mean = state
    potential = v + current
    if adapts == ZERO:
        return potential, theta
    deviation = (v - mean) / theta
    drive = softplus_of(deviation * a_i) * a
    drive = drive + deviation * slope + level
    rise = current if sees_input > ZERO else potential - last
    drive = drive + exp_of(rise / theta * c) * tau
    return potential, theta / (exp_of(-drive) + ONE)


def step(
    current: Number, keep: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> tuple[Number, Number, Numbers]:
    """Compute one step of one neuron."""
    potential, threshold = _fires_at(current, constants[0], schedule, state)
    count = keep if potential >= threshold else ZERO
    value = count * threshold
    after, mean = potential - value, state[2]
    return count, value, (potential, after, mean + (after - mean) * schedule[2])


def silent(current: Number, constants: Numbers, schedule: Numbers, state: Numbers) -> bool:
    """Whether a neuron surely does not fire, computed in a few operations, and its state then.

    A number below the threshold: ``ln(1 + e^z) >= max(z, ln(2) + z/2, 0)``, a maximum of tangents;
    ``e^z >= max(1 + z, 0)``; the sigmoid rises, on the left it is above its tangent at 0, on the
    right above its chord to 2, which gives ``0.19 z``. Everything here is multiplied by theta, so
    that nothing is divided. The slack covers rounding, here and in the step.
    """
    adapts, sees_input, _, a_i, a, slope, level, c, tau = schedule
    theta, (last, v, mean) = constants[0], state
    potential, deviation = v + current, v - mean
    bend = deviation * a_i
    tangent = bend * _HALF + theta * _LN2
    bend = tangent if bend < tangent else bend
    bend = ZERO if bend < ZERO else bend
    grown = potential - last
    rise = (current if sees_input > ZERO else grown) * c + theta
    rise = ZERO if rise < ZERO else rise
    tilt = deviation * slope
    drive = bend * (a * _LESS) + (tilt - abs(tilt) * _SLACK)
    drive = drive + theta * (level - abs(level) * _SLACK) + rise * (tau * _LESS)
    drive = theta + theta if drive > theta + theta else drive
    left, right = drive * _LEFT, drive * _RIGHT
    least = (left if left < right else right) + theta * (_HALF - _SLACK)
    least = theta if adapts == ZERO else least
    return bool(potential < least)


def settled(
    value: Number, current: Number, constants: Numbers, schedule: Numbers, state: Numbers
) -> Numbers:
    """Return the state after a step that gave this value."""
    _, v, mean = state
    potential = v + current
    after = potential - value
    return potential, after, mean + (after - mean) * schedule[2]


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
    of_before, later, _ = of_state
    potential, threshold = _fires_at(current, constants[0], schedule, state)
    of_fired = ((of_value - later) * threshold + of_count) * keep
    found = later + of_fired * slope(potential, threshold, shape) + of_before
    return found, (ZERO, found, ZERO), ()


class MSAT(CausalNeuron[State]):
    """A layer of MSAT neurons."""

    params_type = Params
    params: Params
    surrogate_of_its_own = False
    KERNEL = Kernel(step, gradient, ("before", "after", "mean"), silent=silent, settled=settled)
    potentials = ("before", "after")
    adapts = True

    def __init__(self, params: Params, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__(params, threshold, timesteps)
        if params.by_layer:  # found by conversion, not by training
            self.v_t = nn.Parameter(torch.tensor([params.offset]), requires_grad=False)

    def offset(self) -> float | Tensor:
        """Return ``tau_mp*V_T``: a number, or of this layer ``[1]``."""
        p = self.params
        return p.tau_mp * (self.v_t.detach() if p.by_layer else p.offset)

    def initial(self, sample: Tensor) -> State:
        """Start all neurons at v0."""
        start = self.everywhere(self.params.v0 * self.theta(sample), sample)
        return State(start, start, self.everywhere(sample.new_zeros(()), sample), 0)

    def firing_threshold(self, current: Tensor, state: State) -> Tensor:
        """Return the step's own threshold."""
        theta = self.theta(current)
        return self.adapted(current, state.after + current, state, theta).expand_as(current)

    def membrane(self, state: State) -> Tensor:
        """Return the potential after firing."""
        return state.after

    def schedule(self, state: State, steps: int) -> Tensor:
        """Whether thresholds adapt, what DET sees, the weight of the mean, and all constants.

        A term that is switched off has zeros, so it adds nothing.
        """
        p = self.params
        dtt = (1 / p.k_i, p.tau_mp * p.k_a, p.tau_mp * p.alpha, float(self.offset()))
        fixed = [*(dtt if p.dtt else (0.0,) * 4), *((-1 / p.c, p.tau_rd) if p.det else (0.0,) * 2)]
        sees_input = float(p.depolarization == "input")
        rows = []
        for t in range(state.steps, state.steps + steps):
            adapts = float(t > 0 and (p.dtt or p.det))
            rows.append([adapts, sees_input, 1 / (t + 1) if p.dtt else 0.0, *fixed])
        return torch.tensor(rows)

    def step(
        self, current: Tensor, state: State, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """Compute one step."""
        theta = self.theta(current)
        before = state.after + current
        threshold = self.adapted(current, before, state, theta)
        fired = self.spike(before, threshold)
        if keep is not None:
            fired = fired * keep
        value = fired * threshold
        return fired, value, self.followed(before, before - value, state)

    def followed(self, before: Tensor, after: Tensor, state: State) -> State:
        """Return the state after a step, by the potential before and after firing."""
        mean = state.mean
        if self.params.dtt:
            mean = mean + (after.detach() - mean) * (1 / (state.steps + 1))
        return State(before, after, mean, state.steps + 1)

    @torch.no_grad()
    def adapted(self, current: Tensor, before: Tensor, state: State, theta: Tensor) -> Tensor:
        """Return this step's threshold, in membrane units, broadcastable to ``[B, *N]``."""
        p = self.params
        if state.steps == 0 or not (p.dtt or p.det):
            return theta
        drive = torch.zeros_like(before)
        # quotients by parameters are products: a GPU makes them so, a CPU does not
        if p.dtt:
            deviation = (state.after - state.mean) / theta
            drive = softplus(deviation * (1 / p.k_i)) * (p.tau_mp * p.k_a)
            drive = drive + deviation * (p.tau_mp * p.alpha) + self.offset()
        if p.det:
            rise = current if p.depolarization == "input" else before - state.before
            drive = drive + exp(rise / theta * (-1 / p.c)) * p.tau_rd
        return theta / (exp(-drive) + 1)


NEURON = MSAT

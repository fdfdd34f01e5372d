"""Layers of neurons for the tests: every kind, every switch."""

import torch

from snnconv.engine.dispatch import fire
from snnconv.neurons.base import NEURONS
from snnconv.neurons.if_ import IF, Params

VARIANTS = {
    "lm-ht": [
        {},
        {"levels": 1, "omega": "identity", "v0": 0},
        {"levels": 4, "omega": "bounded", "reset": "through"},
        {"levels": 3, "omega": "causal", "leaks": "step"},
    ],
    "lm-h": [{}, {"scalars": "step", "v0": 0}, {"reset": "through"}],
    "if": [{}, {"v0": 0}],
    "msat": [
        {},
        {"dtt": False},
        {"det": False},
        {"dtt": False, "det": False},
        {"preset": "resnet34", "depolarization": "input", "v0": 0.25},
        {"preset": "resnet20", "det": False, "v0": 0.5},
        {"k_a": 0.5, "k_i": 2, "c": 1, "tau_mp": 2, "tau_rd": 0.25, "v_t": -0.5},
    ],
}
EVERY_LAYER = [(name, params) for name, variants in VARIANTS.items() for params in variants]

RESIDUAL = {
    "if": lambda state: state.potential,
    "lm-ht": lambda state: state.potential,
    "lm-h": lambda state: state.soma,
    "msat": lambda state: state.after,
}
"""The potential after the last step, by kind."""


CHARGE = {"lm-ht": lambda neurons, currents: neurons.mix(currents, len(currents))}
"""What the membrane is given, by kind, where it is not the currents."""

GAIN = {
    "lm-ht": lambda neurons: neurons.matrix().detach().sum(0).max().item(),
    "lm-h": lambda neurons: neurons.timesteps if neurons.params.reset == "detached" else 1,
}
"""How much of a current all steps' membranes are given, by kind, where it is not 1.

Where the gradient skips the reset, a current counts once for itself and once for each later step.
"""


def layer(name, theta=1.0, dtype=torch.float32, steps=1, **params):
    """A layer of neurons, made for so many steps where its kind has to know."""
    kind = NEURONS.load(name)
    return kind(kind.params_type(**params), torch.as_tensor(theta, dtype=dtype), steps)


def causal(name, params):
    """Whether the kind may be run in chunks of time."""
    return layer(name, **params).causal


CHUNKED = [(name, params) for name, params in EVERY_LAYER if causal(name, params)]


def parts(state):
    """A state's tensors and numbers, copied."""
    return [x.detach().clone() if isinstance(x, torch.Tensor) else x for x in state]


def same(one, other):
    """Whether two results (tensors, numbers or tuples of them) are equal, bit by bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def fired(T, B, C, H, W, amplitude=None, seed=0):
    """What IF neurons fire, in bits, and in float32."""
    torch.manual_seed(seed)
    amplitude = torch.rand(C) + 0.3 if amplitude is None else amplitude
    currents = torch.randn(T, B, H, W, C).movedim(-1, 2)
    neurons = IF(Params(), amplitude)
    with torch.no_grad():
        given = (neurons, currents, None, None, False, False, None)
        return fire(*given, True).values, fire(*given, False).values

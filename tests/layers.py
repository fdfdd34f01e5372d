"""Layers of neurons for the tests: every kind, every switch."""

import torch

from snnconv.neuron import ROOM

VARIANTS = {
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

RESIDUAL = {"if": lambda state: state.potential, "msat": lambda state: state.after}
"""The potential after the last step, by kind."""


def layer(name, theta=1.0, dtype=torch.float32, **params):
    """A layer of neurons."""
    kind = ROOM.load(name)
    return kind(kind.params_type(**params), torch.as_tensor(theta, dtype=dtype))


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

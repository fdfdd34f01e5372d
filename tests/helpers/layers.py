"""Layers of neurons for the tests: every kind, every switch."""

import torch

from snnconv.engine.dispatch import fire
from snnconv.engine.layer_output import Wants
from snnconv.neurons.base import NEURONS, Spikes
from snnconv.neurons.if_ import IF, Params
from snnconv.testing.base import variants
from snnconv.testing.neurons import Layers, copied, same

__all__ = ["CHUNKED", "EVERY_LAYER", "VARIANTS", "causal", "fired", "layer", "parts", "run", "same"]

VARIANTS = {name: variants(NEURONS.load(name).params_type) for name in NEURONS.names()}
EVERY_LAYER = [(name, params) for name, found in VARIANTS.items() for params in found]


def layer(name, theta=1.0, dtype=torch.float32, steps=1, **params):
    """A layer of neurons, made for so many steps where its kind has to know."""
    return Layers(NEURONS.load(name), params)(theta, dtype, steps)


def causal(name, params):
    """Whether the kind may be run in chunks of time."""
    return layer(name, **params).causal


CHUNKED = [(name, params) for name, params in EVERY_LAYER if causal(name, params)]


def parts(state):
    """A state's tensors and numbers, copied."""
    return list(copied(state))


def fired(T, B, C, H, W, amplitude=None, seed=0):
    """What IF neurons fire, in bits, and in float32."""
    torch.manual_seed(seed)
    amplitude = torch.rand(C) + 0.3 if amplitude is None else amplitude
    currents = torch.randn(T, B, H, W, C).movedim(-1, 2)
    neurons = IF(Params(), amplitude)
    with torch.no_grad():
        given = (neurons, currents, None, None)
        outputs = [fire(*given, Wants(counts=False, packed=packed))[0] for packed in (True, False)]
        return tuple(output.carried for output in outputs)


def run(neurons, *given):
    """The counts and values of all steps, and the state, by the engine's fastest path."""
    output, state = fire(neurons, *given)
    return Spikes(output.counts, output.values), state

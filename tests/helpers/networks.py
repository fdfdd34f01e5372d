"""Spiking networks for the tests: those of :mod:`snnconv.testing.networks`, and what they do."""

from typing import ClassVar

import torch

from snnconv.metrics.base import METRICS
from snnconv.neurons.base import Neuron, Spikes
from snnconv.simulation.simulate import simulate
from snnconv.testing import networks
from snnconv.testing.networks import (
    IMAGE,
    NETS,
    LevelParams,
    TwoLevels,
    captured,
    checkpoint,
    context_of,
    dyadic,
    forked,
    images,
    mlp,
    residual,
    rounded,
    spiking,
    vgg,
)
from snnconv.testing.networks import channels_last as layered
from snnconv.testing.networks import max_pooled as maxed

__all__ = [
    "IMAGE",
    "NETS",
    "Foreseeing",
    "LevelParams",
    "TwoLevels",
    "captured",
    "checkpoint",
    "context_of",
    "dyadic",
    "forked",
    "images",
    "layered",
    "maxed",
    "measured",
    "mlp",
    "recorded",
    "residual",
    "rounded",
    "spiking",
    "vgg",
]


class Foreseeing(Neuron):
    """Not causal: every step puts out the mean of all steps' currents."""

    params_type = LevelParams
    causal: ClassVar[bool] = False

    def initial(self, sample):
        return None

    def run(self, currents, state, keep):
        mean = currents.mean(0, keepdim=True).clamp(min=0).expand_as(currents)
        return Spikes((mean > 0).to(mean.dtype), mean), None


def recorded(snn, x, timesteps, chunk=None, samples=None):
    """Logits at every step, and ``{node: Spikes [T, B, *N]}``.

    Args:
        x: ``[B, *input]``, or ``[f, B, *input]`` of a network whose input is frames.
    """
    seen = {}
    x = x[None] if snn.hold is None else x
    samples = torch.arange(x.shape[1]) if samples is None else samples

    def observe(name, start, output):
        if start < 0:  # of the lead, before the first step
            return
        parts = seen.setdefault(name, [])
        assert start == sum(len(part.counts) for part in parts)
        parts.append(Spikes(output.counts.clone(), output.values_or_mean.clone()))

    logits = simulate(snn, x, samples, timesteps, chunk or timesteps, observe)
    joined = {
        name: Spikes(torch.cat([p.counts for p in parts]), torch.cat([p.values for p in parts]))
        for name, parts in seen.items()
    }
    return logits, joined


def measured(snn, x, labels, timesteps, names, **options):
    """The figures of metrics by name, with the options of :func:`.networks.measured`."""
    kinds = {name: METRICS.load(name) for name in names}
    return networks.measured(snn, x, labels, timesteps, kinds, **options)

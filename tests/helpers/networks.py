"""Small networks with spiking neurons, and what they do, recorded.

Weights, thresholds and inputs are dyadic: sums of them are exact in float32 in any order, so laws
about batches, chunks and memory layouts hold bit by bit.
"""

from typing import ClassVar

import torch
from torch import nn

from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import CalibrationInfo, DataInfo, SiteStats, SpikingInfo
from snnconv.data.frames import mean_frame
from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.metrics.base import METRICS, Batch, Figures, MetricContext, Watch
from snnconv.neurons.base import CausalNeuron, Grid, Neuron, NeuronParams, Spikes
from snnconv.neurons.if_ import IF, Params
from snnconv.simulation.build import ann_inputs
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate

IMAGE = (2, 6, 6)


def dyadic(shape, seed=0, low=-8, high=9, unit=1 / 8):
    """Random multiples of ``unit``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, tuple(shape), generator=generator) * unit


def images(count, shape=IMAGE, seed=1):
    return dyadic((count, *shape), seed, 0, 9)


def rounded(module, unit=1 / 32):
    """The module with every parameter doubled and rounded to a multiple of ``unit``."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((2 * parameter / unit).round() * unit)
    return module.eval()


class Block(nn.Module):
    """A residual block, with a shortcut of its own or the identity."""

    def __init__(self, inputs, outputs, shortcut):
        super().__init__()
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if shortcut else nn.Identity()

    def forward(self, x):
        return self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))


class Fork(nn.Module):
    """Two branches, concatenated."""

    def __init__(self, inputs):
        super().__init__()
        self.left, self.right = nn.Conv2d(inputs, 2, 3, padding=1), nn.Conv2d(inputs, 3, 1)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return torch.cat([self.relu1(self.left(x)), self.relu2(self.right(x))], 1)


def _ending(channels, size):
    return [nn.Flatten(), nn.Linear(channels * size * size, 4)]


def vgg(pool=None):
    torch.manual_seed(0)
    pool = pool or nn.AvgPool2d(2)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        pool,
        nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
        *_ending(3, 3),
    )


def maxed():
    """Max pooling with overlapping and padded windows."""
    return vgg(nn.MaxPool2d(3, stride=2, padding=1))


def residual(shortcut=False):
    torch.manual_seed(0)
    stem = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()
    return nn.Sequential(*stem, Block(3, 3, shortcut), *_ending(3, 6))


def forked():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), Fork(3), *_ending(5, 4))


def mlp():
    torch.manual_seed(0)
    hidden = nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(7, 4))


NETS = {
    "vgg": vgg,
    "max": maxed,
    "identity": residual,
    "shortcut": lambda: residual(True),
    "concat": forked,
    "mlp": mlp,
}


def captured(module, shape=IMAGE):
    """Graph and tensors, BatchNorm folded."""
    return fold(*capture(rounded(module), shape)[:2])


def spiking(
    module, shape=IMAGE, theta=0.5, kind=IF, params=None, seed=0, confidence=None, hold=None, T=1
):
    """A spiking network in evaluation mode; theta is one number, or one for each site."""
    graph, tensors = captured(module, shape)
    neurons = {
        site.name: kind(params or Params(), torch.tensor([level]), T)
        for site, level in zip(graph.sites, _each(theta, graph), strict=True)
    }
    return SpikingNetwork(Network(graph, tensors), neurons, seed, confidence, hold).eval()


def _each(theta, graph):
    return [theta] * len(graph.sites) if isinstance(theta, float) else theta


class LevelParams(NeuronParams):
    v0: float = 0.0


class TwoLevels(CausalNeuron):
    """Puts out 0, 1 or 2 spikes of half a theta."""

    params_type = LevelParams
    levels = 2

    def initial(self, sample):
        return torch.zeros_like(sample)

    def step(self, current, state, keep):
        unit = self.theta(current) / 2
        potential = state + current
        count = torch.floor(potential / unit).clamp(0, 2)
        return count, count * unit, potential - count * unit


class Foreseeing(Neuron):
    """Not causal: every step puts out the mean of all steps' currents."""

    params_type = LevelParams
    causal: ClassVar[bool] = False

    def initial(self, sample):
        return None

    def run(self, currents, state, keep):
        mean = currents.mean(0, keepdim=True).clamp(min=0).expand_as(currents)
        return Spikes((mean > 0).to(mean.dtype), mean), None


def layered(snn):
    """The network in channels-last memory, as ``spiking_network`` makes it."""
    return snn.to(memory_format=torch.channels_last)


def recorded(snn, x, timesteps, chunk=None, samples=None):
    """Logits at every step, and ``{node: Spikes [T, B, *N]}``.

    Args:
        x: ``[B, *input]``, or ``[f, B, *input]`` of a network whose input is frames.
    """
    seen = {}
    x = x[None] if snn.hold is None else x
    samples = torch.arange(x.shape[1]) if samples is None else samples

    def observe(name, start, output):
        parts = seen.setdefault(name, [])
        assert start == sum(len(part.counts) for part in parts)
        parts.append(Spikes(output.counts.clone(), output.values_or_mean.clone()))

    logits = simulate(snn, x, samples, timesteps, chunk or timesteps, observe)
    joined = {
        name: Spikes(torch.cat([p.counts for p in parts]), torch.cat([p.values for p in parts]))
        for name, parts in seen.items()
    }
    return logits, joined


def context_of(snn, timesteps, v0=0.5):
    """What metrics have to know of a network."""
    return MetricContext(
        analysis=snn.analysis,
        network=snn.network.views(),
        thresholds={name: neuron.threshold for name, neuron in snn.neurons.items()},
        grid=Grid(timesteps * snn.levels, v0),
        levels=snn.levels,
        timesteps=timesteps,
        energy_ac_pj=0.9,
        energy_mac_pj=4.6,
        hold=snn.hold,
        answers=snn.answers(timesteps),
    )


def measured(snn, x, labels, timesteps, names, batches=None, chunk=None, found=None, needs=None):
    """The figures of metrics by name, energy last; ``needs`` in place of theirs."""
    metrics = {name: METRICS.load(name)(context_of(snn, timesteps)) for name in names}

    watch = Watch(metrics.values())
    needs = needs or watch.needs
    x = x[None] if snn.hold is None else x
    for indices in batches or [torch.arange(len(labels))]:
        for metric in metrics.values():
            mean = mean_frame(x[:, indices])
            metric.begin(Batch(labels[indices], *ann_inputs(snn.network, mean)))
        steps = chunk or timesteps
        logits = simulate(snn, x[:, indices], indices, timesteps, steps, watch, needs)
        for metric in metrics.values():
            metric.finish(logits)
    found = found or Figures()
    for name in sorted(names, key="energy".__eq__):
        figures = metrics[name].figures(found)
        found.totals |= figures.totals
        for node, row in figures.layers.items():
            found.layers.setdefault(node, {}).update(row)
    return found


def checkpoint(module, shape=IMAGE, theta=1.0, neuron="if", params=None, timesteps=8, **how):
    """A converted checkpoint of a module, BatchNorm as trained; captured as ``how`` says."""
    graph, tensors, _ = capture(module.eval(), shape, **how)
    site = SiteStats(threshold=theta, max=theta, mean=0.1, zero_share=0.5, clipped_share=0.0)
    return Checkpoint(
        "converted",
        graph,
        DataInfo(spec="digits", shape=shape, classes=tuple("0123"), mean=(0.0,), std=(1.0,)),
        tensors,
        (),
        calibrated=CalibrationInfo(
            method="max",
            params={},
            granularity="layer",
            samples=1,
            sites={s.name: site for s in graph.sites},
        ),
        calibration={f"{s.name}/threshold": torch.tensor([theta]) for s in graph.sites},
        spiking=SpikingInfo(neuron=neuron, params=params or {}, timesteps=timesteps, seed=0),
    )

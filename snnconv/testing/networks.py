"""Small networks with spiking neurons, for laws of what is measured on them.

Weights, thresholds and inputs are dyadic: float32 adds them up exactly in any order, so laws about
batches, chunks and memory layouts hold bit by bit.

Shape:
    Images ``[B, 2, 6, 6]``, logits ``[B, 4]``.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn

from snnconv.checkpoint import Checkpoint
from snnconv.core.metadata import CalibrationInfo, ConfidenceInfo, DataInfo, SiteStats, SpikingInfo
from snnconv.data.frames import mean_frame
from snnconv.engine.layer_output import ObserverNeeds
from snnconv.frontends.torch.capture import capture
from snnconv.graph.fold import fold
from snnconv.graph.ir import Graph
from snnconv.graph.network import Network, ann_inputs
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext, Watch
from snnconv.neurons.base import CausalNeuron, Grid, Neuron, NeuronParams
from snnconv.neurons.if_ import IF
from snnconv.simulation.codings.base import Coding
from snnconv.simulation.codings.rate import RateCoding
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate
from snnconv.simulation.twin import QuantizedTwin

IMAGE = (2, 6, 6)

P = ParamSpec("P")


def dyadic(
    shape: Iterable[int], seed: int = 0, low: int = -8, high: int = 9, unit: float = 1 / 8
) -> Tensor:
    """Draw random multiples of ``unit`` from ``low*unit`` to below ``high*unit``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, tuple(shape), generator=generator) * unit


def images(count: int, shape: tuple[int, ...] = IMAGE, seed: int = 1) -> Tensor:
    """Draw samples with values in 0..1, ``[count, *shape]``."""
    return dyadic((count, *shape), seed, 0, 9)


def rounded(module: nn.Module, unit: float = 1 / 32) -> nn.Module:
    """Return the module with every parameter doubled and rounded to a multiple of ``unit``."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((2 * parameter / unit).round() * unit)
    return module.eval()


class Block(nn.Module):
    """A residual block, whose shortcut is a convolution or the identity."""

    def __init__(self, inputs: int, outputs: int, shortcut: bool) -> None:
        super().__init__()
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[B, inputs, H, W] -> [B, outputs, H, W]``."""
        y: Tensor = self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))
        return y


class Fork(nn.Module):
    """Two branches, concatenated."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(inputs, 2, 3, padding=1), nn.Conv2d(inputs, 3, 1)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[B, inputs, H, W] -> [B, 5, H, W]``."""
        return torch.cat([self.relu1(self.left(x)), self.relu2(self.right(x))], 1)


def _seeded(maker: Callable[P, nn.Module]) -> Callable[P, nn.Module]:
    """Make the same weights at every call, and leave torch's random state alone."""

    @functools.wraps(maker)
    def make(*args: P.args, **options: P.kwargs) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return maker(*args, **options)

    return make


def _ending(channels: int, size: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(channels * size * size, 4)]


@_seeded
def vgg(pool: nn.Module | None = None) -> nn.Module:
    """Return two convolutions with a pooling between them, average by default."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        pool or nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.ReLU(),
        *_ending(3, 3),
    )


def max_pooled() -> nn.Module:
    """Return max pooling with overlapping and padded windows."""
    return vgg(nn.MaxPool2d(3, stride=2, padding=1))


@_seeded
def residual(shortcut: bool = False) -> nn.Module:
    """Return a residual block behind a convolution."""
    stem = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()
    return nn.Sequential(*stem, Block(3, 3, shortcut), *_ending(3, 6))


@_seeded
def forked() -> nn.Module:
    """Return a concatenation behind a convolution."""
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), Fork(3), *_ending(5, 4))


@_seeded
def mlp() -> nn.Module:
    """Return three linear layers."""
    hidden = nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(7, 4))


@_seeded
def one_layer() -> nn.Module:
    """Return one layer of neurons between linear layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 4))


@_seeded
def mixed() -> nn.Module:
    """Return max pooling, a residual sum with a convolution as shortcut, and a concatenation."""
    stem = nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(*stem, Block(3, 4, shortcut=True), Fork(4), *_ending(5, 3))


NETS: dict[str, Callable[[], nn.Module]] = {
    "vgg": vgg,
    "max": max_pooled,
    "identity": residual,
    "shortcut": lambda: residual(True),
    "concat": forked,
    "mlp": mlp,
}
"""Makers of networks, each the same at every call."""


class LevelParams(NeuronParams):
    """No parameters but ``v0``, which is 0."""

    v0: float = 0.0


class TwoLevels(CausalNeuron[Tensor]):
    """Puts out 0, 1 or 2 spikes of half a theta."""

    params_type = LevelParams
    levels = 2

    def initial(self, sample: Tensor) -> Tensor:
        """Return zero."""
        return torch.zeros_like(sample)

    def step(
        self, current: Tensor, state: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute one step."""
        unit = self.theta(current) / 2
        potential = state + current
        count = torch.floor(potential / unit).clamp(0, 2)
        return count, count * unit, potential - count * unit


def captured(module: nn.Module, shape: tuple[int, ...] = IMAGE) -> tuple[Graph, dict[str, Tensor]]:
    """Return graph and tensors of a module with dyadic weights, BatchNorm folded."""
    graph, tensors = fold(*capture(rounded(module), shape)[:2])
    return graph, dict(tensors)


def spiking(
    module: nn.Module,
    shape: tuple[int, ...] = IMAGE,
    theta: float | Sequence[float] = 0.5,
    kind: type[Neuron[Any]] = IF,
    params: NeuronParams | None = None,
    seed: int = 0,
    confidence: ConfidenceInfo | None = None,
    hold: int | None = None,
    T: int = 1,
    coding: Coding | None = None,
) -> SpikingNetwork:
    """Return a spiking network in evaluation mode.

    Args:
        module: the ANN; its weights are rounded.
        shape: of a sample.
        theta: the threshold of all sites, or one for each.
        kind: of neuron.
        params: of the neurons; their defaults, if not given.
        seed: of spike confidence.
        confidence: spike confidence, if there is some.
        hold: steps for which each frame of the input is shown; none for a constant input.
        T: steps that the neurons are made for.
        coding: rate coding, if not given.
    """
    given = captured(module, shape)
    return with_neurons(*given, theta, kind, params, seed, confidence, hold, T, coding)


def with_neurons(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    theta: float | Sequence[float] = 0.5,
    kind: type[Neuron[Any]] = IF,
    params: NeuronParams | None = None,
    seed: int = 0,
    confidence: ConfidenceInfo | None = None,
    hold: int | None = None,
    T: int = 1,
    coding: Coding | None = None,
) -> SpikingNetwork:
    """Return a spiking network of a graph and its tensors; for the rest see :func:`spiking`."""
    thetas = [theta] * len(graph.sites) if isinstance(theta, float) else theta
    code = coding or RateCoding()
    neurons = {
        site.name: code.neuron(kind(params or kind.params_type(), torch.tensor([level]), T))
        for site, level in zip(graph.sites, thetas, strict=True)
    }
    network = Network(graph, tensors)
    return SpikingNetwork(network, neurons, seed, confidence, hold, coding=code).eval()


def checkpoint(
    module: nn.Module,
    shape: tuple[int, ...] = IMAGE,
    theta: float = 1.0,
    neuron: str = "if",
    params: Mapping[str, Any] | None = None,
    timesteps: int = 8,
    **how: Any,
) -> Checkpoint:
    """Return a converted checkpoint of a module with its own weights, BatchNorm as trained.

    Args:
        module: the ANN.
        shape: of a sample.
        theta: the threshold of all sites.
        neuron: the neurons' name.
        params: of the neurons.
        timesteps: T.
        how: options of :func:`snnconv.frontends.torch.capture.capture`.
    """
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
        spiking=SpikingInfo(neuron=neuron, params=dict(params or {}), timesteps=timesteps, seed=0),
    )


def channels_last(snn: SpikingNetwork) -> SpikingNetwork:
    """Return the network in channels-last memory, as :func:`spiking_network` makes it."""
    return snn.to(memory_format=torch.channels_last)


def context_of(snn: SpikingNetwork, timesteps: int, v0: float = 0.5) -> MetricContext:
    """Return what metrics have to know of a network that runs T steps."""
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
        signed=snn.signed,
        lead=snn.lead,
        neurons=snn.neurons,
    )


def measured(
    snn: SpikingNetwork,
    x: Tensor,
    labels: Tensor,
    timesteps: int,
    kinds: Mapping[str, type[Metric]],
    batches: Iterable[Tensor] | None = None,
    chunk: int | None = None,
    found: Figures | None = None,
    needs: ObserverNeeds | None = None,
) -> Figures:
    """Return the figures of metrics.

    Args:
        snn: the network.
        x: samples ``[B, *shape]``, or frames ``[f, B, *shape]`` if the network is shown frames.
        labels: ``[B]``.
        timesteps: T.
        kinds: the metrics, by name.
        batches: indices of the samples of each batch; all at once, if not given.
        chunk: steps that are simulated at once.
        found: what other metrics have found already.
        needs: what the simulation gives of spikes, in place of what the metrics need; which steps
            they see does not change.
    """
    ordered = sorted(kinds.items(), key=lambda item: len(item[1].needs))
    metrics = [kind(context_of(snn, timesteps)) for _, kind in ordered]
    watch = Watch(metrics)
    wanted = replace(needs, lead=watch.needs.lead) if needs else watch.needs
    x = x[None] if snn.hold is None else x
    twin = QuantizedTwin.of(metrics[0].context, snn.network) if metrics else None
    for indices in batches or [torch.arange(len(labels))]:
        still = mean_frame(x[:, indices])
        ann = ann_inputs(snn.network, still)
        of_twin = twin(still) if twin and any(metric.twinned for metric in metrics) else None
        for metric in metrics:
            metric.begin(Batch(labels[indices], *ann, twin=of_twin))
        steps = chunk or timesteps
        logits = simulate(snn, x[:, indices], indices, timesteps, steps, watch, wanted)
        for metric in metrics:
            metric.finish(logits)
    found = found or Figures()
    for metric in metrics:
        found.add(metric.figures(found))
    return found

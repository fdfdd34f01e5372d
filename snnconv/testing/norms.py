"""The laws of norms.

Each law is asked on a small residual network of LIF neurons after a few steps of training, in
float64, so that rounding decides about no spike.

Shape:
    Images ``[B, 2, 6, 6]``, T = 4.
"""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.checkpoint import Checkpoint, load, save
from snnconv.core.metadata import NormInfo
from snnconv.neurons.norms.base import NORMS, Norm
from snnconv.simulation.build import learned, spiking_network
from snnconv.simulation.network import SpikingNetwork
from snnconv.testing.base import Kind, Law, described, in_words, variants
from snnconv.testing.networks import checkpoint, images
from snnconv.training.norm import with_norm

SAMPLES, STEPS, CLASSES, THETA = 5, 4, 4, 0.25


@dataclass(frozen=True)
class Normalises:
    """A norm with one setting of its parameters."""

    kind: type[Norm]
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def info(self) -> NormInfo:
        """It, as a checkpoint names it."""
        params = self.kind.params_type(**dict(self.params)).model_dump()
        names = {NORMS.load(name): name for name in NORMS.names()}
        name = names.get(self.kind, f"{self.kind.__module__}:{self.kind.__qualname__}")
        NORMS.named.setdefault(name, self.kind)
        return NormInfo(name=name, params=params)


def subjects(kind: type[Norm]) -> Iterator[tuple[str, Normalises]]:
    """A norm with each of its settings."""
    for params in variants(kind.params_type):
        yield in_words(params), Normalises(kind, tuple(params.items()))


class _Block(nn.Module):
    """Two branches that add up, each with a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.side = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 3, H, W] -> [B, 4, H, W]``."""
        y: Tensor = self.relu(self.main(x) + self.side(x))
        return y


def untrained() -> Checkpoint:
    """The network with BatchNorm, and LIF neurons at its sites."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = nn.Linear(36, 8)
        nn.init.uniform_(hidden.weight, -0.5, 0.6)
        module = nn.Sequential(
            *(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU()),
            *(_Block(), nn.AvgPool2d(2), nn.Flatten(), hidden, nn.ReLU()),
            nn.Linear(8, CLASSES),
        )
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.constant_(part.bias, THETA / 2)
    decay = {"decay": 0.5, "v0": 0.0}
    made = checkpoint(module, theta=THETA, neuron="lif", params=decay, timesteps=STEPS)
    return replace(made, kind="trained")


def run(snn: SpikingNetwork, chunk: int = STEPS) -> tuple[Mapping[str, Tensor], Tensor]:
    """The spikes of each site ``[T, B, *N]``, and the logits ``[T, B, classes]``."""
    found: dict[str, list[Tensor]] = {}
    x, samples, state, logits = images(SAMPLES)[None].double(), torch.arange(SAMPLES), None, []

    def observe(name: str, start: int, output: Any) -> None:
        found.setdefault(name, []).append(output.counts)

    with torch.no_grad():
        for _ in range(0, STEPS, chunk):
            currents, state = snn(x, chunk, samples, state, observe)
            logits.append(currents)
    return {name: torch.cat(counts) for name, counts in found.items()}, torch.cat(logits)


def _step(snn: SpikingNetwork) -> None:
    """The gradients of the loss of one batch, in training."""
    x, samples = images(SAMPLES)[None].double(), torch.arange(SAMPLES)
    currents, _ = snn.train()(x, STEPS, samples)
    F.cross_entropy(currents.mean(0), samples % CLASSES).backward()


@functools.cache
def trained(norm: Normalises) -> Checkpoint:
    """The network with a norm after a few steps; then some of its factors are made negative."""
    made = with_norm(untrained(), norm.info, STEPS, trained=False)
    snn = _double(made)
    descent = torch.optim.SGD(snn.parameters(), lr=0.1)
    for _ in range(8):
        descent.zero_grad()
        _step(snn)
        descent.step()
    with torch.no_grad():
        for parameter in snn.parameters():
            if parameter.dim() == 1:
                parameter[2::3] *= -1
    network, neurons = snn.network.tensors(), learned(snn)
    return replace(made, network=_as(torch.float32, network), neurons=_as(torch.float32, neurons))


def _as(kind: torch.dtype, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(kind) for name, tensor in tensors.items()}


def _double(made: Checkpoint, folded: bool = False) -> SpikingNetwork:
    """The network in float64, as it is trained or folded."""
    network, neurons = (_as(torch.float64, part) for part in (made.network, made.neurons))
    thresholds = _as(torch.float64, made.calibration)
    made = replace(made, network=network, neurons=neurons, calibration=thresholds)
    return spiking_network(made, folded).double()


def _both(made: Checkpoint) -> tuple[SpikingNetwork, SpikingNetwork]:
    """The network as it is trained, and folded, in evaluation mode."""
    return _double(made).eval(), _double(made, folded=True).eval()


def every_parameter_has_a_default_and_a_description(norm: Normalises) -> None:
    """It can be used without a parameter, and help says what each parameter is."""
    described(norm.kind.params_type)


def a_folded_norm_gives_the_same_spikes(norm: Normalises) -> None:
    """The folded network has the spikes of the one that was trained, and no BatchNorm."""
    (ours, logits), (theirs, same) = map(run, _both(trained(norm)))
    assert all(counts.any() for counts in ours.values()), "a layer without spikes shows nothing"
    for site, counts in ours.items():
        assert torch.equal(counts, theirs[site]), site
    torch.testing.assert_close(same, logits)
    graph = _both(trained(norm))[1].network.graph
    assert not [node.name for node in graph.nodes if node.op == "batch_norm"]


def chunks_of_time_change_nothing(norm: Normalises) -> None:
    """In evaluation, steps one by one give what all steps at once give."""
    for snn in _both(trained(norm)):
        (whole, logits), (parts, same) = run(snn), run(snn, 1)
        for site, counts in whole.items():
            assert torch.equal(counts, parts[site]), site
        torch.testing.assert_close(same, logits)


def training_reaches_every_tensor(norm: Normalises) -> None:
    """A step gives each parameter a finite gradient, and moves each running statistic."""
    made = with_norm(untrained(), norm.info, STEPS, trained=False)
    snn = _double(made)
    before = {name: tensor.clone() for name, tensor in snn.network.named_buffers()}
    _step(snn)
    for name, parameter in snn.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    for name, tensor in snn.network.named_buffers():
        assert not torch.equal(tensor, before[name]), name


def a_checkpoint_keeps_it(norm: Normalises) -> None:
    """Saved and loaded, the network is the same: its bytes, and its spikes."""
    made = trained(norm)
    with tempfile.TemporaryDirectory() as folder:
        one, two = (Path(folder) / name for name in ("one.safetensors", "two.safetensors"))
        save(made, one)
        read = load(one)
        save(read, two)
        assert one.read_bytes() == two.read_bytes()
    ours, theirs = (run(_both(each)[1])[0] for each in (made, read))
    assert all(torch.equal(ours[site], theirs[site]) for site in ours)


def a_trained_network_computes_the_same_with_it(norm: Normalises) -> None:
    """In place of a trained BatchNorm it changes nothing before it learns."""
    plain = replace(untrained(), network=_moved())
    ours = run(_both(plain)[1])
    theirs = run(_both(with_norm(plain, norm.info, STEPS, trained=True))[1])
    for site, counts in ours[0].items():
        assert torch.equal(counts, theirs[0][site]), site


def _moved() -> dict[str, Tensor]:
    """The tensors of the network with statistics and factors of some training."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: tensor + torch.rand(tensor.shape, generator=generator) * (tensor.dim() == 1)
        for name, tensor in untrained().network.items()
    }


def _from_scratch(norm: Normalises) -> str:
    return "" if norm.kind.finetunes else "it is for training from scratch"


KIND: Kind[Normalises] = Kind(
    registry=NORMS,
    laws=(
        Law(every_parameter_has_a_default_and_a_description),
        Law(a_folded_norm_gives_the_same_spikes),
        Law(chunks_of_time_change_nothing),
        Law(training_reaches_every_tensor),
        Law(a_checkpoint_keeps_it),
        Law(a_trained_network_computes_the_same_with_it, _from_scratch),
    ),
    subjects=subjects,
)

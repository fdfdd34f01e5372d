"""Corrections that train the weights before each site alone, towards the ANN's activation.

Sites come in the order of the graph, with earlier sites already corrected. There are no labels: the
ANN is the teacher. Biases do not change, and neither does a weight that several layers share or a
layer behind the last site.

Shape:
    Outputs of the sites before ``[T, N, *N]``; a change of a weight's own shape, of each synapse
    before a site.
"""

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part
from snnconv.core.bounds import COUNT
from snnconv.core.metadata import Parameters
from snnconv.corrections._sites import Samples, Site, held, reached
from snnconv.corrections.base import Correction, so_far
from snnconv.data.frames import frames_shown
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import compute
from snnconv.graph.ops import OPS, Role
from snnconv.simulation.corrected import weights
from snnconv.simulation.network import SpikingNetwork


class LayerParams(Parameters):
    """Parameters of a correction that trains layer by layer."""

    trial = {"iterations": 10, "lr": 0.01}  # noqa: RUF012
    iterations: int = Field(500, ge=1, le=COUNT, description="of the optimiser, for each site")
    lr: float = Field(1e-4, gt=0, description="learning rate at the start; it falls to 0")
    batch: int = Field(32, ge=1, le=COUNT, description="samples an iteration")


class Layer:
    """The nodes between a site and the sites before it, or the input.

    Args:
        graph: the graph of the network.
        site: the site's node.
    """

    def __init__(self, graph: Graph, site: Node) -> None:
        wanted: set[str] = set(site.inputs)
        found: list[Node] = []
        for node in reversed(graph.nodes):
            if node.name in wanted and OPS[node.op].role is not Role.SITE:
                found.append(node)
                wanted.update(node.inputs)
        self.nodes: Sequence[Node] = found[::-1]
        self.inputs = wanted - {node.name for node in found}

    def synapses(self) -> Iterable[str]:
        """Return the names of the weights between."""
        for node in self.nodes:
            if OPS[node.op].role is Role.SYNAPSE:
                yield node.tensors["weight"]

    def compute(self, tensors: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Tensor:
        """Return the value of the last node ``[N, *N]``, from the values of :attr:`inputs`."""
        values = dict(given)
        for node in self.nodes:
            values[node.name] = compute(node, tensors, [values[name] for name in node.inputs])
        return values[self.nodes[-1].name]


class LayerCorrection(Correction):
    """A change of the weights before each site."""

    trains = True
    params: Any

    @abstractmethod
    def kept(self, values: Tensor) -> Tensor:
        """Return what the loss needs from the outputs of an earlier site, or from the input.

        Args:
            values: ``[T, N, *N]``.

        Returns:
            Samples on the axis 1: ``[t, N, *N]``.
        """

    @abstractmethod
    def loss(
        self, site: Site, layer: Layer, tensors: Mapping[str, Tensor], given: Mapping[str, Tensor]
    ) -> Tensor:
        """Return how far the site is from the ANN; a gradient passes to the weights.

        Args:
            site: with the ANN's activations of a few samples.
            layer: the nodes before it.
            tensors: of the network, some of them learned.
            given: the results of :meth:`kept` for these samples, by the name of their source.
        """

    def held(self, network: SpikingNetwork, timesteps: int) -> int | None:
        """Return what reaches a site, and what is kept of the sites before it."""
        graph, shapes = network.analysis.graph, network.analysis.shapes

        def kept(site: Node) -> int:
            sizes = (math.prod(shapes[name]) for name in Layer(graph, site).inputs)
            return timesteps * sum(sizes) + held(network, site, timesteps)

        return max(map(kept, graph.sites))

    def fit(
        self, checkpoint: Checkpoint, samples: Samples, advance: Callable[[int], None]
    ) -> dict[tuple[Part, str], Tensor]:
        """Simulate the network up to each site, then train the weights before that site."""
        graph = checkpoint.graph
        used = Counter(name for node in graph.nodes for name in node.tensors.values())
        found: dict[tuple[Part, str], Tensor] = {}
        for number, place in enumerate(graph.sites):
            layer = Layer(graph, place)
            learned = [name for name in layer.synapses() if used[name] == 1]
            if learned:
                now = so_far(checkpoint, found)
                given, site = self._seen(now, samples, place.name, layer)
                tensors = {k: v.to(samples.x.device) for k, v in weights(now).items()}
                own = self._trained(layer, tensors, learned, given, site, samples.seed + number)
                for name, tensor in own.items():
                    found["weight", name] = (tensor - tensors[name]).cpu()
            advance(1)
        return found

    def _seen(
        self, checkpoint: Checkpoint, samples: Samples, name: str, layer: Layer
    ) -> tuple[dict[str, Tensor], Site]:
        """Return the outputs of the sites before a site and the input, and the site."""
        info = checkpoint.conversion
        site, kept = reached(checkpoint, samples, name, layer.inputs - {INPUT}, self.kept)
        if INPUT in layer.inputs:
            kept[INPUT] = self.kept(frames_shown(samples.x, 0, info.timesteps, info.hold))
        return kept, site

    def _trained(
        self,
        layer: Layer,
        tensors: Mapping[str, Tensor],
        learned: list[str],
        given: Mapping[str, Tensor],
        site: Site,
        seed: int,
    ) -> dict[str, Tensor]:
        """Return the weights after training."""
        own = {name: tensors[name].clone().requires_grad_() for name in learned}
        optimiser = torch.optim.Adam(own.values())
        generator = torch.Generator().manual_seed(seed)
        for number in range(self.params.iterations):
            rate = self.params.lr * (1 + math.cos(math.pi * number / self.params.iterations)) / 2
            optimiser.param_groups[0]["lr"] = rate
            order = torch.randperm(len(site.ann), generator=generator)[: self.params.batch]
            chosen = order.to(site.ann.device)
            few = {name: value[:, chosen] for name, value in given.items()}
            with torch.enable_grad():
                error = self.loss(site.of(chosen), layer, {**tensors, **own}, few)
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
        return {name: tensor.detach() for name, tensor in own.items()}

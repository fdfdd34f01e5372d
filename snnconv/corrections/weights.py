"""Weight correction: the weights before each site are trained towards the ANN's activation.

With ``x`` the mean output over time of the sites before, ``W`` the weights between them and a site,
and ``a`` the ANN's activation there, Adam minimises::

    mean((q(z(W, x)) - a)^2),   q(z) = unit*clip(floor(z/unit + v0), 0, levels)

where ``z`` is the site's mean current and ``q`` what its neurons make of it in T steps if it is
constant. Sites come in the order of the graph, sites before corrected already, and there are no
labels: the ANN is the teacher, and each layer is trained alone. Biases stay.

Shape:
    A change of a weight's own shape, of each synapse before a site.

Reference:
    Li et al. 2021, *A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks
    Calibration*, weights calibration (their advanced pipeline); the gradient passes the floor
    straight through.

Deviations:
    The authors take 5,000 to 10,000 iterations of 32 images at a rate of 1e-5, falling along half a
    cosine; the default here is 500 at 1e-4. A weight that several layers share is left as it is.
    What is behind the last site is not trained.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import torch
from pydantic import Field
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part
from snnconv.core.bounds import COUNT
from snnconv.core.metadata import CorrectionInfo, Parameters
from snnconv.core.shapes import per_neuron
from snnconv.corrections.base import (
    Correction,
    Samples,
    Site,
    corrected,
    walk_sites,
)
from snnconv.data.frames import mean_frame
from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import compute
from snnconv.graph.operations.activation import quantize
from snnconv.graph.ops import OPS, Role
from snnconv.simulation.corrected import weights

_ROUNDS = 0.5  # of a unit: what `quantize` has for v0


class Params(Parameters):
    """Of the weight correction."""

    iterations: int = Field(500, ge=1, le=COUNT, description="of the optimiser, for each site")
    lr: float = Field(1e-4, gt=0, description="learning rate at the start; it falls to 0")
    batch: int = Field(32, ge=1, le=COUNT, description="samples an iteration")


class Weights(Correction):
    """Changes of the weights before each site."""

    params_type = Params
    trains = True
    params: Params

    def fit(
        self, checkpoint: Checkpoint, samples: Samples, advance: Callable[[int], None]
    ) -> dict[tuple[Part, str], Tensor]:
        """Site after site: simulate what is corrected so far, then train the weights before it."""
        info, graph = checkpoint.spiking, checkpoint.graph
        assert info is not None
        made = CorrectionInfo(method="weights", params={}, samples=1, timesteps=info.timesteps)
        used = Counter(name for node in graph.nodes for name in node.tensors.values())
        found: dict[tuple[Part, str], Tensor] = {}
        for number, place in enumerate(graph.sites):
            between = _between(graph, place)
            learned = [
                node.tensors["weight"]
                for node in between
                if OPS[node.op].role is Role.SYNAPSE and used[node.tensors["weight"]] == 1
            ]
            if learned:
                so_far = corrected(checkpoint, found, made)
                means, site = _seen(so_far, samples, place.name)
                tensors = {k: v.to(samples.x.device) for k, v in weights(so_far).items()}
                own = self._trained(between, tensors, learned, means, site, samples.seed + number)
                for name, tensor in own.items():
                    found["weight", name] = (tensor - tensors[name]).cpu()
            advance(1)
        return found

    def _trained(
        self,
        between: list[Node],
        tensors: Mapping[str, Tensor],
        learned: list[str],
        means: Mapping[str, Tensor],
        site: Site,
        seed: int,
    ) -> dict[str, Tensor]:
        """The weights after training."""
        own = {name: tensors[name].clone().requires_grad_() for name in learned}
        optimiser = torch.optim.Adam(own.values())
        generator = torch.Generator().manual_seed(seed)
        for number in range(self.params.iterations):
            rate = self.params.lr * (1 + math.cos(math.pi * number / self.params.iterations)) / 2
            optimiser.param_groups[0]["lr"] = rate
            order = torch.randperm(len(site.ann), generator=generator)[: self.params.batch]
            chosen = order.to(site.ann.device)
            given = {name: mean[chosen] for name, mean in means.items()}
            with torch.enable_grad():
                current = _computed(between, {**tensors, **own}, given)
                error = (_output(site, current) - site.ann[chosen]).square().mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
        return {name: tensor.detach() for name, tensor in own.items()}


def _between(graph: Graph, site: Node) -> list[Node]:
    """The nodes between a site and the sites before it, or the input."""
    wanted, found = set(site.inputs), []
    for node in reversed(graph.nodes):
        if node.name in wanted and OPS[node.op].role is not Role.SITE:
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]


def _seen(checkpoint: Checkpoint, samples: Samples, name: str) -> tuple[dict[str, Tensor], Site]:
    """The mean outputs of all sites over time ``[N, *N]`` and the input's mean; and one site."""
    means, seen = {INPUT: mean_frame(samples.x)}, {}

    def settle(site: Site) -> Tensor:
        if site.name == name:
            seen[name] = site
        values = site.values({})
        means[site.name] = values.sum(0) / site.timesteps
        return values

    walk_sites(checkpoint, samples, settle)
    return means, seen[name]


def _computed(
    between: list[Node], tensors: Mapping[str, Tensor], means: Mapping[str, Tensor]
) -> Tensor:
    """The value of the last node, from the means of what is before these."""
    values = dict(means)
    for node in between:
        values[node.name] = compute(node, tensors, [values[name] for name in node.inputs])
    return values[between[-1].name]


def _output(site: Site, current: Tensor) -> Tensor:
    """The mean output of a site's neurons under a constant current, with its corrections."""
    grid = site.neuron.params.grid(site.timesteps)
    end = site.neuron.threshold * grid.end
    if site.before.current is not None:
        each = site.before.current
        current = current + per_neuron(each if each.dim() == 1 else each.mean(0), current.dim())
    if site.before.potential is not None:
        current = current + site.before.potential / site.timesteps
    shift = per_neuron(end, current.dim()) / grid.levels * (grid.v0 - _ROUNDS)
    output = quantize(current + shift, end, grid.levels)
    if site.before.amplitude is not None:
        output = output * per_neuron(1 + site.before.amplitude, output.dim())
    return output


CORRECTION = Weights

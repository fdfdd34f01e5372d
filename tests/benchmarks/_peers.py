"""Other packages' neurons in the same network, with the same weights.

Each runs IF with soft reset, as far as it can state it:

spikingjelly: fires at ``v >= theta`` as we do; ``v0`` is set before the first step.
snntorch: fires at ``v > theta``, and takes the reset off at the step after; ``v0`` is set too.
sinabs: fires at ``v >= theta``, one spike a step at most (``SingleSpike``); ``v0`` is set too.

Their neurons put out 0 and 1: theta is in the weights of the layers behind, where these are
convolutions or linear layers, so that it costs nothing; before a residual add it is multiplied.
The first layer is computed at every step, as these packages' own converters do.

Shape:
    ``[B, *input] -> [T, B, classes]``: the last layer's currents at each step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snnconv.graph.ir import SITES, Graph, Node
from snnconv.graph.network import Network, walk

_KEEPS = ("avg_pool", "adaptive_avg_pool", "mean", "reshape", "dropout", "identity")
_ABSORBS = ("conv", "linear")

Observer = Callable[[str, Tensor], Any]
"""Sees a site's spikes ``[T, B, *N]``: of all steps, or of one."""


class Layer(Protocol):
    """A layer of a peer's neurons."""

    def reset(self) -> None:
        """Before the first step."""

    def __call__(self, currents: Tensor) -> Tensor:
        """Spikes of all steps, ``[T, B, *N]`` or ``[B, T, *N]``, or of one step ``[B, *N]``."""
        ...


class _SpikingJelly:
    def __init__(self, theta: float, v0: float, mode: str) -> None:
        from spikingjelly.activation_based.neuron import IFNode

        self.node, self.start = IFNode(theta, None, step_mode=mode), v0 * theta

    def reset(self) -> None:
        self.node.reset()
        self.node.v = self.start

    def __call__(self, currents: Tensor) -> Tensor:
        spikes: Tensor = self.node(currents)
        return spikes


class _SnnTorch:
    def __init__(self, theta: float, v0: float) -> None:
        from snntorch import Leaky

        self.node, self.start = Leaky(1.0, theta, reset_mechanism="subtract"), v0 * theta
        self.potential: Tensor | None = None

    def reset(self) -> None:
        self.potential = None

    def __call__(self, current: Tensor) -> Tensor:
        if self.potential is None:
            self.potential = torch.full_like(current, self.start)
        spikes: Tensor
        spikes, self.potential = self.node(current, self.potential)
        return spikes


class _Sinabs:
    def __init__(self, theta: float, v0: float) -> None:
        from sinabs.activation import MembraneSubtract, SingleSpike
        from sinabs.layers import IAF

        self.node = IAF(torch.tensor(theta), SingleSpike, MembraneSubtract())
        self.start, self.fresh = v0 * theta, True

    def reset(self) -> None:
        self.fresh = True

    def __call__(self, currents: Tensor) -> Tensor:
        if self.fresh:
            self.node.init_state_with_shape((len(currents), *currents.shape[2:]))
            self.node.v_mem = torch.full_like(currents[:, 0], self.start)
            self.fresh = False
        spikes: Tensor = self.node(currents)
        return spikes


@dataclass(frozen=True)
class Mode:
    """A way to run a peer.

    Attributes:
        package: the peer.
        make: a layer of its neurons from theta and v0.
        time: where its neurons take time, 0 or 1; none where they take a step at a time.
    """

    package: str
    make: Callable[[float, float], Layer]
    time: int | None


MODES: Mapping[str, Mode] = {
    "spikingjelly multi-step": Mode("spikingjelly", lambda *a: _SpikingJelly(*a, "m"), 0),
    "spikingjelly single-step": Mode("spikingjelly", lambda *a: _SpikingJelly(*a, "s"), None),
    "snntorch": Mode("snntorch", _SnnTorch, None),
    "sinabs": Mode("sinabs", _Sinabs, 1),
}


class Peer(nn.Module):
    """A network with a peer's neurons.

    Args:
        graph: of the network.
        tensors: its weights.
        thetas: by site, one number each.
        v0: initial potential, in units of theta.
        mode: of :data:`MODES`.
    """

    def __init__(
        self,
        graph: Graph,
        tensors: Mapping[str, Tensor],
        thetas: Mapping[str, float],
        v0: float,
        mode: str,
    ) -> None:
        super().__init__()
        self.time = MODES[mode].time
        scaled, self.amplitudes = absorbed(graph, tensors, thetas)
        self.network = Network(graph, scaled)
        self.layers = {site: MODES[mode].make(theta, v0) for site, theta in thetas.items()}

    def forward(self, x: Tensor, timesteps: int, observe: Observer | None = None) -> Tensor:
        """All steps; ``observe`` sees each site's spikes ``[T, B, *N]``, or step after step."""
        for layer in self.layers.values():
            layer.reset()
        if self.time is None:
            return torch.stack([self._walk(x, None, observe) for _ in range(timesteps)])
        merged = torch.stack([x] * timesteps, self.time).flatten(0, 1)
        return self._sequence(self._walk(merged, timesteps, observe), timesteps)

    def _unfolded(self, merged: Tensor, steps: int) -> Tensor:
        return merged.unflatten(0, (steps, -1) if self.time == 0 else (-1, steps))

    def _sequence(self, merged: Tensor, steps: int) -> Tensor:
        unfolded = self._unfolded(merged, steps)
        return unfolded if self.time == 0 else unfolded.transpose(0, 1)

    def _walk(self, x: Tensor, steps: int | None, observe: Observer | None) -> Tensor:
        def evaluate(node: Node, inputs: list[Tensor]) -> Tensor:
            if node.op not in SITES:
                return self.network.compute(node, inputs)
            layer, amplitude = self.layers[node.name], self.amplitudes.get(node.name)
            if steps is None:
                spikes = layer(inputs[0])
            else:
                spikes = layer(self._unfolded(inputs[0], steps)).flatten(0, 1)
            if observe is not None:
                seen = spikes.detach()
                observe(node.name, seen[None] if steps is None else self._sequence(seen, steps))
            return spikes if amplitude is None else spikes * amplitude

        return walk(self.network.graph, x, evaluate)


def absorbed(
    graph: Graph, tensors: Mapping[str, Tensor], thetas: Mapping[str, float]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Tensors with the thetas of sites in them, and the thetas of sites where that can't be."""
    changed, left = dict(tensors), {}
    for site, theta in thetas.items():
        layers = _layers_behind(graph, site)
        if layers is None:
            left[site] = theta
            continue
        for name in {node.tensors["weight"] for node in layers}:
            changed[name] = changed[name] * theta
    return changed, left


def _layers_behind(graph: Graph, name: str) -> list[Node] | None:
    """What reads a node's value, if only layers with weights do, or means before them."""
    if name == graph.output:
        return None
    found: list[Node] = []
    for node in graph.nodes:
        if name not in node.inputs:
            continue
        if node.op in _ABSORBS:
            found.append(node)
            continue
        behind = None
        if node.op in _KEEPS and len(node.inputs) == 1:
            behind = _layers_behind(graph, node.name)
        if behind is None:
            return None
        found += behind
    return found

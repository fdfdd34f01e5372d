"""The quantized twin of a spiking network: the same weights, activations of ``b`` bits, one pass.

In T steps a neuron's mean output takes one of a few values: T + 1 for one spike a step. A quantized
network whose activations take the same values needs ``b = ceil(log2(T + 1))`` bits for each, and no
steps. A spiking network has to be cheaper than its twin at the same accuracy. An activation is::

    q(a) = u * clip(floor(a/u + 1/2), 0, n),   n values above zero, n*u what n spikes carry

This is a neuron of n levels at one step. At a transfer site, whose activation may be negative, the
values are ``-n*u .. n*u``, which takes one more bit.

Shape:
    ``[B, *input] -> [B, classes]``.

Reference:
    Yan, Bai, Wong 2024, arXiv:2409.08290; LM-HT Theorem 4.4 on quantized networks.

Deviations:
    Thresholds are those of the spiking network. Weights are not quantized, so only quantized
    activations change the accuracy. Values are rounded to the nearest, for any v0 of the neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.graph.ir import SITES, TRANSFER, Node
from snnconv.graph.network import Network, walk
from snnconv.metrics.base import MetricContext, Twin
from snnconv.neurons.base import Grid


@dataclass(frozen=True)
class QuantizedTwin:
    """The twin of a network.

    Attributes:
        network: the ANN, BatchNorm folded, in evaluation mode.
        thresholds: theta by site.
        grid: the values that the neurons' mean output can have.
        fan_out: the synapses behind each neuron, by emitter.
    """

    network: Network
    thresholds: Mapping[str, Tensor]
    grid: Grid
    fan_out: Mapping[str, Tensor]

    @classmethod
    def of(cls, context: MetricContext, network: Network) -> "QuantizedTwin":
        """Make the twin of the measured network, with the weights of ``network``."""
        return cls(network, context.thresholds, context.grid, context.analysis.fan_out)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Twin:
        """Return its logits, and the synapses that its values drive."""
        reads: dict[str, Tensor] = {}

        def evaluate(node: Node, inputs: list[Tensor]) -> Tensor:
            # QCFS would quantize to the levels of its training; the twin quantizes its input
            value = inputs[0] if node.op == "qcfs" else self.network.compute(node, inputs)
            if node.op in SITES:
                theta = self.thresholds[node.name]
                value = self.quantized(value, theta, two_sided=node.op == TRANSFER)
            if (fan_out := self.fan_out.get(node.name)) is not None:
                driven = (value != 0).double().sum(0) * fan_out.to(value.device)
                reads[node.name] = driven.sum().cpu()
            return value

        return Twin(walk(self.network.graph, x, evaluate), reads)

    def quantized(self, activation: Tensor, theta: Tensor, two_sided: bool = False) -> Tensor:
        """Return the nearest values of the grid, for activations ``[B, *N]``."""
        unit = self.grid.end / self.grid.levels * per_neuron(theta, activation.dim())
        unit = unit.to(activation)
        n = self.grid.levels
        return (activation / unit + 0.5).floor_().clamp_(-n if two_sided else 0, n) * unit

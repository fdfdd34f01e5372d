"""Synaptic operations: every spike counts each synapse it really drives.

The rule (see :mod:`snnconv.graph.roles`): one operation for every synapse, membrane or logit that a
spike reaches without passing another neuron. Borders, strides, groups and dilation are counted as
they are; averages are part of the synapse behind them; an identity shortcut is one operation; an
s-level spike is s operations; what a max pooling emits counts behind it, not what it takes in.

Shape:
    Counts ``[T, B, *N]`` against a fan-out ``[*N]``.

Reference:
    Methods, section 10.

Deviations:
    The ANN's MACs are given by the field's convention (padding counted), and exactly.
"""

import torch
from torch import Tensor

from snnconv.graph.roles import fan_out
from snnconv.graph.work import exact, work
from snnconv.metric import Figures, Metric, Setup
from snnconv.neuron import Spikes
from snnconv.shapes import neurons_flat


class Synops(Metric):
    """Counts operations by source and step, in integers."""

    added = ("operations",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.fan_out = fan_out(setup.graph, setup.network)
        self.operations = {
            name: torch.zeros(setup.timesteps, dtype=torch.int64) for name in self.fan_out
        }
        self.weights: dict[str, tuple[Tensor, int]] = {}

    def observe(self, name: str, start: int, spikes: Spikes) -> None:
        """Add a chunk."""
        counts = neurons_flat(spikes.counts, spikes.counts)
        if name not in self.weights:
            flat = neurons_flat(self.fan_out[name], spikes.counts).float().to(counts.device)
            self.weights[name] = flat, int(flat.max())
        weights, largest = self.weights[name]
        # float32 adds integers exactly up to 2**24 in any order: sum as many neurons at once as
        # can't exceed it, and the sums in int64
        piece = max(1, 2**24 // max(1, largest * self.setup.levels))
        total = sum(
            (part @ weight).long().sum(1)
            for part, weight in zip(counts.split(piece, 2), weights.split(piece), strict=True)
        )
        assert isinstance(total, Tensor)
        self.operations[name][start : start + len(total)] += total.cpu()

    def figures(self, found: Figures) -> Figures:
        """Operations per sample."""
        graph, tensors = self.setup.graph, self.setup.network
        macs = work(graph, tensors, self.setup.source)
        # a quotient of integers would be float32
        steps = torch.stack(list(self.operations.values())).sum(0).cumsum(0).double() / self.samples
        totals = {
            "sops_per_sample": float(steps[-1]),
            "sops_per_sample_steps": steps.tolist(),
            "first_layer_macs_per_sample": float(macs.first),
            "first_layer_passes": self.setup.passes(self.setup.timesteps),
            "analog_macs_once_per_sample": float(macs.once),
            "analog_macs_per_sample": float(macs.each_step),
            "ann_macs_per_sample": float(macs.total),
            "ann_macs_exact_per_sample": float(sum(exact(graph, tensors).values())),
        }
        layers = {
            name: {"sops_per_sample": int(counts.sum()) / self.samples}
            for name, counts in self.operations.items()
        }
        return Figures(totals, layers)


METRIC = Synops

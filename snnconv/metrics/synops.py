"""Synaptic operations: every spike counts each synapse it really drives.

The rule (see :mod:`snnconv.graph.roles`): one operation for every synapse, membrane or logit that a
spike reaches without passing another neuron. Borders, strides, groups and dilation are counted as
they are; averages are part of the synapse behind them; an identity shortcut is one operation; an
s-level spike of either sign is s operations; what a max pooling emits counts behind it with its
level (:mod:`snnconv.simulation.cumulative`), not what it takes in; what a function takes in counts
as its MACs.

Shape:
    Sums ``[T]`` of spikes times a fan-out ``[*N]``.

Reference:
    Methods, section 10.

Deviations:
    The ANN's MACs are given by the field's convention (padding counted), and exactly.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.graph.roles import fan_out, sources
from snnconv.graph.work import exact, work
from snnconv.metrics.base import Figures, Metric, Setup


class Synops(Metric):
    """Counts operations by source and step, in integers."""

    counted = False
    valued = False
    added = ("operations",)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.operations = {
            node.name: torch.zeros(setup.timesteps, dtype=torch.int64)
            for node in sources(setup.graph)
        }

    def weights(self) -> Mapping[str, Tensor]:
        """A spike counts its fan-out."""
        return fan_out(self.setup.graph, self.setup.network)

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk."""
        self.operations[name][start : start + len(sums)] += sums

    def figures(self, found: Figures) -> Figures:
        """Operations per sample."""
        graph, tensors = self.setup.graph, self.setup.network
        macs = work(graph, tensors, self.setup.source)
        # a quotient of integers would be float32
        steps = torch.stack(list(self.operations.values())).sum(0).cumsum(0).double() / self.samples
        totals = {
            "sops_per_sample": float(steps[-1]),
            "sops_per_sample_steps": self.setup.at_answers(steps.tolist()),
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

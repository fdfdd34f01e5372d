"""Synaptic operations: every spike counts each synapse it really drives.

The rule (see :mod:`snnconv.graph.analysis`): one operation for every synapse, membrane or logit
that a spike reaches without passing another neuron. Borders, strides, groups and dilation are
counted as they are. Averages are part of the synapse behind them. An identity shortcut is one
operation, and an s-level spike of either sign is s operations. The spikes that a max pooling emits
count behind it with their level (:mod:`snnconv.simulation.cumulative`); those that it takes in do
not count. Spikes that a function takes in count as its MACs.

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

from snnconv.metrics.base import Figures, Metric, MetricContext


class Synops(Metric):
    """Counts operations by source and step, in integers."""

    counted = False
    valued = False
    added = ("operations",)

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.operations = {
            node.name: torch.zeros(context.timesteps, dtype=torch.int64)
            for node in context.analysis.emitters
        }

    def weights(self) -> Mapping[str, Tensor]:
        """A spike counts its fan-out."""
        return self.context.analysis.fan_out

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk."""
        self.operations[name][start : start + len(sums)] += sums

    def figures(self, found: Figures) -> Figures:
        """Operations per sample."""
        analysis = self.context.analysis
        macs = analysis.mac_count
        # a quotient of integers would be float32
        steps = torch.stack(list(self.operations.values())).sum(0).cumsum(0).double() / self.samples
        totals = {
            "sops_per_sample": float(steps[-1]),
            "sops_per_sample_steps": self.context.at_answers(steps.tolist()),
            "first_layer_macs_per_sample": float(macs.first),
            "first_layer_passes": self.context.passes(self.context.timesteps),
            "analog_macs_once_per_sample": float(macs.once),
            "analog_macs_per_sample": float(macs.each_step),
            "ann_macs_per_sample": float(macs.total),
            "ann_macs_exact_per_sample": float(sum(analysis.exact_macs.values())),
        }
        layers = {
            name: {"sops_per_sample": int(counts.sum()) / self.samples}
            for name, counts in self.operations.items()
        }
        return Figures(totals, layers)


METRIC = Synops

"""Synaptic operations: every spike counts each synapse that it really drives.

The rule (see :mod:`snnconv.graph.analysis`) is one operation for every synapse, membrane or logit
that a spike reaches without passing another neuron. Borders, strides, groups and dilation are
counted as they are. Averages are part of the synapse behind them. An identity shortcut is one
operation, and an s-level spike of either sign is s operations. The spikes that a max pooling emits
count behind it with their level (:mod:`snnconv.simulation.chunk`). The spikes that enter it do not
count, and neither do spikes that enter a function: functions have work of their own
(:mod:`snnconv.metrics.functions`). Every simulated step counts; steps that some neurons take before
the T steps count at the first of these.

``sops_by_sample`` has the operations of every sample in the order of their indices, so that other
runs on the same samples can be tested against this one.

Shape:
    Sums ``[T, B]`` of spikes times a fan-out ``[*N]``.

Reference:
    Methods: "Counting".

Deviations:
    The ANN's MACs are given by the field's convention (padding counted), and exactly.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnconv.core.uncertainty import packed_numbers
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext, at_first


class Synops(Metric):
    """Counts operations by source and step, in integers."""

    counted = False
    valued = False
    led = True
    added = ("operations", "by_sample", "simulated")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.operations = {
            node.name: torch.zeros(context.timesteps, dtype=torch.int64)
            for node in context.analysis.emitters
        }
        self.by_sample = torch.zeros(context.population, dtype=torch.int64)
        self.simulated = torch.zeros(context.population, dtype=torch.uint8)
        self.indices: Tensor | None = None

    def begin(self, batch: Batch) -> None:
        """Note the samples' indices."""
        super().begin(batch)
        self.indices = None
        if batch.samples is not None and self.context.population:
            self.indices = batch.samples.cpu()
            self.simulated[self.indices] = 1

    def weights(self) -> Mapping[str, Tensor]:
        """Return each neuron's fan-out, because a spike counts its fan-out."""
        return self.context.analysis.fan_out

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk."""
        start, sums = at_first(start, sums)
        self.operations[name][start : start + len(sums)] += sums

    def add_by_sample(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk to the sums by step, and to those by sample."""
        super().add_by_sample(name, start, sums)
        if self.indices is not None:
            self.by_sample[self.indices] += sums.sum(0)

    def figures(self, found: Figures) -> Figures:
        """Return operations per sample."""
        analysis = self.context.analysis
        work = analysis.work_count
        # a quotient of integers would be float32
        steps = torch.stack(list(self.operations.values())).sum(0).cumsum(0).double() / self.samples
        by_step = {name: x.double() / self.samples for name, x in self.operations.items()}
        totals: dict[str, Any] = {
            "sops_per_sample": float(steps[-1]),
            "sops_per_sample_steps": self.context.at_answers(steps.tolist()),
            "first_layer_macs_per_sample": float(work.first.products),
            "first_layer_passes": self.context.passes(self.context.timesteps),
            "analog_macs_once_per_sample": float(work.once.products),
            "analog_macs_per_sample": float(work.each_step.products),
            "ann_macs_per_sample": float(work.total.products),
            "ann_macs_exact_per_sample": float(sum(analysis.exact_macs.values())),
        }
        if len(samples := self.simulated.nonzero().flatten()):
            totals["sops_by_sample"] = packed_numbers(self.by_sample[samples].tolist())
        layers = {
            name: {"sops_per_sample": int(counts.sum()) / self.samples}
            for name, counts in self.operations.items()
        }
        return Figures(totals, layers, {"operations": by_step})


METRIC = Synops

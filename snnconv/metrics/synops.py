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

from snnconv.graph.roles import Carries, carried, fan_out, macs
from snnconv.metric import Figures, Metric, Setup
from snnconv.neuron import Spikes


class Synops(Metric):
    """Counts operations by source and step, in integers."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.fan_out = fan_out(setup.graph, setup.network)
        # where all channels drive equally many synapses, channels are summed before weighing
        self.by_place = {
            name: count[0].flatten() if count.dim() > 1 and bool((count == count[:1]).all()) else None
            for name, count in self.fan_out.items()
        }
        self.operations = {
            name: torch.zeros(setup.timesteps, dtype=torch.float64) for name in self.fan_out
        }

    def observe(self, name: str, start: int, spikes: Spikes) -> None:
        """Add a chunk; float64 sums of integers are exact up to 2**53."""
        place = self.by_place[name]
        if place is None:
            counted = spikes.counts.flatten(2).double() @ self._on(self.fan_out[name].flatten(), spikes)
        else:
            counted = spikes.counts.sum(2).flatten(2).double() @ self._on(place, spikes)
        self.operations[name][start : start + len(counted)] += counted.sum(1).cpu()

    @staticmethod
    def _on(weights: torch.Tensor, spikes: Spikes) -> torch.Tensor:
        return weights.to(spikes.counts.device)

    def figures(self, found: Figures) -> Figures:
        """Operations per sample."""
        graph = self.setup.graph
        kinds = carried(graph)
        work = macs(graph, self.setup.network)
        first = sum(work[name][0] for name in work if kinds[name] is Carries.CONSTANT)
        analog = sum(
            work[name][0]
            for name in work
            if kinds[name] is not Carries.CONSTANT
            and kinds.get(graph[name].inputs[0]) is Carries.CURRENT
        )
        steps = torch.stack(list(self.operations.values())).sum(0).cumsum(0) / self.samples
        totals = {
            "sops_per_sample": float(steps[-1]),
            "sops_per_sample_steps": steps.tolist(),
            "first_layer_macs_per_sample": float(first),
            "analog_macs_per_sample": float(analog),
            "ann_macs_per_sample": float(sum(total for total, _ in work.values())),
            "ann_macs_exact_per_sample": float(sum(exact for _, exact in work.values())),
        }
        layers = {
            name: {"sops_per_sample": float(counts.sum() / self.samples)}
            for name, counts in self.operations.items()
        }
        return Figures(totals, layers)


METRIC = Synops

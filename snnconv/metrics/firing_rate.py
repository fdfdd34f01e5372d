"""Firing rate: spikes per neuron and step, by layer and step.

A spike of several levels counts as many, and a negative spike counts as a positive one does. The
mean over the network gives every neuron the same weight. Rates are those of the T steps;
``spikes_per_sample`` has the spikes of all simulated steps.

Shape:
    Sums of spikes ``[T]``.

Reference:
    Methods: "Counting"; MSAT section 5.4.

Deviations:
    None.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.metrics.base import Figures, Metric, MetricContext


class FiringRate(Metric):
    """Counts spikes by site and step."""

    counted = False
    valued = False
    led = True
    added = ("spikes",)

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.spikes = {
            site.name: torch.zeros(context.lead + context.timesteps, dtype=torch.int64)
            for site in context.graph.sites
        }

    def weights(self) -> Mapping[str, Tensor]:
        """Return ones, because a spike counts one."""
        return {name: torch.ones(self.context.shapes[name]) for name in self.spikes}

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk."""
        first = self.context.lead + start
        self.spikes[name][first : first + len(sums)] += sums

    def figures(self, found: Figures) -> Figures:
        """Return spikes per neuron and step."""
        neurons = {name: math.prod(self.context.shapes[name]) for name in self.spikes}
        layers = {}
        for name, spikes in self.spikes.items():
            rates = spikes[self.context.lead :].double() / (self.samples * neurons[name])
            layers[name] = {
                "firing_rate": float(rates.mean()),
                "firing_rate_steps": rates.tolist(),
            }
        total = torch.stack(list(self.spikes.values())).sum(0).double() / self.samples
        rates = total[self.context.lead :] / sum(neurons.values())
        totals = {
            "firing_rate_mean": float(rates.mean()),
            "firing_rate_steps": rates.tolist(),
            "spikes_per_sample": float(total.sum()),
        }
        return Figures(totals, layers)


METRIC = FiringRate

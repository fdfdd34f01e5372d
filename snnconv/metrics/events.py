"""Events: what a chip has to route, store and look up, however many levels a spike has.

An event is a nonzero output of one neuron, or of one place of a pooling, at one step. An event of
s levels is s spikes: it is s operations at each synapse, but one look-up of its weight. ``reads``
are the synapses that events reach.

Shape:
    Sums ``[T]`` of spikes; counts ``[T, B, *N]`` if there may be several spikes at once.

Reference:
    Lemaire et al. 2022: theta in their equations.

Deviations:
    None.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.engine.layer_output import LayerOutput
from snnconv.metrics.base import Figures, Metric, MetricContext, at_first


class Events(Metric):
    """Counts spikes, events and reads by source and step, in integers."""

    needs = ("synops",)
    counted = False
    valued = False
    led = True
    added = ("spikes", "events", "reads")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        names = [node.name for node in context.analysis.emitters]
        # if no neuron has two spikes at once, events are spikes, and counts need not be written
        self.counted = any(context.most_spikes(name) > 1 for name in names)

        def zeros() -> dict[str, Tensor]:
            return {name: torch.zeros(context.timesteps, dtype=torch.int64) for name in names}

        self.spikes, self.events, self.reads = zeros(), zeros(), zeros()

    def weights(self) -> Mapping[str, Tensor]:
        """Return ones, because a spike counts one."""
        return {name: torch.ones(self.context.shapes[name]) for name in self.spikes}

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk's spikes."""
        start, sums = at_first(start, sums)
        self.spikes[name][start : start + len(sums)] += sums

    def observe(self, name: str, start: int, output: LayerOutput) -> None:
        """Add a chunk's events, if they are not the spikes."""
        if not self.counted or name not in self.events:
            return
        assert output.counts is not None  # the instance says that it reads them
        fan_out = self.context.analysis.fan_out[name].to(output.counts.device)
        for t, counts in enumerate(output.counts, start=start):
            fired, step = (counts != 0).double().sum(0), max(t, 0)
            self.events[name][step] += int(fired.sum())
            self.reads[name][step] += int((fired * fan_out).sum())

    def figures(self, found: Figures) -> Figures:
        """Return events per sample."""
        spikes, events, reads = (
            {name: steps.double() / self.samples for name, steps in each.items()}
            for each in (self.spikes, self.events, self.reads)
        )
        if not self.counted:
            events, reads = spikes, found.by_step["operations"]
        layers = {name: {"events_per_sample": float(x.sum())} for name, x in events.items()}
        total = sum(row["events_per_sample"] for row in layers.values())
        by_step = {"spikes": spikes, "events": events, "reads": reads}
        return Figures({"events_per_sample": total}, layers, by_step)


METRIC = Events

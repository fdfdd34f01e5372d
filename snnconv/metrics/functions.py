"""What functions cost: look-ups, products and additions that no spike replaces.

A function is computed outside the spiking domain (:mod:`snnconv.graph.signals`). Its work is
counted by kind for one sample in two ways: at every step, as if a chip computed all of it at each
of T steps; and only where an input has changed, which is measured
(:mod:`snnconv.simulation.recomputed`). The ANN computes it once, and so do both networks if the
function depends on a constant input alone.
Matrices inside functions, such as those of an LSTM, are left out: they are MACs with weights.

Shape:
    Shares of a function's work ``[T, B]``.

Reference:
    Methods: "What functions cost". Prices as in :mod:`snnconv.metrics.energy`.

Deviations:
    None.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconv.graph.network import function_name
from snnconv.graph.operations.work import Work
from snnconv.graph.signals import Signal
from snnconv.metrics.base import Figures, Metric, MetricContext, at_first


class Functions(Metric):
    """Adds up shares of the work of functions by step."""

    counted = False
    valued = False
    led = True
    added = ("recomputed",)

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        analysis = context.analysis
        self.of_input = {
            node.name
            for node in analysis.functions
            if analysis.signals[node.name] in (Signal.CONSTANT, Signal.FRAMES)
        }
        self.recomputed = {
            node.name: torch.zeros(context.timesteps, dtype=torch.float64)
            for node in analysis.functions
            if node.name not in self.of_input
        }

    @property
    def watched(self) -> frozenset[str]:
        """The functions that change over time."""
        return frozenset(self.recomputed)

    def add_recomputed(self, name: str, start: int, shares: Tensor) -> None:
        """Add a chunk."""
        start, shares = at_first(start, shares.sum(1).cpu())
        self.recomputed[name][start : start + len(shares)] += shares

    def figures(self, found: Figures) -> Figures:
        """Work per sample."""
        context, analysis = self.context, self.context.analysis
        steps, passes = context.lead + context.timesteps, context.passes(context.timesteps)
        every_step = changed = ann = Work()
        rows: list[dict[str, Any]] = []
        for node in analysis.functions:
            own = replace(analysis.work[node.name], weights=0)
            each = own + analysis.running.get(node.name, Work())
            constant = node.name in self.of_input
            times = passes if constant else steps
            anew = times if constant else float(self.recomputed[node.name].sum()) / self.samples
            every_step, changed, ann = every_step + each * times, changed + each * anew, ann + own
            rows.append(
                {
                    "name": node.name,
                    "operation": function_name(node),
                    **_kinds(each),
                    "times": times,
                    "changed_share": anew / times,
                }
            )
        if not rows:
            return Figures()
        return Figures(
            {
                "functions": rows,
                "function_work": {
                    "every_step": _kinds(every_step),
                    "where_changed": _kinds(changed),
                    "ann": _kinds(ann),
                },
                "energy_functions_mj": context.energy_mj(every_step),
                "energy_functions_changed_mj": context.energy_mj(changed),
                "energy_ann_functions_mj": context.energy_mj(ann),
            }
        )


def _kinds(work: Work) -> dict[str, float]:
    return {"lookups": work.lookups, "macs": work.macs, "additions": work.additions}


METRIC = Functions

"""SIN: spikes of inactivated neurons, which should not fire at all according to the ANN.

A spike of either sign counts. A neuron is inactivated if the ANN's pre-activation is negative. It
is a SIN neuron by step t if it has fired at least once by then. ``sin_ratio[t]`` = SIN
neurons by t / neurons of the layer, mean over samples. ``wrong_spike_share[t]`` = spikes of
inactivated neurons at t / spikes at t. ``ans_per_neuron`` and ``ans_per_sin_neuron`` = wrong spikes
in T steps per neuron of the layer, and per SIN neuron.

Shape:
    Counts ``[T, B, *N]`` against pre-activations ``[B, *N]``.

Reference:
    MSAT section 3.2.2, Eq. 8, Fig. 2, Table 6.

Deviations:
    The paper does not say over which neurons it averages the number of SIN: both means are given.
"""

import math

import torch
from torch import Tensor

from snnconv.core.shapes import in_all, per_sample
from snnconv.engine.layer_output import LayerOutput
from snnconv.graph.ir import TRANSFER
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext


class Sin(Metric):
    """Counts wrong spikes, and the neurons that have fired one."""

    of_conversion = True
    valued = False
    added = ("sin_neurons", "wrong", "all")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        # at a transfer site a negative activation has spikes of its own: no neuron is inactivated
        names = [site.name for site in context.graph.sites if site.op != TRANSFER]

        def zeros() -> dict[str, Tensor]:
            return {name: torch.zeros(context.timesteps, dtype=torch.int64) for name in names}

        self.sin_neurons, self.wrong, self.all = zeros(), zeros(), zeros()
        self.inactive: dict[str, Tensor] = {}
        self.fired: dict[str, Tensor] = {}

    def begin(self, batch: Batch) -> None:
        """Note which neurons are inactivated."""
        super().begin(batch)
        # masks as floats: on a CPU, products of floats are several times faster than of bools
        self.inactive = {
            name: (value < 0).to(value.dtype)
            for name, value in batch.ann_inputs.items()
            if name in self.wrong
        }
        self.fired = {name: torch.zeros_like(mask) for name, mask in self.inactive.items()}

    def observe(self, name: str, start: int, output: LayerOutput) -> None:
        """Add a chunk."""
        if name not in self.inactive:
            return
        assert output.counts is not None  # the class says that it reads them
        spikes = output.counts.abs() if self.context.signed else output.counts
        inactive, fired = self.inactive[name], self.fired[name]
        wrong = torch.empty_like(inactive)
        self.all[name][start : start + len(spikes)] += per_sample(spikes).sum(1).cpu()
        for t, counts in enumerate(spikes, start=start):
            torch.mul(counts, inactive, out=wrong)
            self.wrong[name][t] += in_all(wrong)
            if self.context.levels > 1:
                wrong.clamp_(max=1)
            torch.maximum(fired, wrong, out=fired)
            self.sin_neurons[name][t] += in_all(fired)

    def figures(self, found: Figures) -> Figures:
        """Return ratios 0..1, and mean numbers of wrong spikes."""
        layers, ratios = {}, []
        for name, wrong in self.wrong.items():
            neurons = self.samples * math.prod(self.context.shapes[name])
            ratio = (self.sin_neurons[name].double() / neurons).tolist()
            ratios.append(ratio)
            sin_neurons = int(self.sin_neurons[name][-1])
            share = wrong.double() / self.all[name].clamp(min=1)
            layers[name] = {
                "sin_ratio": ratio,
                "wrong_spike_share": share.tolist(),
                "ans_per_neuron": int(wrong.sum()) / neurons,
                "ans_per_sin_neuron": int(wrong.sum()) / sin_neurons if sin_neurons else 0.0,
            }
        if not layers:
            return Figures({}, {})
        mean = torch.tensor(ratios, dtype=torch.float64).mean(0).tolist()
        return Figures({"sin_ratio_steps": mean}, layers)


METRIC = Sin

"""Synaptic operations by the other convention for averages: what a pooling gives is counted.

``synops`` counts an average pooling as part of the synapse behind it: each spike that enters the
pooling is an operation at each synapse. A monitor that watches the inputs of layers with weights
sees the pooled value instead. Behind a pooling of k x k places, k*k spikes are one pooled value of
one, so the monitor counts 1/(k*k) of our operations. The tables of LM-HT count this way.

Shape:
    Sums ``[T]`` of spikes times a fan-out ``[*N]``, in parts.

Reference:
    LM-HT, Table 1 and the authors' monitor of synaptic operations.

Deviations:
    None.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import lcm

from torch import Tensor

from snnconv.metrics.base import Figures, Metric, MetricContext

_MOST = 2**20  # parts of an operation: weights times parts are integers that float32 holds
_MJ_PER_PJ = 1e-9


class PooledSynops(Metric):
    """Counts parts of operations, in integers, by source with averages behind it."""

    needs = ("synops",)
    counted = False
    valued = False
    led = True
    added = ("operations",)

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.fan_out = context.analysis.pooled_fan_out
        self.parts = {name: parts_of(fan_out) for name, fan_out in self.fan_out.items()}
        self.operations = dict.fromkeys(self.fan_out, 0)

    def weights(self) -> Mapping[str, Tensor]:
        """Return how many parts of its fan-out a spike counts."""
        return {name: (x * self.parts[name]).round() for name, x in self.fan_out.items()}

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk."""
        self.operations[name] += int(sums.sum())

    def figures(self, found: Figures) -> Figures:
        """Return operations per sample, and their energy."""
        by_source = {
            name: float(steps.sum()) for name, steps in found.by_step["operations"].items()
        }
        for name, counts in self.operations.items():
            by_source[name] = counts / self.parts[name] / self.samples
        layers = {name: {"sops_pooled_per_sample": sops} for name, sops in by_source.items()}
        total = sum(by_source.values())
        energy = self.context.energy_ac_pj * total * _MJ_PER_PJ
        return Figures(
            {"sops_pooled_per_sample": total, "energy_synaptic_pooled_mj": energy}, layers
        )


def parts_of(fan_out: Tensor) -> int:
    """Return the parts of an operation that make each neuron's fan-out a whole number."""
    values = (Fraction(value).limit_denominator(_MOST) for value in fan_out.unique().tolist())
    return min(lcm(*(value.denominator for value in values)), _MOST)


METRIC = PooledSynops

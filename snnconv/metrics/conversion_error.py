"""Conversion error of each layer: the mean output over T steps against the ANN's activation.

``conversion_error = |x - a| / |a|`` (L2 over neurons and samples), with ``x`` the mean output and
``a`` the activation. It has three parts on the same scale: clipping ``|min(a, theta) - a|``;
rounding ``|q(a) - min(a, theta)|``, where ``q`` is the output of the neuron under the constant
current ``a``; and the rest ``|x - q(a)|``: uneven and wrong spikes, and errors of earlier layers.
The vectors add up; their norms need not.

Shape:
    Values ``[T, B, *N]`` against pre-activations ``[B, *N]``.

Reference:
    MSAT Eq. 5-8; Deng & Gu 2021 for clipping and rounding ("floor").

Deviations:
    Rounding is to the neuron's grid (:meth:`snnconv.neurons.base.NeuronParams.grid`): multiples of
    theta/(L*T) for LM-HT of L levels, of theta/T for others, MSAT too, whose grid is finer. Signed
    neurons of g spikes a step clip at g*theta.
"""

import torch
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.engine.layer_output import LayerOutput
from snnconv.graph.ir import TRANSFER
from snnconv.graph.network import compute
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext

_PARTS = {
    "conversion_error": 0,
    "error_clipping": 1,
    "error_rounding": 2,
    "error_rest": 3,
}


class ConversionError(Metric):
    """Sums squared errors by site."""

    of_conversion = True
    counted = False
    added = ("squares", "norms")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.sites = {site.name: site for site in context.graph.sites}
        self.squares = {name: torch.zeros(4, dtype=torch.float64) for name in self.sites}
        self.norms = dict.fromkeys(self.sites, 0.0)
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}

    def begin(self, batch: Batch) -> None:
        """Note the ANN's activations."""
        super().begin(batch)
        self.ann_inputs = batch.ann_inputs
        self.sums, self.rows = {}, {}

    def observe(self, name: str, start: int, output: LayerOutput) -> None:
        """Add up a chunk's values: those of each step, or their mean."""
        if name in self.sites:
            values = output.values_or_mean
            if name not in self.sums:
                self.sums[name] = torch.zeros_like(values[0])
            for value in values:  # on a CPU several times faster than a sum over dimension 0
                self.sums[name] += value
            self.rows[name] = self.rows.get(name, 0) + len(values)

    def finish(self, logits: Tensor) -> None:
        """Compare the batch's means with its activations."""
        grid, device = self.context.grid, logits.device
        tensors = {
            name: self.context.network[name].to(device)
            for site in self.sites.values()
            for name in site.tensors.values()  # the thetas of QCFS
        }
        for name, total in self.sums.items():
            before = self.ann_inputs[name]
            activation = compute(self.sites[name], tensors, [before])
            theta = per_neuron(self.context.thresholds[name], total.dim()).to(total.device)
            end, levels = theta * grid.end, grid.levels
            # a transfer site clips and rounds both signs
            least = -1 if self.sites[name].op == TRANSFER else 0
            clipped = torch.minimum(activation, end).maximum(least * end)
            level = torch.floor(activation * (levels / end) + grid.v0).clamp(least * levels, levels)
            rounded = level * (end / levels)
            mean = total / self.rows[name]
            for index, part in enumerate(
                (mean - activation, clipped - activation, rounded - clipped, mean - rounded)
            ):
                self.squares[name][index] += part.double().square().sum().cpu()
            self.norms[name] += float(activation.double().square().sum())

    def figures(self, found: Figures) -> Figures:
        """Return relative errors; null if the ANN's activations are all zero."""
        layers = {}
        for name, squares in self.squares.items():
            norm = self.norms[name]
            layers[name] = {
                key: (float(squares[index]) / norm) ** 0.5 if norm else None
                for key, index in _PARTS.items()
            }
        return Figures({}, layers)


METRIC = ConversionError

"""LM-H's errors: by how much dendrites and somata move a rate away from the mean of the currents.

The mean output of LM-H neurons over T steps is ``mean_t I[t] - (mean_t delta_D[t] + mean_t
delta_S[t])``, with::

    delta_D[t] = (1 - lambda_D)*v_D[t] - mu_D*v_D[t-1]
    delta_S[t] = v_S[t] - (lambda_S + mu_S)*v_S[t-1]

``delta_d`` and ``delta_s`` are the means over neurons and samples of ``|mean_t delta_D[t]|`` and
``|mean_t delta_S[t]|``, in units of theta. IF neurons have no ``delta_D``, and their ``delta_S`` is
``(v_S[T] - v_S[0])/T``. Networks without LM-H neurons have neither. To look into the neurons the
simulation goes step by step, which is slower.

Shape:
    Potentials and currents ``[T, B, *N]``.

Reference:
    LM-H (Hao et al. 2024), the equation of the rate in the section on efficient training.

Deviations:
    Where the scalars of the steps differ, each step has its own, as in their sum. The paper states
    the terms, and no figure made of them.
"""

import torch
from torch import Tensor

from snnconv.core.shapes import per_neuron
from snnconv.engine.layer_output import LayerOutput
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext
from snnconv.neurons.lm_h import LMH, State


class LmHErrors(Metric):
    """Follows both potentials."""

    counted = False
    valued = False
    added = ("errors",)

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        neurons = {name: n for name, n in context.neurons.items() if isinstance(n, LMH)}
        self.neurons = neurons
        self.errors = {name: torch.zeros(2, dtype=torch.float64) for name in neurons}
        self.states: dict[str, State] = {}
        self.sums: dict[str, Tensor] = {}

    @property
    def looks_into(self) -> frozenset[str]:
        """The layers of LM-H neurons."""
        return frozenset(self.neurons)

    def begin(self, batch: Batch) -> None:
        """Start a batch."""
        super().begin(batch)
        self.states, self.sums = {}, {}

    def observe(self, name: str, start: int, output: LayerOutput) -> None:
        """Follow the potentials of a layer, and add up both terms."""
        if name not in self.neurons or output.membrane is None:
            return
        neuron, held = self.neurons[name], output.membrane
        assert held.potentials is not None
        first = held.currents[0]
        state = self.states[name] if start else neuron.initial(first)
        dendrite, soma = state.dendrite, state.soma
        sums = self.sums[name] if start else torch.zeros(2, *first.shape, device=first.device)
        for scalars, current, after in zip(
            neuron.acting(start, len(held.currents)), held.currents, held.potentials, strict=True
        ):
            mu_d, mu_s, lambda_s, lambda_d = scalars
            now = mu_d * dendrite + mu_s * soma + current
            of_dendrite = (1 - lambda_d) * now - mu_d * dendrite
            sums = sums + torch.stack([of_dendrite, after - (lambda_s + mu_s) * soma])
            dendrite, soma = now, after
        self.states[name] = State(dendrite, soma, start + len(held.currents))
        self.sums[name] = sums

    def finish(self, logits: Tensor) -> None:
        """Finish the batch: all steps are in the sums."""
        for name, sums in self.sums.items():
            theta = per_neuron(self.neurons[name].threshold, sums.dim() - 1)
            means = (sums / self.context.timesteps / theta).abs().double()
            self.errors[name] += means.flatten(1).sum(1).cpu()

    def figures(self, found: Figures) -> Figures:
        """Return both terms, by layer and over all neurons."""
        if not self.errors:
            return Figures()
        sizes = {n: self.context.analysis.shapes[n] for n in self.errors}
        counts = {n: self.samples * torch.Size(shape).numel() for n, shape in sizes.items()}
        layers = {n: _figures(total / counts[n]) for n, total in self.errors.items()}
        whole = torch.stack(list(self.errors.values())).sum(0) / sum(counts.values())
        return Figures(_figures(whole), layers)


def _figures(terms: Tensor) -> dict[str, float]:
    return dict(zip(("delta_d", "delta_s"), terms.tolist(), strict=True))


METRIC = LmHErrors

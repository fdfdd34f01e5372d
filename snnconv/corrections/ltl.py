"""Local tandem learning: the weights before each site are trained through the neurons' steps.

Let ``x[t]`` be the output of the neurons of a site for the currents from earlier sites, step by
step, and ``a`` the ANN's activation, clipped at the largest output of the neurons. Offline, Adam
minimises::

    mean((sum_t x[t]/T - a)^2)

with gradients through all steps and the neurons' surrogate; or online, the mean over ``t > warm``
of::

    mean((sum_(tau <= t) x[tau]/t - a)^2)

where a gradient passes through ``x[t]`` and its current alone: the potential and the spikes before
are constants, so memory does not grow with T. Sites come in the order of the graph, sites before
corrected already, and there are no labels: the ANN is the teacher, and each layer is trained alone.
Biases do not change.

Shape:
    A change of a weight's own shape, of each synapse before a site.

Reference:
    Yang et al. 2022, *Training Spiking Neural Networks with Local Tandem Learning*: its loss of a
    layer, offline and online.

Deviations:
    The authors train all layers at once from random weights, add the cross-entropy of labels, and
    take the teacher's activation as a share of its 99.9 percentile. Here layers come one after the
    other from the ANN's own weights, without labels, and activations are clipped at the largest
    output of the neurons. Their networks are LIF; here the neurons are those of the conversion. If
    a pooling or another function is between two sites, a step is the change of the function of the
    running mean, as in the simulation. A weight that several layers share does not
    change. Layers behind the last site are not trained.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.core.bounds import COUNT, STEPS
from snnconv.core.shapes import per_neuron
from snnconv.corrections._layers import Layer, LayerCorrection, LayerParams
from snnconv.corrections.base import Site, refuse_waiting
from snnconv.simulation.network import SpikingNetwork


class Params(LayerParams):
    """Parameters of local tandem learning."""

    iterations: int = Field(100, ge=1, le=COUNT, description="of the optimiser, for each site")
    mode: Literal["offline", "online"] = Field(
        "offline", description="gradients through all steps, or of each step alone"
    )
    warm: int = Field(0, ge=0, le=STEPS, description="first steps that count no error, online")


class LocalTandemLearning(LayerCorrection):
    """Changes of the weights before each site."""

    params_type = Params
    params: Params

    def refuse(self, checkpoint: Checkpoint, network: SpikingNetwork) -> None:
        """Refuse to learn online if no step can be computed alone.

        Raises:
            UsageError: the network has neurons that wait.
        """
        if self.params.mode == "online":
            refuse_waiting(
                checkpoint, network, "no step of theirs stands alone, as mode=online has it"
            )

    def kept(self, values: Tensor) -> Tensor:
        """Return their running means."""
        return values.cumsum(0) / _steps(values)

    def loss(
        self, site: Site, layer: Layer, tensors: Mapping[str, Tensor], given: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the loss of the simulated outputs of the neurons."""
        T, N = site.timesteps, len(site.ann)
        means = {name: mean.flatten(0, 1) for name, mean in given.items()}
        running = layer.compute(tensors, means).unflatten(0, (T, N))
        totals = running * _steps(running)
        here = replace(site, currents=totals.diff(dim=0, prepend=torch.zeros_like(totals[:1])))
        end = per_neuron(site.neuron.threshold, site.ann.dim())
        target = torch.minimum(site.ann, end * site.neuron.params.grid(T).end)
        if self.params.mode == "offline":
            return (here.output({}) - target).square().mean()
        first = min(self.params.warm, T - 1)
        state, total, errors = None, torch.zeros_like(target), []
        for t in range(T):
            (value,), state = here.step(t, _constant(state), {})
            if t >= first:
                errors.append(((total + value) / (t + 1) - target).square().mean())
            total = total + value.detach()
        return torch.stack(errors).mean()


def _steps(values: Tensor) -> Tensor:
    """Return 1 to T, to broadcast over ``[T, N, *N]``."""
    steps = torch.arange(1, len(values) + 1, device=values.device, dtype=values.dtype)
    return steps.reshape(-1, *[1] * (values.dim() - 1))


def _constant(state: Any) -> Any:
    """Return the state, detached."""
    if state is None:
        return None
    return type(state)(*(x.detach() if isinstance(x, Tensor) else x for x in state))


CORRECTION = LocalTandemLearning

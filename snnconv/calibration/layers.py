"""Find a parameter of each layer's neurons for a conversion, without data.

A layer's neurons are shown the activations that calibration has kept, as constant currents, for the
T steps of the conversion. The value is the one whose mean output is nearest to the activations::

    argmin sum n*(a - mean_t x(t))^2,   n activations of size a

Shape:
    Activations ``[n]`` in units of their channel's theta; values ``[1]`` by site.

Reference:
    MSAT Eq. 10, the target, and Eq. 12, "the parameter to optimize".

Deviations:
    The paper has no search: it sets the parameter by hand. Here a grid between the bounds, then two
    finer ones around the best of it. Real currents come as spikes; here they are constant.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconv.calibration.refit import kept_bins
from snnconv.checkpoint import Checkpoint
from snnconv.neurons.base import Neuron, NeuronParams

_VALUES = 33  # of the first grid
_FINER = 9  # of each finer one
_ROUNDS = 2
_POINTS = 1024  # activations of a layer that stand for all of them

Make = Callable[[NeuronParams, Tensor, int], Neuron[Any]]


def by_layer(
    converted: Checkpoint, calibrated: Checkpoint, make: Make, params: NeuronParams
) -> dict[str, Tensor]:
    """Return what conversion finds for each layer: ``<site>/<parameter>`` ``[1]`` float32.

    Args:
        converted: the checkpoint with the thresholds of the conversion.
        calibrated: the checkpoint with the bins of the calibration.
        make: a layer of neurons, from parameters, threshold and T.
        params: the parameters of the neurons.
    """
    found = {}
    for site, theta in converted.thresholds().items():
        seen = activations(calibrated, site, theta) if params.by_layer else None
        for name, bounds in params.by_layer.items():
            assert seen is not None
            neuron = make(params, torch.ones(1), converted.conversion.timesteps)
            found[f"{site}/{name}"] = torch.tensor([_best(neuron, name, bounds, *seen)])
    return found


def activations(calibrated: Checkpoint, site: str, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return activations of a site, and what the squared error of each counts, ``[n]`` each.

    Args:
        calibrated: the checkpoint with the bins of the calibration, or a histogram to draw.
        site: its name.
        theta: ``[1]`` or ``[C]``.
    """
    bins = kept_bins(calibrated).get(site)
    if bins is None:
        edges, counts = (calibrated.calibration[f"{site}/{of}"] for of in ("edges", "counts"))
        middle = ((edges[:-1] + edges[1:]) / 2).numpy()
        channels = [(counts.double().numpy(), middle.astype(np.float64))]
        theta = theta.double().mean()[None]
    else:
        channels = [(number, total / number) for number, total, *_ in bins.channels()]
    scales = theta.double().expand(len(channels)).tolist()
    size = np.concatenate([of / scale for (_, of), scale in zip(channels, scales, strict=True)])
    weight = np.concatenate(
        [of * scale**2 for (of, _), scale in zip(channels, scales, strict=True)]
    )
    order = np.argsort(size, kind="stable")
    size, weight = size[order], weight[order]
    groups = np.array_split(np.arange(len(size)), min(_POINTS, len(size)))
    weights = [weight[group].sum() for group in groups]
    sizes = [np.average(size[g], weights=weight[g] + 1e-300) for g in groups]
    return torch.tensor(sizes, dtype=torch.float32), torch.tensor(weights, dtype=torch.float64)


@torch.no_grad()
def _best(
    neuron: Neuron[Any], name: str, bounds: tuple[float, float], sizes: Tensor, weights: Tensor
) -> float:
    """Return the value of least error for one layer."""
    parameter = neuron.get_parameter(name)

    def error(value: float) -> float:
        parameter.fill_(value)
        currents = sizes.expand(neuron.timesteps, 1, -1)
        spikes, _ = neuron(currents)
        wrong = (spikes.values.double().mean(0)[0] - sizes) ** 2
        return float(wrong @ weights)

    low, high = bounds
    number = _VALUES
    for _ in range(1 + _ROUNDS):
        values = np.linspace(low, high, number)
        least = float(min(values.tolist(), key=error))
        step = (high - low) / (number - 1)
        low, high, number = max(bounds[0], least - step), min(bounds[1], least + step), _FINER
    return least

"""Potential correction: each neuron gets the charge that its output lacks over T steps.

With ``a`` the ANN's activation and ``x`` the neuron's output, in means over samples, and over steps
for ``x``::

    v0 += T*(mean(a) - mean(x))

site by site in the order of the graph, with earlier sites already corrected. A neuron that spikes
passes its initial charge on by its last step, so the correction also makes up for errors of early
spikes on average.

Shape:
    A potential ``[*N]`` a site.

Reference:
    Li et al. 2021, *A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks
    Calibration*, potential correction (their advanced pipeline).

Deviations:
    None: it is added once, as in the paper.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part
from snnconv.core.metadata import Parameters
from snnconv.corrections.base import Site, SiteCorrection
from snnconv.simulation.network import SpikingNetwork


class Params(Parameters):
    """Parameters of the potential correction: none."""


class Potential(SiteCorrection):
    """An initial potential a neuron."""

    params_type = Params
    params: Params

    def refuse(self, checkpoint: Checkpoint, network: SpikingNetwork) -> None:
        """Refuse neurons that have no potential.

        Raises:
            UsageError: the network has neurons that this method refuses.
        """
        for neuron in network.neurons.values():
            sample = neuron.threshold.new_zeros(1, neuron.threshold.numel())
            neuron.raised(neuron.initial(sample), sample[0])

    def at(self, site: Site) -> Mapping[Part, Tensor]:
        """Return what the neurons' mean outputs lack."""
        wanted, given = (x.mean(0, dtype=torch.float64) for x in (site.ann, site.output({})))
        return {"potential": site.timesteps * (wanted - given)}


CORRECTION = Potential

"""Amplitude correction: a current and a spike amplitude for each channel.

With ``z`` the ANN's pre-activation and ``a`` its activation, ``I`` the currents, ``x`` the neurons'
output and theta their threshold, in means over samples, places and steps::

    psi = mean(z) - mean(I);                       a current at every step
    phi = (mean(a) - mean(x)) / (1 + mean(x)/theta);   x becomes x*(1 + phi/theta)

site by site in the order of the graph, with earlier sites already corrected, ``x`` with psi in
place. The threshold stays: a neuron fires as often, and its spikes carry ``theta + phi``.

Shape:
    A current ``[C]`` and an amplitude ``[C]`` a site.

Reference:
    Hao et al. 2025, *Faster and Stronger: When ANN-SNN Conversion Meets Parallel Spiking
    Calculation*, its calibration of distributions and amplitudes (DA).

Deviations:
    The authors' code reaches phi as the fixed point of a moving average, ``mean(q)*(theta + phi) =
    mean(a) - phi`` with ``q = x/theta``: here it is solved directly. They use it for their parallel
    neurons, which are LM-HT ones of one level and uniform Omega; here it is for all neurons.
"""

from collections.abc import Mapping

from torch import Tensor

from snnconv.checkpoint.corrections import Part
from snnconv.core.metadata import Parameters
from snnconv.corrections.base import Site, SiteCorrection, channel_means


class Params(Parameters):
    """Parameters of the amplitude correction: none."""


class Amplitude(SiteCorrection):
    """A current and an amplitude for each channel."""

    params_type = Params
    params: Params

    def at(self, site: Site) -> Mapping[Part, Tensor]:
        """Return psi, and phi as a share of theta."""
        given = channel_means(site.mean_current())
        psi = (channel_means(site.ann_input) - given).float()
        mean, target = channel_means(site.output({"current": psi})), channel_means(site.ann)
        theta = site.neuron.threshold.reshape(-1).double()
        phi = (target - mean) / (1 + mean / theta)
        return {"current": psi, "amplitude": phi / theta}


CORRECTION = Amplitude

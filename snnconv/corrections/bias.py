"""Bias correction: a current for each channel that matches its mean output to the ANN's.

With ``a`` the ANN's activation and ``x`` the neurons' output, in means over samples, places and
steps::

    I_c += mean(a) - mean(x)

site by site in the order of the graph, with earlier sites already corrected. A neuron does not pass
on all of a current: a silent one may stay silent, and one that spikes at every step can't spike
more. So this is repeated until both means agree, or as closely as whole spikes allow.

Shape:
    A current ``[C]`` a site.

Reference:
    Li et al. 2021, *A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks
    Calibration*, bias correction (their light pipeline).

Deviations:
    The paper adds what is missing only once: ``rounds=1``. Its further shift of theta/2T at each
    step is the initial potential here.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from snnconv.checkpoint.corrections import Part
from snnconv.core.metadata import Parameters
from snnconv.corrections._matching import matching
from snnconv.corrections.base import Site, SiteCorrection, channel_means


class Params(Parameters):
    """Parameters of the bias correction."""

    tolerance: float = Field(
        1e-5, ge=0, description="how far means may differ, in units of the ANN's activation"
    )
    rounds: int = Field(60, ge=1, le=1000, description="tries at most; 1 as in the paper")


class Bias(SiteCorrection):
    """A current a channel."""

    params_type = Params
    params: Params

    def at(self, site: Site) -> Mapping[Part, Tensor]:
        """Return the current at which the site's means are the ANN's."""
        target = channel_means(site.ann)
        theta, half_a_spike = (
            value.double().to(target.device).expand_as(target)
            for value in (site.neuron.threshold.reshape(-1), site.spike / 2)
        )

        def mean(current: Tensor) -> Tensor:
            return channel_means(site.output({"current": current}))

        near = half_a_spike.clamp(min=self.params.tolerance)
        return {"current": matching(mean, target, theta, near, self.params.rounds)}


CORRECTION = Bias

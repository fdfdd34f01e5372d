"""Step-wise bias correction: a current for each channel and step that matches every step's mean.

With ``a`` the ANN's activation, ``x[t]`` the neurons' output at step t, and means over samples and
places::

    I_c[t] += what makes mean(x[t]) = mean(a)

site by site in the order of the graph, and step by step: a step starts from the potentials after
the corrected earlier steps. So every step, including the first, gives its share of the mean; which
neurons give it is not corrected.

Shape:
    A current ``[T, C]`` a site.

Reference:
    Wu et al. 2024, *FTBC: Forward Temporal Bias Correction for Optimizing ANN-SNN Conversion*,
    its calibration.

Deviations:
    The authors' code goes half of the way (alpha = 0.5) on each of ten batches. Here one batch of
    all samples is matched at each step, as closely as whole spikes allow; ``share=0.5`` goes half
    of the way that is left to go.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part
from snnconv.core.metadata import Parameters
from snnconv.corrections._matching import matching
from snnconv.corrections.base import Site, SiteCorrection, channel_means, refuse_waiting
from snnconv.simulation.network import SpikingNetwork


class Params(Parameters):
    """Parameters of the step-wise correction."""

    tolerance: float = Field(
        1e-5, ge=0, description="how far means may differ, in units of the ANN's activation"
    )
    rounds: int = Field(60, ge=1, le=1000, description="tries at most, at each step")
    share: float = Field(1.0, gt=0, le=1, description="of the current that matches, what is added")


class Steps(SiteCorrection):
    """A current a channel and step."""

    params_type = Params
    params: Params

    def refuse(self, checkpoint: Checkpoint, network: SpikingNetwork) -> None:
        """Refuse neurons each of whose steps depends on all steps' currents.

        Raises:
            UsageError: the network has neurons that this method refuses.
        """
        refuse_waiting(checkpoint, network, "no step of theirs is due to that step's current alone")

    def at(self, site: Site) -> Mapping[Part, Tensor]:
        """Return the current of each step at which that step's means are the ANN's."""
        target = channel_means(site.ann)
        # a spike of one step counts T times as much as in the mean over time
        half_a_spike = site.timesteps * site.spike / 2
        near = half_a_spike.double().expand_as(target).clamp(min=self.params.tolerance)
        theta = site.neuron.threshold.reshape(-1).double().expand_as(target)
        found = torch.zeros(site.timesteps, len(target), device=target.device)
        state: Any = None
        for t in range(site.timesteps):

            def mean(current: Tensor, t: int = t, state: Any = state) -> Tensor:
                found[t] = current
                return channel_means(site.step(t, state, {"current": found})[0][0])

            matched = matching(mean, target, theta, near, self.params.rounds)
            found[t] = self.params.share * matched
            _, state = site.step(t, state, {"current": found})
        return {"current": found}


CORRECTION = Steps

"""MPBN: BatchNorm of the membrane potential, before a neuron fires.

``s = H(n - level)`` with ``n = gamma*(v - mu)/sqrt(var + eps) + beta``, where ``v`` is the
potential after the current of the step has been added; ``mu`` and ``var`` are those of a step's
batch in training, and running means in inference. What a spike carries, and what a reset takes off
``v``, stay what they are. The network's own BatchNorm stays, too.

In inference it is a threshold of each channel: a neuron fires where ``v >= mu + (level -
beta)*sqrt(var + eps)/gamma``; if gamma is negative, where ``v`` is at most that.

Shape:
    Potentials of one step ``[B, C, *places]``.

Reference:
    Guo et al. 2023, *Membrane Potential Batch Normalization for Spiking Neural Networks*, and the
    released code: a level of 0.5, statistics step by step.

Deviations:
    None known: we have the code and the abstract. Where a channel has one value in a batch,
    it is normalised by the running statistics.
"""

from pydantic import Field

from snnconv.neurons.norms.base import Norm, NormParams
from snnconv.neurons.norms.potentials import PotentialNorm


class Params(NormParams):
    """Parameters of MPBN."""

    examples = ({"level": 0.25},)
    level: float = Field(
        0.5, gt=0, le=1e3, description="normalised potential at which a neuron fires"
    )


class MPBN(Norm):
    """BatchNorm of potentials."""

    params_type = Params
    params: Params

    def of_potentials(self, channels: int) -> PotentialNorm:
        """See the module."""
        return PotentialNorm(channels, self.params.level)


NORM = MPBN

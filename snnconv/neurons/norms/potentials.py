"""BatchNorm of the potentials of a layer of neurons, before they fire.

With ``n = weight*(v - mean)/sqrt(var + eps) + bias`` a neuron fires where ``n`` has reached a
level. Folded, it is a threshold of each channel: it fires where ``v >= mean + (level -
bias)*sqrt(var + eps)/weight``; if the weight is negative, where ``v`` is at most that.

Shape:
    Potentials of one step ``[B, C, *places]``, all else ``[C]``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconv.core import distributed
from snnconv.core.shapes import per_neuron
from snnconv.neurons.surrogates.base import Surrogate

EPS, MOMENTUM = 1e-5, 0.1


class PotentialNorm(nn.Module):
    """What normalises the potentials of one layer.

    Args:
        channels: C.
        level: of a normalised potential, at which a neuron fires.

    Attributes:
        synchronised: whether statistics are those of all processes' batches.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, level: float) -> None:
        super().__init__()
        self.level = level
        self.synchronised = False
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, potential: Tensor) -> Tensor:
        """Return the normalised potentials of one step.

        In training by the statistics of the step's batch, if a channel has more than one value.
        """
        several = potential.numel() > potential.shape[1]
        if self.training and several and self.synchronised:
            return distributed.batch_norm(
                potential, self.mean, self.var, self.weight, self.bias, MOMENTUM, EPS
            )
        live = self.training and several
        return F.batch_norm(
            potential, self.mean, self.var, self.weight, self.bias, live, MOMENTUM, EPS
        )

    def threshold(self) -> Tensor:
        """Return the potential at which each channel fires, and the side: 1 from it on, else -1.

        Returns:
            ``[2, C]``. A channel with a weight of 0 fires always or never.
        """
        weight, bias = self.weight.detach().double(), self.bias.detach().double()
        gain = weight / torch.sqrt(self.var.double() + EPS)
        always = torch.where(bias >= self.level, -torch.inf, torch.inf)
        at = torch.where(gain == 0, always, self.mean.double() + (self.level - bias) / gain)
        return torch.stack([at, torch.where(gain < 0, -1.0, 1.0)]).to(self.weight.dtype)

    def folded(self) -> "FoldedNorm":
        """Return the same as thresholds, which learn no more."""
        return FoldedNorm(self.threshold())

    def spike(self, potential: Tensor, surrogate: Surrogate) -> Tensor:
        """Return 1 where a neuron fires, else 0, in the potential's type.

        Args:
            potential: of one step.
            surrogate: what stands for the derivative by the normalised potential.
        """
        normalised = self(potential)
        fired: Tensor = surrogate(normalised, normalised.new_tensor(self.level))
        return fired


class FoldedNorm(nn.Module):
    """What a norm of potentials is in inference: a threshold of each channel, and the side.

    Its spikes have no derivative.

    Args:
        limits: from :meth:`PotentialNorm.threshold`, ``[2, C]``.
    """

    limits: Tensor

    def __init__(self, limits: Tensor) -> None:
        super().__init__()
        self.register_buffer("limits", limits)

    def threshold(self) -> Tensor:
        """Return the potential at which each channel fires, and the side, ``[2, C]``."""
        return self.limits

    def spike(self, potential: Tensor, surrogate: nn.Module) -> Tensor:
        """Return 1 where a neuron fires, else 0, in the potential's type.

        Args:
            potential: of one step.
            surrogate: has no use here.
        """
        at, side = (per_neuron(x, potential.dim()) for x in self.limits)
        return (potential * side >= at * side).to(potential.dtype)

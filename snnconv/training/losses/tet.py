"""TET: the mean of the losses of all steps, and a regulariser that holds the outputs together.

``(1 - lam)*mean_t L(o[t], y) + lam*mean (o[t] - phi)^2``, where ``o[t]`` are the outputs of step
t, and ``L`` is the loss of the task.

Shape:
    Outputs ``[T, B, *out] -> []``.

Reference:
    Deng et al. 2022, *Temporal Efficient Training of Spiking Neural Network via Gradient
    Re-weighting*, eq. 5 and 9, and its code.

Deviations:
    ``lam`` is 0 by default, so the regulariser is off; theirs is 0.001 with ``phi = 1``.
"""

from pydantic import Field
from torch import Tensor

from snnconv.training.losses.base import Given, Loss, LossParams


class Params(LossParams):
    """Parameters of TET."""

    lam: float = Field(0.0, ge=0, le=1, description="share of the regulariser; the paper's is 1e-3")
    phi: float = Field(1.0, ge=-1e6, le=1e6, description="value that outputs are drawn to")


class Tet(Loss):
    """The mean of the losses."""

    params_type = Params
    params: Params

    def value(self, given: Given) -> Tensor:
        """See the module."""
        lam, phi = self.params.lam, self.params.phi
        if lam == 0:
            return given.of_steps()
        return (1 - lam) * given.of_steps() + lam * (given.outputs - phi).square().mean()


LOSS = Tet

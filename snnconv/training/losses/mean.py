"""The loss of the outputs' mean over time: the cross-entropy of a classifier.

Shape:
    Outputs ``[T, B, *out] -> []``.

Reference:
    Wu et al. 2018 (STBP) for a loss of what the network says after all its steps.

Deviations:
    The task's own loss, where theirs is a mean squared error.
"""

from torch import Tensor

from snnconv.training.losses.base import Given, Loss


class Mean(Loss):
    """The loss of the mean."""

    def value(self, given: Given) -> Tensor:
        """See the module."""
        return given.of_mean()


LOSS = Mean

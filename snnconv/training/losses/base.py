"""What a loss is: a number of a spiking network's outputs over some steps, and of its labels.

A loss builds on that of the network's task (:meth:`.Task.loss`), for example the cross-entropy of a
classifier.

Shape:
    Outputs ``[T, B, *out]``: the currents of the last layer. Labels ``[B, ...]``, or soft ones
    ``[B, classes]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnconv.core.metadata import Parameters
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.validation import parameters
from snnconv.tasks.base import Task


class LossParams(Parameters):
    """Parameters of a loss."""


@dataclass(frozen=True)
class Given:
    """What a loss is of.

    Attributes:
        task: what the outputs are for.
        outputs: ``[T, B, *out]``.
        labels: ``[B, ...]``, or soft ones ``[B, classes]``.
        smoothing: of the labels.
        teacher: the ANN's outputs ``[B, *out]``; none if the loss needs none.
        rates: of each site, the mean output of its neurons over these steps ``[B, *N]``; empty if
            the loss needs none.
        activations: of each site, the ANN's ``[B, *N]``; empty likewise.
        thresholds: of each site, to broadcast over ``[B, *N]``; empty likewise.
    """

    task: Task
    outputs: Tensor
    labels: Tensor
    smoothing: float = 0.0
    teacher: Tensor | None = None
    rates: Mapping[str, Tensor] = field(default_factory=dict)
    activations: Mapping[str, Tensor] = field(default_factory=dict)
    thresholds: Mapping[str, Tensor] = field(default_factory=dict)

    def of_mean(self) -> Tensor:
        """Return the task's loss for the outputs' mean over time."""
        return self.task.loss(self.outputs.mean(0), self.labels, self.smoothing)

    def of_steps(self) -> Tensor:
        """Return the mean of the task's losses over all steps."""
        each = [self.task.loss(output, self.labels, self.smoothing) for output in self.outputs]
        return torch.stack(each).mean()


class Loss(ABC):
    """A loss.

    Args:
        params: its parameters.

    Attributes:
        taught: whether it compares the network with its ANN.
        by_layer: whether it compares single layers, too.
        local: whether each layer learns by its own comparison alone, and the last layer by the
            outputs: no gradient passes from neurons to the layer before.
    """

    params_type: ClassVar[type[LossParams]] = LossParams
    taught: bool = False
    by_layer: bool = False
    local: bool = False

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def value(self, given: Given) -> Tensor:
        """Return the loss ``[]``."""


def _fault(found: object) -> str:
    """Say what is wrong with a loss from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Loss)):
        return f"{found!r:.40}, which is no subclass of {__name__}.Loss"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    return ""


LOSSES: Registry[type[Loss]] = replace(REGISTRIES["losses"], fault=_fault)


def named_loss(name: str, params: Mapping[str, Any]) -> Loss:
    """Return the loss that options name.

    Raises:
        UsageError: there is none of that name, or it has no such parameters.
    """
    kind = LOSSES.load(name)
    return kind(parameters(kind.params_type, params, f"loss '{name}'"))

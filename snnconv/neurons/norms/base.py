"""What a norm is: what stands in a spiking network in place of BatchNorm while it is trained.

A norm may change the network's graph (:meth:`Norm.placed`), or normalise the potentials of neurons
before they fire (:meth:`Norm.of_potentials`), or do both. In inference nothing of it is left to
compute: statistics and factors are folded into weights, weights of a step, or thresholds.

Shape:
    Potentials and currents ``[B, C, *places]``.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from snnconv.core.metadata import NormInfo, Parameters
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.validation import parameters
from snnconv.errors import UsageError
from snnconv.graph.ir import Graph
from snnconv.neurons.base import Neuron
from snnconv.neurons.norms.potentials import PotentialNorm


class NormParams(Parameters):
    """Parameters of a norm."""


class Norm(ABC):  # noqa: B024 - each method has a meaning by default
    """A norm.

    Args:
        params: its parameters.

    Attributes:
        params_type: of its parameters.
        finetunes: whether it can take the place of BatchNorm in a trained network: the network
            computes the same with it, until training changes it.
    """

    params_type: ClassVar[type[NormParams]] = NormParams
    finetunes: ClassVar[bool] = False

    def __init__(self, params: Any) -> None:
        self.params = params

    def placed(
        self,
        graph: Graph,
        tensors: Mapping[str, Tensor],
        thresholds: Mapping[str, Tensor],
        timesteps: int,
    ) -> tuple[Graph, dict[str, Tensor]]:
        """Return the network with this norm in it; by default the network itself.

        Args:
            graph: the network, with BatchNorm.
            tensors: its own.
            thresholds: theta by site, ``[]``, ``[1]`` or ``[C]``.
            timesteps: T.
        """
        return graph, dict(tensors)

    def of_potentials(self, channels: int) -> PotentialNorm | None:
        """Return what normalises the potentials of a layer of neurons; None by default.

        Args:
            channels: C of the layer.
        """
        return None


def normalise(neuron: Neuron[Any], info: NormInfo | None, channels: int) -> None:
    """Give a layer of neurons what normalises its potentials, if the norm has that.

    Raises:
        UsageError: the neurons state how they fire, or their thresholds are not those of the site.
    """
    norm = None if info is None else make_norm(info).of_potentials(channels)
    if norm is None:
        return
    if neuron.surrogate_of_its_own or neuron.adapts or neuron.by_channel:
        assert info is not None
        raise UsageError(
            f"{type(neuron).__name__} neurons can't have the norm '{info.name}'",
            "a threshold of their own that moves, or that they learn",
            "take other neurons: --neuron lif, if, lm-h",
        )
    neuron.norm = norm


def _fault(found: object) -> str:
    """Say what is wrong with a norm from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Norm)):
        return f"{found!r:.40}, which is no subclass of {__name__}.Norm"
    kind = getattr(found, "params_type", None)
    if not (isinstance(kind, type) and issubclass(kind, NormParams)):
        return f"no params_type, a subclass of {__name__}.NormParams"
    return ""


NORMS: Registry[type[Norm]] = replace(REGISTRIES["norms"], fault=_fault)


def make_norm(info: NormInfo) -> Norm:
    """Return the norm that a checkpoint names."""
    kind = NORMS.recall(info.name)
    return kind(parameters(kind.params_type, info.params, f"norm '{info.name}'"))

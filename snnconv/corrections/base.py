"""The contract of a correction: it sees calibration samples, and returns tensors to add.

A correction changes no tensor of the ANN. Its results are stored with the network, as
:mod:`snnconv.checkpoint.corrections` says, and :mod:`snnconv.simulation.corrected` adds them up.
Most corrections handle one site after the other, in the order of the graph, and see the corrected
outputs of earlier sites: :class:`SiteCorrection`.

All samples are simulated over all steps. If memory does not hold that, sites are corrected one by
one: some samples after the other are simulated up to the site, and what reaches it is put together.
A correction sees all samples of a site either way, and sums over them are taken in float64, so
what is found does not depend on the division.

Shape:
    Currents and values ``[T, N, *N]`` of N samples, the ANN's activations ``[N, *N]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part, Place
from snnconv.core.metadata import CorrectionInfo, Parameters
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.corrections._sites import (
    Samples,
    Site,
    ann_values,
    channel_means,
    held,
    reached,
    walk_sites,
)
from snnconv.errors import UsageError
from snnconv.simulation.network import SpikingNetwork

__all__ = [
    "CORRECTIONS",
    "Correction",
    "Samples",
    "Site",
    "SiteCorrection",
    "ann_values",
    "channel_means",
    "corrected",
    "mean_errors",
    "refuse_waiting",
    "so_far",
    "walk_sites",
]


class Correction(ABC):
    """A way to correct converted networks.

    Args:
        params: the method's parameters.

    Attributes:
        params_type: their class.
        of_one_timesteps: whether the result holds only for the T at which it was found.
        trains: whether it takes many gradient steps, so that a search leaves it out unless it is
            named.
    """

    params_type: ClassVar[type[Parameters]]
    of_one_timesteps: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    def __init__(self, params: Any) -> None:
        self.params = params

    def refuse(self, checkpoint: Checkpoint, network: SpikingNetwork) -> None:
        """Refuse a network that this can't correct, before data are read.

        Raises:
            UsageError: names the part of the network that prevents a correction.
        """

    def held(self, network: SpikingNetwork, timesteps: int) -> int | None:
        """Return how many numbers are held of each sample, if samples are simulated one by one.

        None says that the samples must all be simulated at once.
        """
        return None

    @abstractmethod
    def fit(
        self, checkpoint: Checkpoint, samples: Samples, advance: Callable[[int], None]
    ) -> dict[tuple[Part, str], Tensor]:
        """Return the tensors to add to a network, by part and by name of the site or tensor.

        Args:
            checkpoint: converted, perhaps with corrections.
            samples: the samples to measure on; there are no labels.
            advance: called when sites are done.
        """


class SiteCorrection(Correction):
    """A correction of one site after the other."""

    @abstractmethod
    def at(self, site: Site) -> Mapping[Part, Tensor]:
        """Return the tensors to add at a site, by part."""

    def held(self, network: SpikingNetwork, timesteps: int) -> int | None:
        """Return what reaches the largest site."""
        return max(held(network, site, timesteps) for site in network.analysis.graph.sites)

    def fit(
        self, checkpoint: Checkpoint, samples: Samples, advance: Callable[[int], None]
    ) -> dict[tuple[Part, str], Tensor]:
        """Correct all sites in one simulation if memory holds it, each when its currents arrive."""
        found: dict[tuple[Part, str], Tensor] = {}

        def corrects(site: Site) -> Mapping[Part, Tensor]:
            parts = {part: tensor.float().cpu() for part, tensor in self.at(site).items()}
            found.update({(part, site.name): tensor for part, tensor in parts.items()})
            advance(1)
            return parts

        if samples.divided:
            for place in checkpoint.graph.sites:
                corrects(reached(so_far(checkpoint, found), samples, place.name)[0])
        else:
            walk_sites(checkpoint, samples, lambda site: site.values(corrects(site)))
        return found


def mean_errors(checkpoint: Checkpoint, samples: Samples) -> dict[str, float]:
    """Return each site's largest difference of a channel's mean output from the ANN's mean.

    In units of the ANN's activation, over all samples, places and steps.
    """
    errors: dict[str, Tensor] = {}
    for part in samples.parts():
        share = len(part.indices) / len(samples.indices)

        def settle(site: Site, share: float = share) -> Tensor:
            values = site.values({})
            mean = channel_means(values.sum(0) / site.timesteps)
            error = share * (mean - channel_means(site.ann))
            errors[site.name] = errors.get(site.name, 0) + error
            return values

        walk_sites(checkpoint, part, settle)
    return {name: float(error.abs().max()) for name, error in errors.items()}


def so_far(checkpoint: Checkpoint, found: Mapping[tuple[Part, str], Tensor]) -> Checkpoint:
    """Return the checkpoint with what has been found of a correction until now."""
    T = checkpoint.conversion.timesteps
    made = CorrectionInfo(method="unfinished", params={}, samples=1, timesteps=T)
    return corrected(checkpoint, found, made)


def corrected(
    checkpoint: Checkpoint, found: Mapping[tuple[Part, str], Tensor], made: CorrectionInfo
) -> Checkpoint:
    """Return the checkpoint with a correction after those that it has."""
    number = len(checkpoint.corrected) + 1
    tensors = {Place(number, *where).key: tensor for where, tensor in found.items()}
    return replace(
        checkpoint,
        kind="corrected",
        corrected=(*checkpoint.corrected, made),
        corrections=checkpoint.corrections | tensors,
    )


def refuse_waiting(checkpoint: Checkpoint, network: SpikingNetwork, why: str) -> None:
    """Refuse neurons that need all steps at once.

    Raises:
        UsageError: the network has neurons that this method refuses.
    """
    if not network.causal:
        raise UsageError(
            f"{checkpoint.conversion.neuron} neurons can't be corrected by this method",
            why,
            "take another correction, for example --method bias, or other neurons: snnconv convert",
        )


def _fault(found: object) -> str:
    """Return what is wrong with a correction from outside the package; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Correction)):
        return f"{found!r:.40}, which is no subclass of snnconv.corrections.base.Correction"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    kind = getattr(found, "params_type", None)
    if not (isinstance(kind, type) and issubclass(kind, Parameters)):
        return "no params_type, a subclass of snnconv.core.metadata.Parameters"
    return ""


CORRECTIONS: Registry[type[Correction]] = replace(REGISTRIES["corrections"], fault=_fault)

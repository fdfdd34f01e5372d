"""The contract of a correction: it sees calibration samples, and returns tensors to add.

A correction changes no tensor of the ANN. Its results are stored with the network, as
:mod:`snnconv.checkpoint.corrections` says, and :mod:`snnconv.simulation.corrected` adds them up.
Most corrections handle one site after the other, in the order of the graph, and see the corrected
outputs of earlier sites: :class:`SiteCorrection`.

All samples are simulated at once, over all steps, so nothing depends on a batch; sums over samples
are taken in float64.

Shape:
    Currents and values ``[T, N, *N]`` of N samples, the ANN's activations ``[N, *N]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part, Place
from snnconv.config.base import Engine
from snnconv.core.metadata import CorrectionInfo, Parameters
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.data.frames import mean_frame
from snnconv.engine.dispatch import fire
from snnconv.engine.layer_output import Wants
from snnconv.errors import UsageError
from snnconv.graph.fold import fold
from snnconv.graph.network import Network, ann_inputs
from snnconv.neurons.base import Neuron, Spikes
from snnconv.simulation.build import spiking_network
from snnconv.simulation.corrected import Added
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate


@dataclass(frozen=True)
class Samples:
    """Calibration samples, and how they are simulated.

    Attributes:
        x: the frames that are shown in turn, ``[f, N, *input]``.
        indices: the places of the samples in their split, ``[N]``.
        engine: where simulations go by events.
        seed: the seed of the random numbers of a correction.
    """

    x: Tensor
    indices: Tensor
    engine: Engine = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Site:
    """One site while it is being corrected; earlier sites are already corrected.

    Attributes:
        name: the name of the site.
        neuron: the neurons at the site.
        ann_input: the ANN's pre-activation ``[N, *N]``.
        ann: the ANN's activation ``[N, *N]``.
        currents: before this site's corrections, ``[T, N, *N]``, or ``[1, N, *N]`` if they do not
            change over time.
        keep: the mask of spike confidence, ``[T, N, *N]``.
        timesteps: T.
        before: the tensors that earlier corrections add here.
    """

    name: str
    neuron: Neuron[Any]
    ann_input: Tensor
    ann: Tensor
    currents: Tensor
    keep: Tensor | None
    timesteps: int
    before: Added

    def values(self, found: Mapping[Part, Tensor]) -> Tensor:
        """The output of the neurons with these tensors added, ``[T, N, *N]``."""
        added = self.before.plus(found)
        given = added.to_currents(self.currents, 0, self.timesteps)
        given = given.expand(self.timesteps, *given.shape[1:])
        state = added.initial(self.neuron, given)
        output, _ = fire(self.neuron, given, state, self.keep, Wants(counts=False))
        return added.to_output(output).values_or_mean

    def output(self, found: Mapping[Part, Tensor]) -> Tensor:
        """The mean output over time with these tensors added, ``[N, *N]``."""
        return self.values(found).sum(0) / self.timesteps

    def step(self, t: int, state: Any, found: Mapping[Part, Tensor]) -> tuple[Tensor, Any]:
        """The output of one step with these tensors added ``[1, N, *N]``, and the state after it.

        Args:
            t: the step, from 0.
            state: the state after the previous step; none before the first.
            found: the added tensors, for all steps.
        """
        added = self.before.plus(found)
        given = self.currents[min(t, len(self.currents) - 1)][None]
        given = added.to_currents(given, t, 1)
        keep = None if self.keep is None else self.keep[t : t + 1]
        state = added.initial(self.neuron, given) if state is None else state
        output, after = fire(self.neuron, given, state, keep, Wants(counts=False))
        return added.to_output(output).values_or_mean, after

    def of(self, chosen: Tensor) -> "Site":
        """The site with some of the samples, given by their indices ``[n]``."""
        return replace(
            self,
            ann_input=self.ann_input[chosen],
            ann=self.ann[chosen],
            currents=self.currents[:, chosen],
            keep=None if self.keep is None else self.keep[:, chosen],
        )

    @cached_property
    def spike(self) -> Tensor:
        """What a single spike adds to a channel's mean output over time, ``[1 or C]``."""
        carried = self.neuron.amplitude()
        carried = self.neuron.threshold if carried is None else carried
        places = self.ann.numel() // self.ann.shape[1]
        return carried.reshape(-1) / (places * self.timesteps)


def channel_means(values: Tensor) -> Tensor:
    """The mean of each channel over samples and places, ``[N, C, *places] -> [C]`` float64."""
    rest = [dim for dim in range(values.dim()) if dim != 1]
    return values.sum(rest, dtype=torch.float64) / (values.numel() // values.shape[1])


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

    def fit(
        self, checkpoint: Checkpoint, samples: Samples, advance: Callable[[int], None]
    ) -> dict[tuple[Part, str], Tensor]:
        """Correct all sites in one simulation, each when its currents have arrived."""
        found: dict[tuple[Part, str], Tensor] = {}

        def settle(site: Site) -> Tensor:
            parts = {part: tensor.float().cpu() for part, tensor in self.at(site).items()}
            found.update({(part, site.name): tensor for part, tensor in parts.items()})
            advance(1)
            return site.values(parts)

        walk_sites(checkpoint, samples, settle)
        return found


@torch.no_grad()
def walk_sites(checkpoint: Checkpoint, samples: Samples, settle: Callable[[Site], Tensor]) -> None:
    """Simulate the samples, with outputs of sites that the caller gives.

    Args:
        checkpoint: converted, perhaps with corrections.
        samples: all samples at once.
        settle: gets each site in the order of the graph, and gives its output ``[T, N, *N]``.
    """
    network = spiking_network(checkpoint, engine=samples.engine).to(samples.x.device).eval()
    info = checkpoint.spiking
    assert info is not None
    inputs, outputs = ann_values(checkpoint, samples)
    before = network.added

    def at(name: str, neuron: Neuron[Any]) -> "_Settled":
        def site(currents: Tensor, keep: Tensor | None) -> Site:
            given = currents[:1] if currents.stride(0) == 0 else currents
            known = inputs.pop(name), outputs.pop(name)
            return Site(name, neuron, *known, given, keep, info.timesteps, before[name])

        return _Settled(neuron, lambda currents, keep: settle(site(currents, keep)))

    settled = SpikingNetwork(
        network.network,
        {name: at(name, neuron) for name, neuron in network.neurons.items()},
        info.seed,
        info.confidence,
        network.hold,
        samples.engine,
    ).eval()
    simulate(settled, samples.x, samples.indices, info.timesteps, info.timesteps)


class _Settled(Neuron[Any]):
    """Neurons whose output the caller gives, all steps at once."""

    causal = False

    def __init__(
        self, neuron: Neuron[Any], give: Callable[[Tensor, Tensor | None], Tensor]
    ) -> None:
        super().__init__(neuron.params, neuron.threshold, neuron.timesteps)
        self.levels, self.draws = neuron.levels, neuron.draws
        self._averages = neuron.averages()
        self._give = give

    def initial(self, sample: Tensor) -> None:
        """No state: the neurons that it replaces have their own."""

    def averages(self) -> bool:
        """As for the neurons that it replaces."""
        return self._averages

    def run(self, currents: Tensor, state: Any, keep: Tensor | None) -> tuple[Spikes, None]:
        """Run all steps."""
        values = self._give(currents, keep)
        return Spikes(values, values), None  # counts are not needed


@torch.no_grad()
def ann_values(
    checkpoint: Checkpoint, samples: Samples
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The ANN's pre-activations and activations by site, ``[N, *N]``."""
    ann = Network(*fold(checkpoint.graph, checkpoint.network)).laid_out()
    ann = ann.to(samples.x.device).eval()
    _, inputs = ann_inputs(ann, mean_frame(samples.x))
    outputs = {site.name: ann.compute(site, [inputs[site.name]]) for site in ann.graph.sites}
    return inputs, outputs


def mean_errors(checkpoint: Checkpoint, samples: Samples) -> dict[str, float]:
    """By site, the largest difference of a channel's mean output from the ANN's mean activation.

    In units of the ANN's activation, over all samples, places and steps.
    """
    errors: dict[str, float] = {}

    def settle(site: Site) -> Tensor:
        values = site.values({})
        mean = channel_means(values.sum(0) / site.timesteps)
        errors[site.name] = float((mean - channel_means(site.ann)).abs().max())
        return values

    walk_sites(checkpoint, samples, settle)
    return errors


def corrected(
    checkpoint: Checkpoint, found: Mapping[tuple[Part, str], Tensor], made: CorrectionInfo
) -> Checkpoint:
    """The checkpoint with a correction after those that it has."""
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
        assert checkpoint.spiking is not None
        raise UsageError(
            f"{checkpoint.spiking.neuron} neurons can't be corrected by this method",
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

"""Sites of a network that is being corrected, and the samples that are simulated up to them.

Shape:
    Currents and values ``[T, N, *N]`` of N samples, the ANN's activations ``[N, *N]``.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint.contents import Checkpoint
from snnconv.checkpoint.corrections import Part
from snnconv.config.base import Engine
from snnconv.data.frames import mean_frame
from snnconv.engine.dispatch import fire
from snnconv.engine.layer_output import Wants
from snnconv.graph.fold import fold
from snnconv.graph.ir import Node
from snnconv.graph.network import Network, ann_inputs
from snnconv.graph.signals import Signal
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
        at_once: how many of them memory holds in a simulation; 0 for all.
    """

    x: Tensor
    indices: Tensor
    engine: Engine = "auto"
    seed: int = 0
    at_once: int = 0

    @property
    def divided(self) -> bool:
        """Whether memory does not hold a simulation of all of them."""
        return 0 < self.at_once < len(self.indices)

    def parts(self) -> Iterator["Samples"]:
        """Yield the samples, as many at a time as memory holds."""
        size = self.at_once or len(self.indices)
        for x, indices in zip(self.x.split(size, 1), self.indices.split(size), strict=True):
            yield replace(self, x=x, indices=indices)


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
        at_once: of how many samples memory holds what the neurons put out at all steps; 0 for all.
    """

    name: str
    neuron: Neuron[Any]
    ann_input: Tensor
    ann: Tensor
    currents: Tensor
    keep: Tensor | None
    timesteps: int
    before: Added
    at_once: int = 0

    def values(self, found: Mapping[Part, Tensor]) -> Tensor:
        """Return the output of the neurons with these tensors added, ``[T, N, *N]``."""
        added = self.before.plus(found)
        given = added.to_currents(self.currents, 0, self.timesteps)
        given = given.expand(self.timesteps, *given.shape[1:])
        state = added.initial(self.neuron, given)
        output, _ = fire(self.neuron, given, state, self.keep, Wants(counts=False))
        return added.to_output(output).values_or_mean

    def output(self, found: Mapping[Part, Tensor]) -> Tensor:
        """Return the mean output over time with these tensors added, ``[N, *N]``."""
        return self._by_parts(lambda part: part.values(found).sum(0) / part.timesteps)

    def mean_current(self) -> Tensor:
        """Return the mean current over time, with what earlier corrections add, ``[N, *N]``."""
        return self._by_parts(
            lambda part: part.before.to_currents(part.currents, 0, part.timesteps).mean(0)
        )

    def _by_parts(self, compute: Callable[["Site"], Tensor]) -> Tensor:
        """Compute something for all samples ``[N, ...]``, for as many at a time as memory holds."""
        count = len(self.ann)
        if not 0 < self.at_once < count:
            return compute(self)
        found = Joined(count, 0)
        for start in range(0, count, self.at_once):
            found.add(compute(self.of(slice(start, start + self.at_once))))
        assert found.whole is not None
        return found.whole

    def step(self, t: int, state: Any, found: Mapping[Part, Tensor]) -> tuple[Tensor, Any]:
        """Return a step's output ``[1, N, *N]`` with these tensors added, and the state after it.

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

    def of(self, chosen: Tensor | slice) -> "Site":
        """Return the site with some of the samples, given by their indices ``[n]``."""
        return replace(
            self,
            at_once=0,
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


class Joined:
    """A tensor of all samples that comes in parts, laid out in memory as the first of them is.

    Args:
        count: samples.
        axis: of the samples.

    Attributes:
        whole: the tensor; none if the parts are none.
    """

    def __init__(self, count: int, axis: int) -> None:
        self._count, self._axis, self._done = count, axis, 0
        self.whole: Tensor | None = None

    def add(self, part: Tensor | None) -> None:
        """Put in the samples that come next."""
        if part is None:
            return
        if part.shape[self._axis] == self._count:
            self.whole = part
            return
        if self.whole is None:
            shape = [*part.shape]
            shape[self._axis] = self._count
            order = sorted(range(part.dim()), key=part.stride, reverse=True)
            self.whole = torch.empty_permuted(shape, order, dtype=part.dtype, device=part.device)
        size = part.shape[self._axis]
        self.whole.narrow(self._axis, self._done, size).copy_(part)
        self._done += size


def channel_means(values: Tensor) -> Tensor:
    """Average each channel over samples and places, ``[N, C, *places] -> [C]`` float64."""
    rest = [dim for dim in range(values.dim()) if dim != 1]
    return values.sum(rest, dtype=torch.float64) / (values.numel() // values.shape[1])


@torch.no_grad()
def walk_sites(checkpoint: Checkpoint, samples: Samples, settle: Callable[[Site], Tensor]) -> None:
    """Simulate the samples, with outputs of sites that the caller gives.

    Args:
        checkpoint: converted, perhaps with corrections.
        samples: all at once, however many memory holds.
        settle: gets each site in the order of the graph, and gives its output ``[T, N, *N]``.
    """
    network = spiking_network(checkpoint, engine=samples.engine).to(samples.x.device).eval()
    info = checkpoint.conversion
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


_OF_A_STEP = 16
"""For each neuron: the ANN's values, means, their sums in 64 bits, and what one step puts out."""


def held(network: SpikingNetwork, site: Node, timesteps: int) -> int:
    """Return how many numbers are held of each sample while a site is corrected.

    Args:
        network: that is corrected.
        site: one of its sites.
        timesteps: T.
    """
    signals, shapes = network.analysis.signals, network.analysis.shapes
    steps = 1 if signals[site.inputs[0]] is Signal.CONSTANT else timesteps
    drawn = timesteps if network.confidence is not None or network.draws else 0
    return (steps + drawn + _OF_A_STEP) * math.prod(shapes[site.name])


class _Reached(Exception):  # noqa: N818 - no error: what is behind the site is not asked for
    """A simulation has come to the site that is looked for."""


def reached(
    checkpoint: Checkpoint,
    samples: Samples,
    name: str,
    sources: Collection[str] = (),
    kept: Callable[[Tensor], Tensor] = lambda values: values,
) -> tuple[Site, dict[str, Tensor]]:
    """Return a site with all samples; memory decides how many are simulated up to it at a time.

    Args:
        checkpoint: converted, perhaps with corrections.
        samples: calibration samples.
        name: the site's.
        sources: sites before it whose outputs are wanted, too.
        kept: what of an output ``[T, n, *N]`` is wanted, ``[t, n, *N]``.
    """
    count, last = len(samples.indices), list[Site]()
    outputs = {source: Joined(count, 1) for source in sources}
    parts = {"ann_input": Joined(count, 0), "ann": Joined(count, 0)}
    parts |= {"currents": Joined(count, 1), "keep": Joined(count, 1)}

    def settle(site: Site) -> Tensor:
        if site.name == name:
            for field, joined in parts.items():
                joined.add(getattr(site, field))
            last[:] = [site]
            raise _Reached
        values = site.values({})
        if site.name in outputs:
            outputs[site.name].add(kept(values))
        return values

    for each in samples.parts():
        with suppress(_Reached):
            walk_sites(checkpoint, each, settle)
    whole: dict[str, Any] = {field: joined.whole for field, joined in parts.items()}
    site = replace(last[0], at_once=samples.at_once, **whole)
    return site, {name: each.whole for name, each in outputs.items() if each.whole is not None}


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
        """Return an empty state: the neurons that it replaces have their own."""

    def averages(self) -> bool:
        """Return what the neurons that it replaces return."""
        return self._averages

    def run(self, currents: Tensor, state: Any, keep: Tensor | None) -> tuple[Spikes, None]:
        """Run all steps."""
        values = self._give(currents, keep)
        return Spikes(values, values), None  # counts are not needed


@torch.no_grad()
def ann_values(
    checkpoint: Checkpoint, samples: Samples
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the ANN's pre-activations and activations by site, ``[N, *N]``."""
    ann = Network(*fold(checkpoint.graph, checkpoint.network)).laid_out()
    ann = ann.to(samples.x.device).eval()
    _, inputs = ann_inputs(ann, mean_frame(samples.x))
    outputs = {site.name: ann.compute(site, [inputs[site.name]]) for site in ann.graph.sites}
    return inputs, outputs

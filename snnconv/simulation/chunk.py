"""One call of a spiking network: how nodes are computed, and what observers see.

A max pooling emits spikes, and operations are counted by their *level*. The pooling takes the
running number of spikes at each place, as it takes their running sum, and the level of an emission
is the increase of the largest number. So spikes of one amplitude keep their level, and the levels
of all steps together do not depend on how spikes are spread over steps.

Shape:
    The network: ``[f, B, *input] -> [T, B, classes]``.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from snnconv.core.shapes import fold_time, per_neuron, unfold_time
from snnconv.engine.layer_output import LayerOutput, ObserverNeeds, Wants
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.ops import OPS, Role
from snnconv.simulation.cumulative import Compute, Sums

Observer = Callable[[str, int, LayerOutput], None]
"""Called with ``(node name, steps done before, output)`` of every source of spikes."""


Emitted = Callable[[Compute, Tensor, Tensor | None, int, Sums | None], tuple[Tensor, Sums]]
"""The levels that a max pooling emits, see :class:`Levels`."""


class State(NamedTuple):
    """The state between two chunks: steps done, each node's state, and the numbers of spikes."""

    steps: int = 0
    nodes: Mapping[str, Any] = {}
    levels: Mapping[str, Sums] = {}


class Levels:
    """The levels that max poolings emit in one call of a network.

    Args:
        analysis: the analysis of the network.
        pools: the max poolings of spikes, if their levels are needed.
        amplitudes: what every spike of a site carries; None if its spikes differ.
        emitted: gives the levels that a max pooling emits under the network's coding; see
            :meth:`snnconv.simulation.codings.base.Coding.emitted`.
        state: the state before the call, with the sums of spike numbers of each max pooling.

    Attributes:
        after: these sums after this call.
        sites: the sites whose numbers of spikes are needed.
    """

    def __init__(
        self,
        analysis: Analysis,
        pools: Set[str],
        amplitudes: Mapping[str, Tensor | None],
        emitted: Emitted,
        state: State,
    ) -> None:
        self.pools = pools
        self._emitted = emitted
        self.after: dict[str, Sums] = {}
        self._done, self._before = state.steps, state.levels
        self._units = dict(amplitudes)
        for node in analysis.graph.nodes:
            if node.name in pools:  # its window is in one channel of one site
                self._units[node.name] = self._units.get(node.inputs[0])
        varying = {name for name, amplitude in amplitudes.items() if amplitude is None}
        self._varying = {
            name for name in pools if not varying.isdisjoint(analysis.sites_behind[name])
        }
        numbered = {name for name in pools if self._units[name] is None}
        self._readers = analysis.on_the_way_to(numbered)
        self.sites = amplitudes.keys() & self._readers.keys()
        self._numbers: dict[str, Tensor] = {}

    def fired(self, name: str, counts: Tensor) -> None:
        """Note the spikes of a site, ``[T, B, *N]``."""
        if name in self._readers:
            self._numbers[name] = counts

    def passed(self, node: Node) -> None:
        """Pass the numbers of spikes through wiring, where sums and averages add them up."""
        if node.name in self._readers and OPS[node.op].role is Role.LINEAR:
            numbers = self._taken(node)
            reached = OPS[node.op].wire(node.attrs, {}, [fold_time(value) for value in numbers])
            self._numbers[node.name] = unfold_time(reached, len(numbers[0]))

    def pooled(self, compute: Compute, node: Node, increase: Tensor) -> Tensor:
        """Return the levels that a max pooling emits."""
        if (unit := self._units[node.name]) is not None:
            levels = (increase / per_neuron(unit, increase.dim() - 1)).round_()
        else:
            (numbers,) = self._taken(node)
            varying = increase if node.name in self._varying else None
            before = self._before.get(node.name)
            found = self._emitted(compute, numbers, varying, self._done, before)
            levels, self.after[node.name] = found
        self.fired(node.name, levels)
        return levels

    def _taken(self, node: Node) -> Sequence[Tensor]:
        found = [self._numbers[name] for name in node.inputs]
        for name in set(node.inputs):
            if self._readers[name] == node.name:
                del self._numbers[name]
        return found


@dataclass(frozen=True)
class Chunk:
    """One call of a network: how its nodes are computed, and the state after it.

    Attributes:
        timesteps: the steps of the call.
        state: the state before it.
        observe: the observer, if there is one.
        needs: what the observer needs.
        mean_sites: the sites that give their mean over time.
        once: the nodes whose values do not change over time.
        by_events: the convolutions that wait until neurons ask for their currents.
        packed: the sites that give bits.
        levels: the levels that max poolings emit.
        nodes: the state of each node after the call.
    """

    timesteps: int
    state: State
    observe: Observer | None
    needs: ObserverNeeds
    mean_sites: frozenset[str]
    once: frozenset[str]
    by_events: frozenset[str]
    packed: frozenset[str]
    levels: Levels
    nodes: dict[str, Any] = field(default_factory=dict)

    def before(self, node: Node) -> Any:
        """Return a node's state before the call; None at the first call."""
        return self.state.nodes.get(node.name)

    def wants(self, site: Node) -> Wants:
        """Return what the call needs of a site's spikes."""
        return Wants(
            counts=self.needs.counts or site.name in self.levels.sites,
            sums=self.needs.sums.get(site.name),
            mean=site.name in self.mean_sites,
            packed=site.name in self.packed,
            membrane=site.name in self.needs.membranes,
        )

    def fired(self, site: Node, output: LayerOutput) -> None:
        """Show a site's output to the observer and to the max poolings behind it."""
        if self.observe is not None:
            self.observe(site.name, self.state.steps, output)
        if site.name in self.levels.sites:
            assert output.counts is not None
            self.levels.fired(site.name, output.counts)

    def recomputed(self, function: Node, shares: Tensor) -> None:
        """Show the observer the share of a function's work that is recomputed, ``[T, B]``."""
        if self.observe is not None:
            self.observe(function.name, self.state.steps, LayerOutput(recomputed=shares))

    def after(self) -> State:
        """Return the state after the call."""
        return State(self.state.steps + self.timesteps, self.nodes, self.levels.after)

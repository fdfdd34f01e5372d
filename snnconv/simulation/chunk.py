"""One call of a spiking network, and what it leaves behind.

Shape:
    Of the network: ``[f, B, *input] -> [T, B, classes]``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from snnconv.engine.layer_output import LayerOutput, ObserverNeeds, Wants
from snnconv.graph.ir import Node
from snnconv.simulation.cumulative import Levels, Sums

Observer = Callable[[str, int, LayerOutput], None]
"""Sees ``(node name, steps done before, what the node gives)`` of every source."""


@dataclass(frozen=True)
class State:
    """A simulation between two chunks: steps done, each node's own state, and spikes by number."""

    steps: int = 0
    nodes: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, Sums] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """One call of a network: how its nodes are computed, and what it leaves behind.

    Attributes:
        timesteps: of the call.
        state: before it.
        observe: the observer, if there is one.
        needs: the observer's.
        mean_sites: the sites that give their mean over time.
        once: the nodes whose values do not change over time.
        by_events: the convolutions that wait until neurons ask for their currents.
        packed: the sites that give bits.
        levels: what max poolings emit.
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
        """A node's state before the call; None at the first."""
        return self.state.nodes.get(node.name)

    def wants(self, site: Node) -> Wants:
        """Return what observers need to know about a site's spikes."""
        return Wants(
            counts=self.needs.counts or site.name in self.levels.sites,
            sums=self.needs.sums.get(site.name),
            mean=site.name in self.mean_sites,
            packed=site.name in self.packed,
            membrane=site.name in self.needs.membranes,
        )

    def fired(self, site: Node, output: LayerOutput) -> None:
        """Show a site's output to those who want to see it."""
        if self.observe is not None:
            self.observe(site.name, self.state.steps, output)
        if site.name in self.levels.sites:
            assert output.counts is not None
            self.levels.fired(site.name, output.counts)

    def redone(self, function: Node, shares: Tensor) -> None:
        """Show how much of a function is computed anew, ``[T, B]``."""
        if self.observe is not None:
            self.observe(function.name, self.state.steps, LayerOutput(redone=shares))

    def after(self) -> State:
        """The state after the call."""
        return State(self.state.steps + self.timesteps, self.nodes, self.levels.after)

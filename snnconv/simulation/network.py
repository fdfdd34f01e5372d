"""A network with neurons at its sites: the same graph, the same weights, run over time.

Operations that are linear in their input keep the mean over time and run on the merged ``T*B``
axis. Others take the cumulative rule (:mod:`snnconv.simulation.cumulative`). Functions that no
neuron stands
for are computed by it outside the spiking domain, and count as MACs.

Under a constant input, what no neuron has touched does not change over time: it has ``T = 1`` and
is computed once. So has what lies between neurons whose spikes are wanted in the mean only: before
LM-HT neurons whose Omega is uniform, the mean is taken of spikes instead of currents. An input of
frames is shown a frame a step (:mod:`snnconv.data.frames`).

Shape:
    ``[f, B, *input] -> [T, B, classes]``: the last layer's currents at each step.

Reference:
    Methods: rate-preserving rule.

Deviations:
    None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from snnconv.core.metadata import ConfidenceInfo
from snnconv.core.shapes import fold_time, unfold_time
from snnconv.data.frames import frames_shown
from snnconv.engine.dispatch import fire
from snnconv.engine.event_conv import plan
from snnconv.engine.event_conv.bit_plan import of_bits, packing
from snnconv.engine.event_conv.bit_spikes import Packed, unpacked
from snnconv.engine.event_conv.deferred import Pending, added, waiting
from snnconv.engine.event_conv.sparsity import Active, assumed, of_inputs
from snnconv.engine.layer_output import EVERYTHING, NOTHING, LayerOutput, ObserverNeeds, Wants
from snnconv.graph.ir import Node
from snnconv.graph.network import Network, shapes, walk
from snnconv.graph.ops import OPS, Role
from snnconv.graph.roles import Carries, averaged, carried, cumulative, sources, still
from snnconv.neurons.base import Neuron
from snnconv.neurons.confidence import keep_mask
from snnconv.simulation.cumulative import Levels, Sums, function, pool

Value = Tensor | Packed | Pending
"""Of a node, at all steps: as float32, as bits, or when it is asked for."""

Observer = Callable[[str, int, LayerOutput], None]
"""Sees ``(node name, steps done before, what the node gives)`` of every source."""


@dataclass(frozen=True)
class State:
    """A simulation between two chunks: steps done, each node's own state, and spikes by number."""

    steps: int = 0
    nodes: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, Sums] = field(default_factory=dict)


class SpikingNetwork(nn.Module):
    """Weights, and neurons that have learned parameters or thresholds.

    Args:
        network: the ANN.
        neurons: by site name, one for each site.
        seed: of everything random.
        confidence: spike confidence, if it acts.
        hold: steps for which each frame of the input is shown; none where it is constant.
        engine: where to go by events.
        rates: how many neurons are expected to spike at a step, by site, where known.
    """

    def __init__(
        self,
        network: Network,
        neurons: Mapping[str, Neuron[Any]],
        seed: int,
        confidence: ConfidenceInfo | None,
        hold: int | None = None,
        engine: plan.Engine = "auto",
        rates: Mapping[str, Active] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        for site in network.graph.sites:  # neurons stand there: thetas of QCFS learn no more
            for name in site.tensors.values():
                network.tensor(name).requires_grad_(False)
        self.hold = hold
        self._source = source = Carries.CONSTANT if hold is None else Carries.FRAMES
        self._carried = carried(network.graph, source)
        self._emitters = {node.name for node in sources(network.graph)}
        self._cumulative = {node.name for node in cumulative(network.graph, source)}
        # a module's attribute name may hold no dot, so neurons are numbered
        self._sites = tuple(neurons)
        self._neurons = nn.ModuleList(neurons.values())
        self.seed = seed
        self.confidence = confidence
        self.engine = engine
        self._calibrated = set(neurons) <= set(rates or {})
        sites = {name: assumed(n.levels) for name, n in neurons.items()} | dict(rates or {})
        self.active = of_inputs(network, self._carried, sites)
        self._waiting = waiting(network.graph, shapes(network.graph, network.tensors()))
        self._layouts = plan.Layouts()

    def paths(self, learns: bool = False) -> dict[str, plan.Path]:
        """Which way each layer with weights goes in inference, or in training."""
        with torch.set_grad_enabled(learns):
            _, once = self._means()
            return plan.paths(self.network, self._carried, self.active, self._way(), once)

    def _way(self) -> plan.Engine:
        """Where to go by events: in training, not by rates that nobody has seen."""
        guessed = torch.is_grad_enabled() and not self._calibrated
        return "dense" if guessed and self.engine == "auto" else self.engine

    @property
    def neurons(self) -> dict[str, Neuron[Any]]:
        """The neurons by site name."""
        return dict(zip(self._sites, cast("list[Neuron[Any]]", list(self._neurons)), strict=True))

    @property
    def levels(self) -> int:
        """The most spikes of one neuron at one step."""
        return max(neuron.levels for neuron in self.neurons.values())

    @property
    def signed(self) -> bool:
        """Whether spikes may be negative."""
        return any(neuron.signed for neuron in self.neurons.values())

    @property
    def causal(self) -> bool:
        """Whether a simulation may come in chunks."""
        return all(neuron.causal for neuron in self.neurons.values())

    def answers(self, timesteps: int) -> tuple[int, ...]:
        """The steps, from 1, after which the class can be read; T always is one.

        Before them some neuron's output hangs on currents that are still to come.
        """
        final = torch.ones(timesteps, dtype=torch.bool)
        for neuron in self.neurons.values():
            final &= neuron.answers(timesteps)
        return tuple(int(t) + 1 for t in final.nonzero().flatten())

    def forward(
        self,
        x: Tensor,
        timesteps: int,
        samples: Tensor,
        state: State | None = None,
        observe: Observer | None = None,
        needs: ObserverNeeds = EVERYTHING,
    ) -> tuple[Tensor, State]:
        """The next ``timesteps`` steps.

        Args:
            x: the frames to show in turn, ``[f, B, *input]``; one where the input is constant.
            timesteps: how many steps.
            samples: which samples these are, ``[B]``: what randomness hangs on.
            state: as the call before gave it.
            observe: called with the spikes of every source.
            needs: what it needs of them.

        Returns:
            Currents of the last layer ``[timesteps, B, classes]``, and the state after them.

        Raises:
            ValueError: several frames for a network of constant input.
        """
        state = state or State()
        if self.hold is not None:
            x = frames_shown(x, state.steps, timesteps, self.hold)
        elif len(x) != 1:
            raise ValueError(f"{len(x)} frames, and the network was made for constant input")
        nodes: dict[str, Any] = {}
        averages, once = self._means()
        needs = NOTHING if observe is None else needs
        pending = self._by_events(once)
        packed = frozenset() if needs.values else packing(self.network.graph, *pending)
        levels = self._levels(needs, state)

        def evaluate(node: Node, inputs: list[Value]) -> Value:
            if OPS[node.op].role is Role.SITE:
                wants = Wants(
                    counts=needs.counts or node.name in levels.sites,
                    sums=needs.sums.get(node.name),
                    mean=node.name in averages,
                    packed=node.name in packed,
                )
                currents = inputs[0] if isinstance(inputs[0], Pending) else unpacked(inputs[0])
                output, nodes[node.name] = self._fire(
                    node.name, currents, timesteps, samples, state, wants
                )
                if observe is not None:
                    observe(node.name, state.steps, output)
                if node.name in levels.sites:
                    assert output.counts is not None
                    levels.fired(node.name, output.counts)
                return output.carried
            levels.passed(node)
            if any(isinstance(value, Pending) for value in inputs):
                return added(inputs)
            ready = cast("list[Tensor | Packed]", inputs)
            if node.name in pending[1]:
                return Pending(self._layouts.of(self.network, node, ready[0]), ready[0])
            if (made := of_bits(node, ready)) is not None:
                return made
            given = [unpacked(value) for value in ready]
            if node.name in self._cumulative:
                before = state.nodes.get(node.name)
                if OPS[node.op].role is Role.ANALOG:
                    found, nodes[node.name] = function(
                        self._merged, node, given, state.steps, before
                    )
                    return found
                found, nodes[node.name] = pool(self._merged, node, given[0], before)
                if observe is not None and node.name in self._emitters:
                    output = self._emitted(node, found, levels, needs)
                    observe(node.name, state.steps, output)
                return found
            active = None if node.name in once else self.active[node.name]
            return self._merged(node, given, active)

        currents = cast("Tensor", walk(self.network.graph, cast("Value", x), evaluate))
        return currents.expand(timesteps, *currents.shape[1:]), State(
            state.steps + timesteps, nodes, levels.after
        )

    def _emitted(
        self, node: Node, values: Tensor, levels: Levels, needs: ObserverNeeds
    ) -> LayerOutput:
        """What a max pooling of spikes gives its observer."""
        if node.name not in levels.pools:
            return LayerOutput(values)
        counts, weighted = levels.pooled(self._merged, node, values), needs.sums.get(node.name)
        sums = None if weighted is None else weighted.of(counts)
        return LayerOutput(values, counts if needs.counts else None, sums)

    def _levels(self, needs: ObserverNeeds, state: State) -> Levels:
        """The levels of all max poolings of spikes, if the observer needs those of one."""
        pools = self._emitters - set(self._sites)
        wanted = pools if any(map(needs.levels_of, pools)) else set[str]()
        amplitudes = {name: neuron.amplitude() for name, neuron in self.neurons.items()}
        return Levels(self.network.graph, wanted, amplitudes, state.levels)

    def _means(self) -> tuple[frozenset[str], frozenset[str]]:
        """Sites that give their mean over time, and the nodes that are computed once for it.

        In training none: the gradients of Omega want the currents of every step.
        """
        averaging = {
            name
            for name, neuron in self.neurons.items()
            if not torch.is_grad_enabled() and neuron.averages()
        }
        averages = averaged(self.network.graph, averaging)
        return averages, still(self.network.graph, averages, self._source)

    def _by_events(self, once: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """What waits for its neurons, and those convolutions of images by events that do."""
        if torch.is_grad_enabled():
            return frozenset(), frozenset()

        ways = (self.network, self._waiting - once, self.active, self.engine)
        return self._waiting, plan.images_by_events(*ways)

    def _fire(
        self,
        name: str,
        currents: Tensor | Pending,
        timesteps: int,
        samples: Tensor,
        state: State,
        wants: Wants,
    ) -> tuple[LayerOutput, Any]:
        if isinstance(currents, Tensor):
            # of autocast in bfloat16; a potential needs more than 8 bits
            wide = currents.float() if currents.dtype is torch.bfloat16 else currents
            currents = wide.expand(timesteps, *wide.shape[1:])
        keep = None
        if self.confidence is not None and name in self.confidence.keep:
            keep = keep_mask(
                self.confidence.keep[name],
                self.confidence.early,
                self.seed,
                name,
                samples,
                state.steps,
                currents.like() if isinstance(currents, Pending) else currents,
            )
        return fire(self.neurons[name], currents, state.nodes.get(name), keep, wants)

    def _merged(self, node: Node, inputs: list[Tensor], active: float | None = None) -> Tensor:
        """A linear operation on all steps at once; one that has inputs of both kinds expands."""
        steps = max(value.shape[0] for value in inputs)
        merged = [fold_time(value.expand(steps, *value.shape[1:])) for value in inputs]
        found = plan.compute(self.network, node, merged, active, self._way(), self._layouts)
        return unfold_time(found, steps)

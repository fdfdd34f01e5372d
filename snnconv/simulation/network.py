"""A network with neurons at its sites: the same graph, the same weights, run over time.

Linear operations keep the mean over time and run on the merged ``T*B`` axis. Others take the
cumulative rule (:mod:`snnconv.simulation.cumulative`); by it, functions count as MACs.

Under a constant input, values before the first neuron do not change over time: they have ``T = 1``
and are computed once. So are the means of spikes before LM-HT neurons with a uniform Omega.

Shape:
    ``[f, B, *input] -> [T, B, classes]``: the last layer's currents at each step.

Reference:
    Methods: "The one rule".

Deviations:
    None.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from snnconv.config.base import Engine
from snnconv.core.metadata import ConfidenceInfo
from snnconv.core.shapes import fold_time, unfold_time
from snnconv.data.frames import frames_shown
from snnconv.engine.dispatch import fire
from snnconv.engine.event_conv import plan
from snnconv.engine.event_conv.sparsity import Rate, assumed_rate, input_rates
from snnconv.engine.event_conv.values import Deferred, Packed, add_deferred, unpacked
from snnconv.engine.layer_output import EVERYTHING, NOTHING, LayerOutput, ObserverNeeds
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import INPUT, TRANSFER, Node
from snnconv.graph.network import Network, Walk
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal
from snnconv.neurons.base import Neuron
from snnconv.neurons.confidence import drawn, keep_mask
from snnconv.simulation.chunk import Chunk, Levels, Observer, State
from snnconv.simulation.codings.base import Coding
from snnconv.simulation.codings.rate import RateCoding
from snnconv.simulation.corrected import Added
from snnconv.simulation.cumulative import function_increase, pool_increase
from snnconv.simulation.recomputed import ChangedMeans, of_increases, share_of
from snnconv.simulation.stepwise import scaled

Value = Tensor | Packed | Deferred
"""The value of a node at all steps: float32, bits, or computed when a neuron asks for it."""


class SpikingNetwork(nn.Module):
    """The weights of an ANN, with neurons at its sites.

    Attributes:
        analysis: the analysis of the graph.
        input_rates: the share of each node's multiplications that spikes are expected to need.

    Args:
        network: the ANN.
        neurons: by site name, one for each site.
        seed: the seed of all random numbers.
        confidence: spike confidence; None if every spike is elicited.
        hold: the steps for which each frame of the input is shown; None if the input is constant.
        engine: whether convolutions go by events.
        rates: the share of neurons expected to spike at a step, by site, if it is known.
        added: what corrections add, by site.
        coding: the coding that the neurons belong to; rate coding by default.
    """

    def __init__(
        self,
        network: Network,
        neurons: Mapping[str, Neuron[Any]],
        seed: int,
        confidence: ConfidenceInfo | None,
        hold: int | None = None,
        engine: Engine = "auto",
        rates: Mapping[str, Rate] | None = None,
        added: Mapping[str, Added] | None = None,
        coding: Coding | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        for site in network.graph.sites:  # neurons stand there, so thetas of QCFS no longer learn
            neurons[site.name].two_sided = site.op == TRANSFER
            for name in site.tensors.values():
                network.tensor(name).requires_grad_(False)
        self.hold = hold
        source = Signal.CONSTANT if hold is None else Signal.FRAMES
        self.analysis = Analysis.of(network.graph, network.views(), source)
        self._cumulative = frozenset(node.name for node in self.analysis.cumulative)
        # a module's attribute name may hold no dot, so neurons are numbered
        self._sites = tuple(neurons)
        self._neurons = nn.ModuleList(neurons.values())
        self._added = nn.ModuleList((added or {}).get(name, Added()) for name in neurons)
        self.seed = seed
        self.confidence = confidence
        self.engine = engine
        self.coding = coding or RateCoding()
        self.local = False  # whether no gradient passes from a site to what reads it
        self._calibrated = set(neurons) <= set(rates or {})
        sites = {name: assumed_rate(n.levels) for name, n in neurons.items()} | dict(rates or {})
        self.input_rates = input_rates(network, self.analysis, sites)
        self._deferrable = plan.deferrable(self.analysis)
        # found now, because torch.compile can't trace what an analysis finds on demand
        self._pools = self.analysis.spiking_pools
        self._layouts = plan.Layouts()

    def paths(self, learns: bool = False) -> dict[str, plan.Path]:
        """Return how each layer with weights is computed in inference, or in training."""
        with torch.set_grad_enabled(learns):
            _, once = self._means()
            return plan.paths(self.network, self.analysis, self.input_rates, self._way(), once)

    def _way(self) -> Engine:
        """Return the engine to use. In training, ``auto`` is dense if rates were never measured.

        ``torch.compile`` can't trace convolutions by events.
        """
        if torch.compiler.is_compiling():
            return "dense"
        guessed = torch.is_grad_enabled() and not self._calibrated
        return "dense" if guessed and self.engine == "auto" else self.engine

    @property
    def neurons(self) -> dict[str, Neuron[Any]]:
        """The neurons by site name."""
        return dict(zip(self._sites, cast("list[Neuron[Any]]", list(self._neurons)), strict=True))

    @property
    def added(self) -> dict[str, Added]:
        """Return what corrections add, by site name."""
        return dict(zip(self._sites, cast("list[Added]", list(self._added)), strict=True))

    @property
    def levels(self) -> int:
        """The most spikes of one neuron at one step."""
        return max(neuron.levels for neuron in self.neurons.values())

    @property
    def signed(self) -> bool:
        """Return whether spikes may be negative."""
        return any(neuron.signed for neuron in self.neurons.values())

    @property
    def causal(self) -> bool:
        """Return whether a simulation may run in chunks."""
        return all(neuron.causal for neuron in self.neurons.values())

    @property
    def lead(self) -> int:
        """The steps that run before the T steps."""
        return max((neuron.lead for neuron in self.neurons.values()), default=0)

    @property
    def draws(self) -> bool:
        """Return whether spikes are drawn at random."""
        return any(neuron.draws for neuron in self.neurons.values())

    def answers(self, timesteps: int) -> tuple[int, ...]:
        """Return the steps, from 1, after which the class can be read; T is always one of them.

        At the other steps some neuron's output depends on currents of later steps.
        """
        final = torch.ones(timesteps, dtype=torch.bool)
        for neuron in self.neurons.values():
            final &= neuron.answers(timesteps)
        return tuple(int(t) + 1 for t in final.nonzero().flatten())

    def latency(self, timesteps: int) -> int:
        """Return the steps until the answer after T steps.

        These are the :attr:`lead`, T, and the steps that layers wait for each other. If a layer's
        output at one step depends on currents of later steps, the layer starts when it has them,
        and its output comes so many steps later: T, if it needs them all. A layer whose currents do
        not change over time has them from the first step on.
        """
        late, signals, neurons = {INPUT: 0}, self.analysis.signals, self.neurons
        for node in self.network.graph.nodes:
            late[node.name] = max((late[name] for name in node.inputs), default=0)
            varying = any(signals[name] is not Signal.CONSTANT for name in node.inputs)
            if node.name in neurons and varying:
                late[node.name] += neurons[node.name].waits(timesteps)
        return self.lead + timesteps + late[self.network.graph.output]

    def forward(
        self,
        x: Tensor,
        timesteps: int,
        samples: Tensor,
        state: State | None = None,
        observe: Observer | None = None,
        needs: ObserverNeeds = EVERYTHING,
    ) -> tuple[Tensor, State]:
        """Run the next ``timesteps`` steps.

        Args:
            x: the frames to show in turn, ``[f, B, *input]``; one if the input is constant.
            timesteps: the number of steps.
            samples: the samples' indices, ``[B]``: each sample has random numbers of its own.
            state: what the call before returned; at the first call, the lead of the neurons runs.
            observe: called with the spikes of every source.
            needs: what the observer needs of them.

        Returns:
            Currents of the last layer ``[timesteps, B, classes]``, and the state after them.

        Raises:
            ValueError: several frames for a network of constant input.
        """
        if state is None:
            state = self._begun(x, timesteps, samples, observe, needs)
        if self.hold is not None:
            x = frames_shown(x, state.steps, timesteps, self.hold)
        elif len(x) != 1:
            raise ValueError(f"{len(x)} frames, and the network was made for constant input")
        chunk = self._chunk(timesteps, state, observe, needs)
        neurons, corrections = self.neurons, self.added
        values: Walk[Value] = Walk(self.network.graph, x)
        for node, inputs in values:
            if OPS[node.op].role is not Role.SITE:
                values[node] = self._between(node, inputs, chunk)
                continue
            # neurons fire here, not in a function of its own: a reader follows one call less
            neuron, correction = neurons[node.name], corrections[node.name]
            currents = _currents(inputs[0], neuron, timesteps, correction, state.steps)
            keep, before = self._keep(node.name, currents, samples, state), chunk.before(node)
            before = correction.initial(neuron, currents) if before is None else before
            output, chunk.nodes[node.name] = fire(neuron, currents, before, keep, chunk.wants(node))
            output = correction.to_output(output)
            chunk.fired(node, output)
            sent = output.carried
            values[node] = sent.detach() if self.local and isinstance(sent, Tensor) else sent
            del inputs, currents, keep, before, output, sent  # memory that the next node may need
        currents = cast("Tensor", values.output)
        return currents.expand(timesteps, *currents.shape[1:]), chunk.after()

    def _begun(
        self,
        x: Tensor,
        at_once: int,
        samples: Tensor,
        observe: Observer | None,
        needs: ObserverNeeds,
    ) -> State:
        """Return the state before the T steps, after the steps of the lead."""
        state, lead = State(), self.lead

        def early(name: str, done: int, output: LayerOutput) -> None:
            assert observe is not None
            observe(name, done - lead, output)

        observer = early if observe is not None and needs.lead else None
        for start in range(0, lead, at_once):
            _, state = self.forward(x, min(at_once, lead - start), samples, state, observer, needs)
        neurons = self.neurons
        return State(nodes={n: neurons[n].begun(state.nodes[n]) for n in neurons if lead})

    def _between(self, node: Node, inputs: list[Value], chunk: Chunk) -> Value:
        """Return the value of a node that is not a site."""
        chunk.levels.passed(node)
        if any(isinstance(value, Deferred) for value in inputs):
            return add_deferred(inputs)
        ready = cast("list[Tensor | Packed]", inputs)
        if node.name in chunk.by_events:
            return Deferred(self._layouts.of(self.network, node, ready[0]), ready[0])
        if (made := plan.of_bits(node, ready)) is not None:
            return made
        given = [unpacked(value) for value in ready]
        if node.name in chunk.needs.functions and OPS[node.op].role is not Role.ANALOG:
            shares = of_increases(share_of(self.network, node), given, chunk.state.steps)
            chunk.recomputed(node, shares)
        if OPS[node.op].role is Role.STEPWISE:
            factors = self.network.tensor(node.tensors["scale"])
            return scaled(given[0], factors, chunk.state.steps, chunk.timesteps)
        if node.name not in self._cumulative:
            rate = None if node.name in chunk.once else self.input_rates[node.name]
            found = self._merged(node, given, rate)
        elif OPS[node.op].role is Role.ANALOG:
            return self._function(node, given, chunk)
        else:
            compute = partial(self._merged, node)
            found, chunk.nodes[node.name] = pool_increase(compute, given[0], chunk.before(node))
        if chunk.observe is not None and node.name in self._pools:
            chunk.observe(node.name, chunk.state.steps, self._emitted(node, found, chunk))
        return found

    def _function(self, node: Node, inputs: list[Tensor], chunk: Chunk) -> Tensor:
        """Return the increase of ``t`` times a function's value at each step."""
        done, before, compute = chunk.state.steps, chunk.before(node), partial(self._merged, node)
        seen = None
        if node.name in chunk.needs.functions:
            means = [total / done for total in before[0]] if before else None
            seen = ChangedMeans(share_of(self.network, node), means)
        found, after = function_increase(compute, inputs, done, before, seen)
        if seen is not None:
            chunk.recomputed(node, seen.shares())
        chunk.nodes[node.name] = after
        return found

    def _emitted(self, node: Node, values: Tensor, chunk: Chunk) -> LayerOutput:
        """Return the output of a max pooling of spikes, or of a gate, for observers."""
        if node.name not in chunk.levels.pools:
            return LayerOutput(values)
        counts = chunk.levels.pooled(partial(self._merged, node), node, values)
        weighted = chunk.needs.sums.get(node.name)
        sums = None if weighted is None else weighted.of(counts)
        return LayerOutput(values, counts if chunk.needs.counts else None, sums)

    def _chunk(
        self, timesteps: int, state: State, observe: Observer | None, needs: ObserverNeeds
    ) -> Chunk:
        """Return how each node is computed in one call."""
        mean_sites, once = self._means()
        needs = NOTHING if observe is None else needs
        deferred, by_events = self._by_events(once)
        pools = self._pools
        # if the observer needs the levels of one max pooling, all are computed
        wanted: frozenset[str] = pools if any(map(needs.levels_of, pools)) else frozenset()
        corrections = self.added
        amplitudes = {
            name: corrections[name].to_amplitude(neuron.amplitude())
            for name, neuron in self.neurons.items()
        }

        return Chunk(
            timesteps=timesteps,
            state=state,
            observe=observe,
            needs=needs,
            mean_sites=mean_sites,
            once=once,
            by_events=by_events,
            packed=frozenset()
            if needs.values
            else plan.bit_sites(self.analysis, deferred, by_events),
            levels=Levels(self.analysis, wanted, amplitudes, self.coding.emitted, state),
        )

    def _means(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the sites that give their mean over time, and the nodes that are computed once.

        In training no site gives a mean, because Omega's gradients need the currents of every step.
        Under ``torch.compile`` none does, because the numbers in Omega decide about it.
        """
        ask = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        averaging = {name for name, neuron in self.neurons.items() if ask and neuron.averages()}
        mean_sites = self.analysis.mean_sites(averaging)
        return mean_sites, self.analysis.time_invariant(mean_sites)

    def _by_events(self, once: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the nodes that wait until neurons need them, and which are convolutions by events.

        In training and under ``torch.compile`` there are none.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return frozenset(), frozenset()
        among = self._deferrable - once
        by_events = plan.images_by_events(self.network, among, self.input_rates, self.engine)
        return self._deferrable, by_events

    def _keep(
        self, name: str, currents: Tensor | Deferred, samples: Tensor, state: State
    ) -> Tensor | None:
        """Return the mask of where a site's neurons may spike, ``[T, B, *N]``; None: everywhere."""
        like = currents.like() if isinstance(currents, Deferred) else currents
        where, keep = (self.seed, name, samples, state.steps, like), None
        if self.confidence is not None and name in self.confidence.keep:
            keep = keep_mask(self.confidence.keep[name], self.confidence.early, *where)
        if not self.neurons[name].draws:
            return keep
        numbers = drawn(*where)
        return numbers if keep is None else numbers * keep

    def _merged(self, node: Node, inputs: list[Tensor], rate: float | None = None) -> Tensor:
        """Compute a linear operation on all steps at once; constant inputs expand to all steps."""
        steps = max(value.shape[0] for value in inputs)
        merged = [fold_time(value.expand(steps, *value.shape[1:])) for value in inputs]
        found = plan.compute(self.network, node, merged, rate, self._way(), self._layouts)
        return unfold_time(found, steps)


def _currents(
    value: Value, neuron: Neuron[Any], timesteps: int, correction: Added, done: int
) -> Tensor | Deferred:
    """Return the currents of a site's neurons at every step: values before it, and corrections."""
    if isinstance(value, Deferred):
        return correction.to_currents(value, done, timesteps)
    currents = unpacked(value)
    # autocast gives bfloat16, and a potential needs more than 8 bits: it has the threshold's type
    wide = currents.to(torch.promote_types(currents.dtype, neuron.threshold.dtype))
    wide = correction.to_currents(wide, done, timesteps)
    return wide.expand(timesteps, *wide.shape[1:])

"""What is known of a network before anything is computed: shapes, signals, operations, costs.

An :class:`Analysis` is made once for a graph and passed on. Its properties are computed when they
are first asked for, from the graph, the shapes of its tensors, and what its input carries. No
property reads a value of a tensor.

A spike costs one operation for every synapse, and for every membrane or logit, that it reaches
without passing another neuron. Averages and reshapes on its way are wiring; an identity shortcut
reaches one membrane; borders, strides, groups and dilation are counted as they are. A spike that
enters a max pooling costs nothing there, since the pooling emits spikes of its own. A spike that
enters a function costs nothing, either: what functions compute is counted by kind
(:mod:`snnconv.graph.signals`), and no spike replaces any of it.

Multiply-accumulates are counted by the field's convention: every tap counts, padding included. The
exact number, counted as spikes are, is kept, too. A recurrence contains weights and functions.

Shape:
    A fan-out is ``[*N]`` float64, for the ``N`` neurons of one sample.

Reference:
    Methods: "Counting".

Deviations:
    None.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from snnconv.graph.ir import INPUT, Graph, Node
from snnconv.graph.network import Shape, shapes, walk
from snnconv.graph.operations.work import Work, WorkCount
from snnconv.graph.ops import OPS, Role
from snnconv.graph.running_means import RunningMeans
from snnconv.graph.signals import Signal, outside_spikes, signals


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of a network from its graph.

    Attributes:
        graph: the network.
        tensor_shapes: the shape of each of its tensors, by name.
        source: what the input carries: constant, or frames.
    """

    graph: Graph
    tensor_shapes: Mapping[str, Shape]
    source: Signal = Signal.CONSTANT

    @staticmethod
    def of(
        graph: Graph, tensors: Mapping[str, Tensor], source: Signal = Signal.CONSTANT
    ) -> "Analysis":
        """Analyse a graph with its tensors."""
        return Analysis(graph, {name: tuple(x.shape) for name, x in tensors.items()}, source)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shape of every node's value, and of the input, for one sample, without the batch.

        Raises:
            UnsupportedError: the attributes, tensors and inputs of a node do not fit.
        """
        return shapes(self.graph, self.tensor_shapes)

    @property
    def outputs(self) -> Shape:
        """The shape of the network's output for one sample."""
        return self.shapes[self.graph.output]

    @cached_property
    def signals(self) -> Mapping[str, Signal]:
        """Return what the input and each node's output carry."""
        return signals(self.graph, self.source)

    @cached_property
    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each node's value, or the input; each once, in the graph's order."""
        names = (INPUT, *(node.name for node in self.graph.nodes))
        found: dict[str, list[Node]] = {name: [] for name in names}
        for node in self.graph.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def event_readers(self) -> Mapping[str, tuple[Node, ...]]:
        """What each emitter's events reach through wiring, in the graph's order.

        These are synapses, sites whose membranes they reach directly, poolings, functions, and the
        output.
        """
        found = {}
        for emitter in self.emitters:
            carrying, reached = {emitter.name}, []
            for node in self.graph.nodes:
                if carrying.isdisjoint(node.inputs):
                    continue
                wiring = OPS[node.op].role is Role.LINEAR
                if wiring:
                    carrying.add(node.name)
                if not wiring or node.name == self.graph.output:
                    reached.append(node)
            found[emitter.name] = tuple(reached)
        return found

    @cached_property
    def emitters(self) -> tuple[Node, ...]:
        """The nodes that emit spikes: sites, max poolings of spikes, and gates."""
        return tuple(
            node
            for node in self.graph.nodes
            if OPS[node.op].role in (Role.SITE, Role.MAX, Role.GATE)
            and self.signals[node.name] is Signal.SPIKES
        )

    @cached_property
    def spiking_pools(self) -> frozenset[str]:
        """The max poolings of spikes, and gates: what emits spikes and is no neuron."""
        return frozenset(node.name for node in self.emitters if OPS[node.op].role is not Role.SITE)

    @cached_property
    def cumulative(self) -> tuple[Node, ...]:
        """The nodes that need the cumulative rule: not linear, and not constant over time."""
        return tuple(
            node
            for node in self.graph.nodes
            if OPS[node.op].role in (Role.MAX, Role.ANALOG)
            and self.signals[node.name] is not Signal.CONSTANT
        )

    @cached_property
    def sites_behind(self) -> Mapping[str, frozenset[str]]:
        """The sites whose spikes each node carries, for every node that carries spikes."""
        found: dict[str, frozenset[str]] = {}
        for node in self.graph.nodes:
            if OPS[node.op].role is Role.SITE:
                found[node.name] = frozenset({node.name})
            elif self.signals[node.name] is Signal.SPIKES:
                found[node.name] = frozenset().union(*(found[name] for name in node.inputs))
        return found

    @cached_property
    def spikes_meeting(self) -> Mapping[str, int]:
        """The most neurons whose spikes meet at one place of each max pooling of spikes."""
        found = {}

        def evaluate(node: Node, inputs: list[Tensor | None]) -> Tensor | None:
            op = OPS[node.op]
            if op.role is Role.SITE:
                return torch.ones(1, *self.shapes[node.name])
            if self.signals[node.name] is not Signal.SPIKES:
                return None
            numbers = [value for value in inputs if value is not None]
            out = (op.run if op.role is Role.MAX else op.wire)(node.attrs, {}, numbers)
            if op.role is Role.MAX:
                found[node.name] = int(out.max())
            return out

        if self.spiking_pools:
            walk(self.graph, None, evaluate)
        return found

    @cached_property
    def fed_by_analog(self) -> frozenset[str]:
        """The nodes whose operations are MACs at every step, since analog values feed them."""
        return frozenset(
            node.name
            for node in self.graph.nodes
            if self.signals[node.name] is not Signal.CONSTANT
            and (
                OPS[node.op].role is Role.ANALOG
                or (
                    OPS[node.op].role is Role.SYNAPSE
                    and any(self.signals[name] is Signal.CURRENT for name in node.inputs)
                )
            )
        )

    @cached_property
    def fan_out(self) -> Mapping[str, Tensor]:
        """The operations that one spike of each neuron costs, by emitter: ``[*N]`` float64."""
        return {node.name: self._fan_out_of(node.name) for node in self.emitters}

    @cached_property
    def pooled_fan_out(self) -> Mapping[str, Tensor]:
        """The fan-out of nodes that feed averages, if the output of the average is counted.

        Then a spike at one of k places of an average is 1/k of a spike behind the average.
        """
        found = {node.name: self._fan_out_of(node.name, averaged=True) for node in self.emitters}
        return {name: x for name, x in found.items() if not torch.equal(x, self.fan_out[name])}

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _fan_out_of(self, emitter: str, averaged: bool = False) -> Tensor:
        """Return the fan-out as a derivative, which a caller's ``no_grad`` must not switch off."""
        spikes = torch.ones(1, *self.shapes[emitter], dtype=torch.float64, requires_grad=True)
        reached: list[Tensor] = []

        def evaluate(node: Node, inputs: list[Tensor | None]) -> Tensor | None:
            if node.name == emitter:
                return spikes
            if all(value is None for value in inputs):
                return None
            op = OPS[node.op]
            if op.role is Role.SITE:  # membranes, reached without a synapse on the way
                reached.extend(value for value in inputs if value is not None)
            if op.role in (Role.SITE, Role.MAX, Role.GATE) or node.name in self.fed_by_analog:
                return None
            present = [
                torch.zeros(1, *self.shapes[name], dtype=torch.float64) if value is None else value
                for name, value in zip(node.inputs, inputs, strict=True)
            ]
            out = self._reach(node, present, averaged)
            if op.role is Role.SYNAPSE:
                reached.append(out)
                return None
            return out

        end = walk(self.graph, None, evaluate)
        if end is not None:
            reached.append(end)
        if not reached:
            return torch.zeros(self.shapes[emitter], dtype=torch.float64)
        total = torch.stack([value.sum() for value in reached]).sum()
        (count,) = torch.autograd.grad(total, spikes)
        return count.squeeze(0)

    def _reach(self, node: Node, inputs: list[Tensor], averaged: bool = False) -> Tensor:
        """Return what spikes at a node's inputs reach, from the shapes of its tensors alone.

        Args:
            node: the node.
            inputs: the numbers of spikes.
            averaged: whether an average divides by its number of places, or only adds up.
        """
        tensors = {
            role: torch.zeros(()).expand(self.tensor_shapes[name])
            for role, name in node.tensors.items()
        }
        op = OPS[node.op]
        compute = op.run if averaged and op.averages else op.wire
        return compute(node.attrs, tensors, inputs)

    @cached_property
    def functions(self) -> tuple[Node, ...]:
        """The functions, computed outside the spiking domain; see :mod:`snnconv.graph.signals`."""
        return tuple(
            node
            for node in self.graph.nodes
            if node.name in self.work and OPS[node.op].role is not Role.SYNAPSE
        )

    @cached_property
    def work(self) -> Mapping[str, Work]:
        """The work for one sample of each matrix, convolution and function that has some."""
        counted = {node.name for node in outside_spikes(self.graph, self.signals)}
        found = {}
        for node in self.graph.nodes:
            op = OPS[node.op]
            if op.role is not Role.SYNAPSE and node.name not in counted:
                continue
            inputs = [self.shapes[name] for name in node.inputs]
            roles = {role: self.tensor_shapes[name] for role, name in node.tensors.items()}
            work = op.work(op.typed(node.attrs), inputs, self.shapes[node.name], roles)
            if any(work.numbers):
                found[node.name] = work
        return found

    @cached_property
    def macs(self) -> Mapping[str, int]:
        """The multiply-accumulates for one sample, by convention, of each node that has some."""
        return {name: int(work.products) for name, work in self.work.items() if work.products}

    @cached_property
    def running(self) -> Mapping[str, Work]:
        """The work for the running means of functions that change over time, at each step."""
        if not self.functions:
            return {}
        means = RunningMeans(self.graph, self.signals, self.shapes, self.work)
        found = {node.name: means.of(node) for node in self.functions}
        return {name: work for name, work in found.items() if any(work.numbers)}

    @cached_property
    def exact_macs(self) -> Mapping[str, int]:
        """The multiply-accumulates of each node without taps that meet padding."""
        found = dict(self.macs)
        for node in self.graph.nodes:
            if OPS[node.op].role is Role.SYNAPSE:
                ones = torch.ones(1, *self.shapes[node.inputs[0]], dtype=torch.float64)
                found[node.name] = int(self._reach(node, [ones]).sum().item())
        return found

    @cached_property
    def first_layer(self) -> tuple[Node, ...]:
        """The nodes whose work depends on the input alone."""
        of_input = (Signal.CONSTANT, Signal.FRAMES)
        names = {name for name in self.work if self.signals[name] in of_input}
        return tuple(node for node in self.graph.nodes if node.name in names)

    @cached_property
    def analog(self) -> tuple[Node, ...]:
        """The nodes whose work is done at every step: functions, and what currents feed."""
        first = {node.name for node in self.first_layer}
        every = {node.name for node in self.functions} - first | self.fed_by_analog
        return tuple(node for node in self.graph.nodes if node.name in every & self.work.keys())

    @cached_property
    def work_count(self) -> WorkCount:
        """The work of the ANN, and the part that remains in a spiking network.

        Nodes that depend on a constant input alone are computed once, and counted once. Functions
        among them do not spike either.
        """
        functions = {node.name for node in self.functions}
        first = {node.name for node in self.first_layer}

        behind: set[str] = set()
        for node in self.graph.nodes:
            if OPS[node.op].role is Role.ANALOG or not behind.isdisjoint(node.inputs):
                behind.add(node.name)

        def total(names: Set[str]) -> Work:
            return sum((self.work[name] for name in self.work.keys() & names), Work())

        return WorkCount(
            total=total(self.work.keys()),
            first=total(first),
            once=total(first & functions),
            each_step=total({node.name for node in self.analog})
            + sum(self.running.values(), Work()),
            idle=total(first & behind).weights,
        )

    @property
    def shares(self) -> dict[str, float]:
        """The shares for reports: of work that spikes do not replace, and that functions do."""
        count = self.work_count
        return {
            "non_spiking_share": count.non_spiking_share,
            "function_share": count.function_share,
        }

    def on_the_way_to(self, pools: Set[str]) -> dict[str, str]:
        """Return the nodes from spikes to some max poolings, each with its last reader.

        The poolings themselves are not among them, unless one feeds another.
        """
        readers: dict[str, str] = {}
        for node in reversed(self.graph.nodes):
            wiring = OPS[node.op].role is Role.LINEAR and node.name in readers
            if wiring or node.name in pools:
                for name in node.inputs:
                    readers.setdefault(name, node.name)
        return readers

    def mean_sites(self, averaging: Set[str]) -> frozenset[str]:
        """Return the sites whose spikes are needed only as their mean over time.

        A linear operation may take the mean before or after, and the neurons behind it take
        the mean in any case.

        Args:
            averaging: the sites whose neurons are given the mean of all steps at each step.
        """
        stepwise = {self.graph.output}
        for node in reversed(self.graph.nodes):
            match OPS[node.op].role:
                case Role.SITE:
                    wants = node.name not in averaging
                case Role.MAX | Role.ANALOG | Role.STEPWISE | Role.GATE:  # each step for itself
                    wants = True
                case _:
                    wants = node.name in stepwise
            if wants:
                stepwise.update(node.inputs)
        return frozenset(site.name for site in self.graph.sites if site.name not in stepwise)

    def time_invariant(self, mean_sites: Set[str]) -> frozenset[str]:
        """Return the nodes whose values do not change over time: of a constant input, or of means.

        Args:
            mean_sites: the sites that give their mean over time.
        """
        found = {INPUT} if self.source is Signal.CONSTANT else set()
        for node in self.graph.nodes:
            if OPS[node.op].role is Role.SITE:
                if node.name in mean_sites:
                    found.add(node.name)
            elif found.issuperset(node.inputs) and OPS[node.op].role is not Role.STEPWISE:
                found.add(node.name)
        return frozenset(found)

"""What a metric is: sums that grow with every batch, and figures made of them at the end.

All metrics watch one simulation. Their sums are integers or float64, so figures do not depend on
the order of batches beyond rounding, and could be added up over processes.

Shape:
    Spikes ``[T, B, *N]`` of a chunk, their sums ``[T, B]``; logits ``[T, B, classes]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from snnconv.core.registry import REGISTRIES, Registry
from snnconv.engine.layer_output import LayerOutput, ObserverNeeds, WeightedSum
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Graph
from snnconv.graph.network import Shape
from snnconv.graph.operations.work import Work
from snnconv.neurons.base import Grid, Neuron

Value = TypeVar("Value")

MJ_PER_PJ = 1e-9


@dataclass(frozen=True)
class MetricContext:
    """The network that is measured, and how.

    Attributes:
        analysis: of the simulated network's graph, BatchNorm folded.
        network: its tensors.
        thresholds: theta by site.
        grid: what the neurons' mean output can be after T steps.
        levels: the most spikes of one neuron at one step.
        signed: whether spikes may be negative.
        timesteps: T.
        energy_ac_pj: energy of an accumulate.
        energy_mac_pj: energy of a multiply-accumulate.
        energy_lookup_pj: energy of a look-up in a table.
        hold: steps for which each frame of the input is shown; none where it is constant.
        answers: the steps, from 1, after which the class can be read; none where all are.
        lead: steps that are simulated before the T steps.
        population: samples in the split, of which some or all are simulated; 0 where nobody knows.
        task: what the outputs are for.
        exit_margin: of probabilities, at which a sample stops (early exit).
        neurons: by site.
    """

    analysis: Analysis
    network: Mapping[str, Tensor]
    thresholds: Mapping[str, Tensor]
    grid: Grid
    levels: int
    timesteps: int
    energy_ac_pj: float
    energy_mac_pj: float
    hold: int | None = None
    answers: tuple[int, ...] | None = None
    population: int = 0
    signed: bool = False
    exit_margin: float = 0.5
    lead: int = 0
    energy_lookup_pj: float = 10.0
    task: str = "classification"
    neurons: Mapping[str, Neuron[Any]] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The simulated network, BatchNorm folded."""
        return self.analysis.graph

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """A sample's shape at every node."""
        return self.analysis.shapes

    def at_answers(self, steps: Iterable[Value]) -> list[Value | None]:
        """A list over steps, with null where there is no answer yet."""
        if self.answers is None:
            return list(steps)
        answers = frozenset(self.answers)
        return [value if t in answers else None for t, value in enumerate(steps, start=1)]

    def most_spikes(self, name: str) -> int:
        """The most spikes that a node emits at one place and step."""
        return self.analysis.spikes_meeting.get(name, 1) * self.levels

    def energy_mj(self, work: Work) -> float:
        """What so much work takes, in mJ; an addition is an accumulate."""
        pj = self.energy_mac_pj * work.products + self.energy_ac_pj * work.additions
        return (pj + self.energy_lookup_pj * work.lookups) * MJ_PER_PJ

    def work_until(self, step: float, passes: float) -> Work:
        """What is computed without spikes until a step.

        Args:
            step: of the T steps; those of the lead before it are added.
            passes: how often what depends on the input alone is computed.
        """
        count = self.analysis.work_count
        return count.first * passes + count.each_step * (self.lead + step)

    def passes(self, steps: int) -> int:
        """How often so many steps, and the lead, compute what depends on the input alone."""
        if self.hold is None:
            return 1
        return sum(-(-each // self.hold) for each in (self.lead, steps))


class Twin(NamedTuple):
    """What the quantized twin of a network makes of a batch: see :mod:`snnconv.simulation.twin`.

    Attributes:
        logits: ``[B, classes]``.
        reads: by emitter, the synapses behind its values that are not zero, of all samples.
    """

    logits: Tensor
    reads: Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before it is simulated.

    Attributes:
        labels: ``[B]``, or ``[B, ...]`` where they are no classes; none where there are none.
        ann_logits: ``[B, *out]``; none where there is no ANN to compare with.
        ann_inputs: the ANN's pre-activations by site, ``[B, *N]``.
        samples: their indices in the split, ``[B]``; none where nobody knows.
        twin: of the network; none if no metric asks for it.
    """

    labels: Tensor | None
    ann_logits: Tensor | None
    ann_inputs: Mapping[str, Tensor]
    samples: Tensor | None = None
    twin: Twin | None = None

    def __len__(self) -> int:
        known = (self.labels, self.samples, self.ann_logits)
        return len(next(each for each in known if each is not None))


@dataclass
class Figures:
    """What metrics found.

    Attributes:
        totals: keys of the evaluation.
        layers: keys of its rows, by node name.
        by_step: what no report holds, and metrics that are made of this one read: by what it is and
            node name, a number for each step and sample, ``[T]`` float64.
    """

    totals: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_step: dict[str, dict[str, Tensor]] = field(default_factory=dict, compare=False)

    def add(self, other: "Figures") -> None:
        """Add another metric's figures to these."""
        self.totals |= other.totals
        self.by_step |= other.by_step
        for name, row in other.layers.items():
            self.layers.setdefault(name, {}).update(row)


class Metric(ABC):
    """One measurement, over all batches.

    Attributes:
        needs: metrics whose figures it is made of.
        tasks: the tasks that it means something for; empty if that is any.
        of_conversion: whether it asks how far neurons are from an ANN's activations, which a
            network that was trained with its neurons never had.
        twinned: whether it asks for the network's quantized twin, a forward pass more.
        counted: whether it reads the counts of the spikes that it observes. What needs no more
            than their sums at each step says so by :meth:`weights`: if no metric reads counts, none
            are written. An instance may say otherwise than its class, as its network asks.
        valued: whether it reads the values; if no metric does, none may be written.
        led: whether it is shown the steps before the T steps, too, as what costs something is: with
            a ``start`` below 0, see :func:`at_first`.
        added: attributes that grow with every batch, numbers, tensors or mappings of them: of
            several processes they are added up before the figures.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ()
    of_conversion: ClassVar[bool] = False
    twinned: ClassVar[bool] = False
    counted: bool = True
    valued: ClassVar[bool] = True
    led: ClassVar[bool] = False
    added: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Give a class that overrides ``observe`` everything, even if its base needs less."""
        if "observe" in vars(cls):
            for flag in {"counted", "valued"} - set(vars(cls)):
                setattr(cls, flag, True)

    def __init__(self, context: MetricContext) -> None:
        self.context = context
        self.samples = 0

    def begin(self, batch: Batch) -> None:
        """A batch is about to be simulated."""
        self.samples += len(batch)

    def observe(self, name: str, start: int, output: LayerOutput) -> None:
        """See what a node gives at the steps ``start + 1 ...`` of the present batch.

        Args:
            name: of the node: a layer of neurons, or a max pooling of spikes.
            start: steps done before; ``-lead ..`` for the steps before the T steps.
            output: with counts and values as far as some metric reads them.
        """

    @property
    def watched(self) -> frozenset[str]:
        """The functions of which it wants to know how much is computed anew at each step."""
        return frozenset()

    @property
    def looks_into(self) -> frozenset[str]:
        """The layers of neurons of which it wants to know what they hold at each step."""
        return frozenset()

    def add_redone(self, name: str, start: int, shares: Tensor) -> None:
        """Shares ``[T, B]`` of the work of this function that changed inputs repeat."""

    def weights(self) -> Mapping[str, Tensor]:
        """By what to multiply spikes for the sums it wants: integers ``[*N]`` by node name."""
        return {}

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Weighted spikes of a node, all neurons and samples together, at these steps ``[T]``."""

    def add_by_sample(self, name: str, start: int, sums: Tensor) -> None:
        """The same of each sample of the batch, ``[T, B]``; unless overridden, it adds them up."""
        self.add(name, start, sums.sum(1))

    def finish(self, logits: Tensor) -> None:
        """The batch is done; ``logits`` are averages over steps 1..t."""

    def reduce(self, add_up: Callable[[Any], Any]) -> None:
        """Put the sums of all processes in the place of this one's own."""
        for name in ("samples", *self.added):
            setattr(self, name, add_up(getattr(self, name)))

    @abstractmethod
    def figures(self, found: Figures) -> Figures:
        """The result; ``found`` holds what metrics before this one found."""


def at_first(start: int, sums: Tensor) -> tuple[int, Tensor]:
    """Where a chunk's sums ``[t, ...]`` count: those of steps before the T steps, at the first."""
    return (start, sums) if start >= 0 else (0, sums.sum(0, keepdim=True))


def _as_convolutions_lie(weights: Tensor) -> Tensor:
    """``[k, C, *places]`` in channels-last memory, where most spikes lie."""
    return weights.movedim(1, -1).contiguous().movedim(-1, 1)


class Watch:
    """Metrics that watch one simulation; it is their observer.

    Args:
        metrics: of one network.
        device: of the simulation.

    Attributes:
        needs: what they need of spikes.
    """

    def __init__(self, metrics: Iterable[Metric], device: torch.device | str = "cpu") -> None:
        self._metrics = tuple(metrics)
        self._adding: dict[str, list[tuple[Metric, int]]] = {}
        weights: dict[str, list[Tensor]] = {}
        for metric in self._metrics:
            for name, values in metric.weights().items():
                rows = weights.setdefault(name, [])  # metrics of the same weights share a row
                row = next((k for k, each in enumerate(rows) if torch.equal(each, values)), None)
                if row is None:
                    row = len(rows)
                    rows.append(values)
                self._adding.setdefault(name, []).append((metric, row))
        sums = {}
        for name, rows in weights.items():
            stacked = _as_convolutions_lie(torch.stack(rows).float()).to(device)
            most = max(metric.context.most_spikes(name) for metric in self._metrics)
            sums[name] = WeightedSum(stacked, most)
        counted, valued = (
            any(getattr(metric, what) for metric in self._metrics) for what in ("counted", "valued")
        )
        led = any(metric.led for metric in self._metrics)
        functions = frozenset[str]().union(*(metric.watched for metric in self._metrics))
        membranes = frozenset[str]().union(*(metric.looks_into for metric in self._metrics))
        if membranes:  # neurons that are looked into give both
            counted = valued = True
        self.needs = ObserverNeeds(counted, sums, valued, led, functions, membranes)

    def __call__(self, name: str, start: int, output: LayerOutput) -> None:
        """See :class:`snnconv.simulation.chunk.Observer`."""
        if output.redone is not None:
            for metric in self._metrics:
                if name in metric.watched and (start >= 0 or metric.led):
                    metric.add_redone(name, start, output.redone)
            return
        for metric in self._metrics:
            if start >= 0 or metric.led:
                metric.observe(name, start, output)
        if weighted := self.needs.sums.get(name):
            # a simulation that was not told of the needs gives counts
            sums = weighted.of(output.counts) if output.sums is None else output.sums
            columns = sums.cpu().unbind(2)
            for metric, row in self._adding[name]:
                if start >= 0 or metric.led:
                    metric.add_by_sample(name, start, columns[row])


def _fault(found: object) -> str:
    """Say what is wrong with a metric from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Metric)):
        return f"{found!r:.40}, which is no subclass of snnconv.metrics.base.Metric"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    return ""


METRICS: Registry[type[Metric]] = replace(REGISTRIES["metrics"], fault=_fault)

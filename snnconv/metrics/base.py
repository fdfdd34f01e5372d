"""What a metric is: sums that grow with every batch, and the figures that follow from them.

All metrics watch one simulation. Their sums are integers or float64, so that figures depend on the
order of batches only by rounding, and the sums of several processes can be added up.

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
    """What metrics know of the network and of its simulation.

    Attributes:
        analysis: the analysis of the simulated graph, BatchNorm folded.
        network: the network's tensors.
        thresholds: theta by site.
        grid: the values that the neurons' mean output can have after T steps.
        levels: the most spikes of one neuron at one step.
        signed: whether spikes may be negative.
        timesteps: T.
        energy_ac_pj: the energy of an accumulate.
        energy_mac_pj: the energy of a multiply-accumulate.
        energy_lookup_pj: the energy of a look-up in a table.
        hold: the steps for which each frame of the input is shown; None if the input is constant.
        answers: the steps, from 1, after which the class can be read; None for all steps.
        lead: the steps that are simulated before the T steps.
        population: the samples in the split, not all of which may be simulated; 0 if unknown.
        task: the task of the outputs.
        exit_margin: the margin of probabilities at which a sample stops (early exit).
        neurons: the neurons, by site.
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
        """Return a list over steps, with None at steps without an answer."""
        if self.answers is None:
            return list(steps)
        answers = frozenset(self.answers)
        return [value if t in answers else None for t, value in enumerate(steps, start=1)]

    def most_spikes(self, name: str) -> int:
        """Return the most spikes that a node emits at one place and step."""
        return self.analysis.spikes_meeting.get(name, 1) * self.levels

    def energy_mj(self, work: Work) -> float:
        """Return the energy of this work in mJ; an addition costs as much as an accumulate."""
        pj = self.energy_mac_pj * work.products + self.energy_ac_pj * work.additions
        return (pj + self.energy_lookup_pj * work.lookups) * MJ_PER_PJ

    def work_until(self, step: float, passes: float) -> Work:
        """Return the work that is done without spikes until a step.

        Args:
            step: one of the T steps. The steps of the lead are added.
            passes: how often the layers that depend on the input alone are computed.
        """
        count = self.analysis.work_count
        return count.first * passes + count.each_step * (self.lead + step)

    def passes(self, steps: int) -> int:
        """Return how often the lead and these steps compute what only the input reaches."""
        if self.hold is None:
            return 1
        return sum(-(-each // self.hold) for each in (self.lead, steps))


class Twin(NamedTuple):
    """The output of a network's quantized twin for a batch: see :mod:`snnconv.simulation.twin`.

    Attributes:
        logits: ``[B, classes]``.
        reads: by emitter, the number of synapses behind its nonzero values, over all samples.
    """

    logits: Tensor
    reads: Mapping[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before it is simulated.

    Attributes:
        labels: classes ``[B]``, or other labels ``[B, ...]``; None if there are none.
        ann_logits: ``[B, *out]``; None if there is no ANN to compare with.
        ann_inputs: the ANN's pre-activations by site, ``[B, *N]``.
        samples: their indices in the split, ``[B]``; None if they are unknown.
        twin: the twin's output; None if no metric asks for it.
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
        by_step: numbers for other metrics that no report holds: by kind and node name, the mean
            over samples at each step, ``[T]`` float64.
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
        needs: the metrics whose figures it uses.
        tasks: the tasks for which it has a meaning; empty for all.
        of_conversion: whether it compares neurons with an ANN's activations. A network that was
            trained with its neurons has no such activations.
        twinned: whether it needs the network's quantized twin, which costs a forward pass.
        counted: whether it reads the counts of the spikes that it observes. A metric that needs
            only sums at each step asks for them by :meth:`weights`. If no metric reads counts, none
            are written. An instance may differ from its class if its network requires it.
        valued: whether it reads the values; if no metric does, they may not be written.
        led: whether it also sees the steps before the T steps, with a ``start`` below 0, because
            they cost something; see :func:`at_first`.
        added: the attributes that grow with every batch: numbers, tensors or mappings of them. They
            are added up over processes before the figures are made.
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
        """Show everything to a class that overrides ``observe``, even if its base needs less."""
        if "observe" in vars(cls):
            for flag in {"counted", "valued"} - set(vars(cls)):
                setattr(cls, flag, True)

    def __init__(self, context: MetricContext) -> None:
        self.context = context
        self.samples = 0

    def begin(self, batch: Batch) -> None:
        """Prepare for a batch, before it is simulated."""
        self.samples += len(batch)

    def observe(self, name: str, start: int, output: LayerOutput) -> None:
        """Take a node's output at the steps ``start + 1 ...`` of the present batch.

        Args:
            name: the node's name: a layer of neurons, or a max pooling of spikes.
            start: the number of steps done before; from ``-lead`` on before the T steps.
            output: with counts and values if any metric reads them.
        """

    @property
    def watched(self) -> frozenset[str]:
        """The functions for which it needs the share of work that each step recomputes."""
        return frozenset()

    @property
    def looks_into(self) -> frozenset[str]:
        """The layers of neurons of which it wants to know what they hold at each step."""
        return frozenset()

    def add_recomputed(self, name: str, start: int, shares: Tensor) -> None:
        """Add the shares ``[T, B]`` of a function's work that changed inputs repeat."""

    def weights(self) -> Mapping[str, Tensor]:
        """Return weights for the sums of spikes that it needs: integers ``[*N]`` by node name."""
        return {}

    def add(self, name: str, start: int, sums: Tensor) -> None:
        """Add a node's weighted spikes over all neurons and samples, by step ``[T]``."""

    def add_by_sample(self, name: str, start: int, sums: Tensor) -> None:
        """Add the same for each sample, ``[T, B]``; by default, add the samples up."""
        self.add(name, start, sums.sum(1))

    def finish(self, logits: Tensor) -> None:
        """Take a batch's logits, averaged over steps 1..t, after the batch."""

    def reduce(self, add_up: Callable[[Any], Any]) -> None:
        """Replace this process's sums by those of all processes."""
        for name in ("samples", *self.added):
            setattr(self, name, add_up(getattr(self, name)))

    @abstractmethod
    def figures(self, found: Figures) -> Figures:
        """Return the result; ``found`` holds the figures of the metrics before this one."""


def at_first(start: int, sums: Tensor) -> tuple[int, Tensor]:
    """Return the step and the sums ``[t, ...]`` to count; earlier steps count at the first."""
    return (start, sums) if start >= 0 else (0, sums.sum(0, keepdim=True))


def _as_convolutions_lie(weights: Tensor) -> Tensor:
    """Return ``[k, C, *places]`` in channels-last memory, as most spikes are."""
    return weights.movedim(1, -1).contiguous().movedim(-1, 1)


class Watch:
    """The observer of one simulation, which shows the spikes to all its metrics.

    Args:
        metrics: the metrics of one network.
        device: the simulation's device.

    Attributes:
        needs: what the metrics need of the spikes.
    """

    def __init__(self, metrics: Iterable[Metric], device: torch.device | str = "cpu") -> None:
        self._metrics = tuple(metrics)
        self._adding: dict[str, list[tuple[Metric, int]]] = {}
        weights: dict[str, list[Tensor]] = {}
        for metric in self._metrics:
            for name, values in metric.weights().items():
                rows = weights.setdefault(name, [])  # metrics with the same weights share a row
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
        if output.recomputed is not None:
            for metric in self._metrics:
                if name in metric.watched and (start >= 0 or metric.led):
                    metric.add_recomputed(name, start, output.recomputed)
            return
        for metric in self._metrics:
            if start >= 0 or metric.led:
                metric.observe(name, start, output)
        if weighted := self.needs.sums.get(name):
            # a simulation that does not know these needs gives counts
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

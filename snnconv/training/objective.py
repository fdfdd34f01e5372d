"""Objectives: the loss of an ANN's outputs, or of a spiking network's currents.

An objective gives a batch's loss in *passes*, one after the other, each followed by an optimiser
step. There is one pass, unless a simulation is trained in slices of time: then states are carried
from slice to slice and detached between them, so that memory does not grow with T.

With ``update = batch`` the optimiser steps after all slices of a batch, whose gradients add up;
slices of one step are then SLTT. If gradients come from K of the slices only, it is SLTT-K.

Shape:
    Samples ``[B, *input]``; targets ``[B, ...]``, or soft classes ``[B, classes]``; outputs
    ``[B, *out]``, a classifier's logits ``[B, classes]``.

Reference:
    STBP: Wu et al. 2018. Slices: LM-H, section on online training. SLTT: Meng et al. 2023, *Towards
    Memory- and Time-Efficient Backpropagation for Training Spiking Neural Networks*, Algorithm 1.

Deviations:
    SLTT: none. For SLTT-K the paper draws K steps, here K slices.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from snnconv.core import distributed
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Progress
from snnconv.data.dataset import batches
from snnconv.data.split import Split
from snnconv.engine.layer_output import LayerOutput, ObserverNeeds, WeightedSum
from snnconv.errors import UsageError
from snnconv.simulation.chunk import State
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import simulate
from snnconv.tasks.base import Task, Values
from snnconv.training.finite_differences import first_weight, follow_differences
from snnconv.training.held_out_score import Tally
from snnconv.training.losses.base import Given, Loss
from snnconv.training.teacher import Teacher

RATES = ObserverNeeds(counts=False)
"""Of a loss that compares layers: the values that neurons send."""


class Measured(NamedTuple):
    """A network on the samples held out.

    Attributes:
        score: the score that decides: an accuracy of a classifier.
        firing_rate: spikes per neuron and step; none for an ANN.
        right: which samples are right, as :func:`.uncertainty.packed` writes it; empty for an
            ANN, and for scores that are no share of right samples.
        scores: every score of the task; empty for an ANN.
    """

    score: float
    firing_rate: float | None
    right: str = ""
    scores: Values = {}  # noqa: RUF012 (nobody writes into it)


class Objective(Protocol):
    """What the training loop needs from a network."""

    @property
    def module(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def passes(self) -> int:
        """Losses that a batch gives."""
        ...

    @property
    def updates(self) -> bool:
        """Whether an optimiser step follows each pass; if not, one follows the last of a batch."""
        ...

    @property
    def frames_per_run(self) -> int | None:
        """Frames of a sample that are shown in turn; none if only their mean is shown."""
        ...

    @property
    def release(self) -> int:
        """Epochs after which neurons learn, too."""
        ...

    def begin(self, epoch: int) -> None:
        """Get ready for an epoch, counted from 1."""
        ...

    def targets(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return what outputs should be: the labels, or the ANN's outputs if the task has none.

        Args:
            x: samples, as :meth:`losses` takes them; targets are on their device.
            labels: theirs, if they have some.
        """
        ...

    def adapt(self, samples: Tensor, x: Tensor, targets: Tensor) -> None:
        """Get ready for an epoch, by its first batch, as :meth:`losses` takes it."""
        ...

    def losses(
        self, module: Callable[..., Any], samples: Tensor, x: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield loss ``[]`` and outputs ``[B, *out]`` of every pass.

        Args:
            module: :attr:`module`, or what wraps it.
            samples: which samples these are, ``[B]``.
            x: ``[B, *input]``; ``[f, B, *input]`` if frames are shown.
            targets: ``[B, ...]``, or soft classes ``[B, classes]``.
        """
        ...

    def measure(self) -> Measured:
        """Return figures of the module, in evaluation mode, on the samples held out."""
        ...

    def parameters(self) -> dict[str, float]:
        """Return the mean of what neurons learn, by parameter."""
        ...


@dataclass
class AnnLoss:
    """An ANN's loss by its task."""

    module: nn.Module
    task: Task
    smoothing: float
    validate: Callable[[], float]
    passes: int = 1
    updates: bool = True
    frames_per_run: None = None
    release: int = 0

    def begin(self, epoch: int) -> None:
        """See :class:`Objective`."""

    def targets(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """See :class:`Objective`."""
        assert labels is not None
        return labels.to(x.device)

    def adapt(self, samples: Tensor, x: Tensor, targets: Tensor) -> None:
        """See :class:`Objective`."""

    def losses(
        self, module: Callable[..., Any], samples: Tensor, x: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`Objective`."""
        logits = module(x)
        yield self.task.loss(logits, targets, self.smoothing), logits

    def measure(self) -> Measured:
        """See :class:`Objective`."""
        return Measured(self.validate(), None)

    def parameters(self) -> dict[str, float]:
        """Return the mean of what neurons learn, by parameter."""
        return {}


@dataclass
class ValidationSet:
    """The samples that a spiking network is measured on after every epoch.

    Attributes:
        split: where from.
        info: shape and normalisation.
        order: which, ``[n]``.
        at_once: samples and steps that are simulated at once.
        frames_per_run: frames of a sample that are shown in turn.
    """

    split: Split
    info: DataInfo
    order: Tensor
    at_once: BatchPlan
    frames_per_run: int = 1


@dataclass
class SpikingLoss:
    """A spiking network's loss over T steps, at once or in slices of time.

    Attributes:
        module: the network.
        task: whose loss and score.
        timesteps: T.
        slice: steps of a slice; T if there is one slice.
        loss: what is lowered.
        smoothing: of the labels.
        held_out: what it is measured on.
        device: where.
        progress: told of samples measured.
        release: epochs after which neurons learn, too; weights learn from the first.
        updates: whether each slice has an optimiser step.
        sampled: slices of a batch that gradients come from, drawn at random; none for all.
        teacher: the ANN that the loss compares with, or whose outputs are the targets.
    """

    module: SpikingNetwork
    task: Task
    timesteps: int
    slice: int
    loss: Loss
    smoothing: float
    held_out: ValidationSet
    device: torch.device
    progress: Progress
    release: int = 0
    updates: bool = True
    sampled: int | None = None
    teacher: Teacher | None = None

    def __post_init__(self) -> None:
        self.module.local = self.loss.local

    @property
    def frames_per_run(self) -> int:
        """See :class:`Objective`."""
        return self.held_out.frames_per_run

    def begin(self, epoch: int) -> None:
        """See :class:`Objective`."""
        for neuron in self.module.neurons.values():
            neuron.requires_grad_(epoch > self.release)

    def targets(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """See :class:`Objective`."""
        if self.task.supervised:
            assert labels is not None
            return labels.to(x.device)
        assert self.teacher is not None
        return self.teacher.answer(x.mean(0))[0]

    def adapt(self, samples: Tensor, x: Tensor, targets: Tensor) -> None:
        """Let surrogates follow the finite differences of the loss."""
        surrogates = [n.surrogate for n in self.module.neurons.values() if n.surrogate is not None]

        def loss() -> Tensor:
            found = [value for value, _ in self.losses(self.module, samples, x, targets)]
            return torch.stack(found).mean()

        self.module.eval()
        follow_differences(surrogates, first_weight(self.module.network), loss)
        self.module.train()

    @property
    def passes(self) -> int:
        """Slices of T steps; the last one may be shorter."""
        return -(-self.timesteps // self.slice)

    def losses(
        self, module: Callable[..., Any], samples: Tensor, x: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`Objective`."""
        state: State | None = None
        learning = set(range(self.passes))
        if self.sampled is not None and self.sampled < self.passes:
            learning = set(torch.randperm(self.passes)[: self.sampled].tolist())
        teacher, activations = (
            self.teacher.answer(x.mean(0)) if self.teacher and self.loss.taught else (None, {})
        )
        totals: dict[str, Tensor] = {}

        def observe(name: str, start: int, output: LayerOutput) -> None:
            if output.values is not None:
                totals[name] = output.values.sum(0)

        watch = (observe, RATES) if self.loss.by_layer else ()
        for index, start in enumerate(range(0, self.timesteps, self.slice)):
            steps = min(self.slice, self.timesteps - start)
            totals.clear()
            currents, state = module(x, steps, samples, state, *watch)
            given = Given(
                self.task,
                currents,
                targets,
                self.smoothing,
                teacher,
                {name: totals[name] / steps for name in activations if name in totals},
                activations,
                {n: neuron.theta(totals[n]) for n, neuron in self.module.neurons.items() if totals},
            )
            loss = self.loss.value(given)
            yield loss if index in learning else loss.detach(), currents.detach().mean(0)
            assert state is not None
            state = State(state.steps, detached(state.nodes))

    def measure(self) -> Measured:
        """See :class:`Objective`."""
        spikes = neurons = 0.0
        levels, sizes = self.module.levels, self.module.analysis.shapes
        needs = ObserverNeeds(
            counts=False,
            sums={
                name: WeightedSum(torch.ones(1, *sizes[name], device=self.device), levels)
                for name in self.module.neurons
            },
            values=False,
        )
        batch = 0

        def observe(name: str, start: int, output: LayerOutput) -> None:
            nonlocal spikes, neurons
            if output.sums is not None:
                spikes += int(output.sums.sum())
                neurons += len(output.sums) * batch * math.prod(sizes[name])

        held, T = self.held_out, self.timesteps
        mine = distributed.share(held.order)
        tally = Tally(held.info.task, len(held.order), self.device)
        with self.progress.task("validate", len(mine)) as advance:
            size, steps = held.at_once.samples, held.at_once.steps
            drawn = batches(held.split, held.info, mine, size, frames_per_run=held.frames_per_run)
            for indices, x, labels in drawn:
                x, samples = x.to(self.device), indices.to(self.device)
                batch = len(samples)
                average = simulate(self.module, x, samples, T, steps, observe, needs)
                tally.add(average[-1], self.targets(x, labels))
                advance(batch)
        spikes, neurons = distributed.total([spikes, neurons], self.device)
        return Measured(tally.score(), spikes / neurons, tally.right(), tally.scores())

    def parameters(self) -> dict[str, float]:
        """See :class:`Objective`."""
        found: dict[str, list[Tensor]] = {}
        for neuron in self.module.neurons.values():
            for name, learned in neuron.learnables().items():
                found.setdefault(name, []).append(learned.flatten().double())
        return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def slice_of(network: SpikingNetwork, timesteps: int, wanted: int | None) -> int:
    """Return the steps of a slice.

    Raises:
        UsageError: neurons that have to see all steps at once can't be trained in slices.
    """
    if wanted is None or wanted >= timesteps:
        return timesteps
    if not network.causal:
        raise UsageError(
            "these neurons can't be trained in slices of time",
            f"each of their steps depends on all {timesteps}, and a slice has {wanted}",
            "drop --slice, or convert with a causal kind: --neuron if, or lm-ht with "
            "--param omega=causal",
        )
    return wanted


def detached(state: Any) -> Any:
    """Return a state of the same form, detached from its history."""
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, Mapping):
        return {key: detached(value) for key, value in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(detached, state))
    if isinstance(state, list | tuple):
        return type(state)(map(detached, state))
    return state

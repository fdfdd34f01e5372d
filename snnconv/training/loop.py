"""The training loop, for an ANN and for a spiking network alike: SGD, cosine schedule, warm-up.

It yields a row an epoch and prints nothing. Everything random in an epoch depends on the seed and
the epoch's number only, so a training that is resumed after any epoch ends in the same bits.

Reference:
    Mixup: Zhang et al. 2018. CutMix: Yun et al. 2019.

Deviations:
    None.
"""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snnconv.config import OptimiserConfig
from snnconv.core import distributed, runtime
from snnconv.core.bounds import SEED
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Progress
from snnconv.core.shapes import fold_time, unfold_time
from snnconv.core.uncertainty import interval
from snnconv.data.augment import augmentation, mixture
from snnconv.data.dataset import batches
from snnconv.data.split import Split, strata, subset
from snnconv.errors import CheckFailedError, UsageError, one_line
from snnconv.graph.network import Network
from snnconv.neurons.norms.potentials import PotentialNorm
from snnconv.reports import EpochRow
from snnconv.training.held_out_score import ACCURACY_OF
from snnconv.training.objective import Measured, Objective
from snnconv.training.optimiser import (
    SAVED,
    Average,
    learning_rate,
    middle,
    optimiser,
    restore,
    saved,
)
from snnconv.training.resume import check_tensors
from snnconv.training.step_cost import StepCost, least, timed


@dataclass(frozen=True)
class HeldOutSplit:
    """The training split in two: to train on, and to measure each epoch on."""

    train: Tensor
    validation: Tensor


def hold_out(split: Split, share: float, limit: int | None, seed: int) -> HeldOutSplit:
    """Hold out a share of each class, evenly spread: the same for every seed and every stage.

    With a limit, both parts are subsets of what they are without one (:func:`~.dataset.subset`),
    so no stage trains on what another held out.

    Args:
        split: the training split.
        share: of the samples that is held out, at least one sample.
        limit: samples of both parts together; all by default.
        seed: of the subsets.

    Raises:
        UsageError: fewer than two samples.
    """
    labels = strata(split)
    count = min(len(labels), limit or len(labels))
    if count < 2:
        raise UsageError(
            "there is nothing to train on apart from the held-out samples",
            f"{count} training sample",
            "give more: --limit 2 or above",
        )
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten()
        due = (torch.arange(len(members) + 1, dtype=torch.float64) * share).floor()
        held[members[due.diff() > 0]] = True
    if not held.any():
        held[-1] = True
    train, validation = torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()
    if count < len(labels):
        few = min(max(1, math.floor(count * share)), len(validation))
        train = train[subset(labels[train], count - few, seed)]
        validation = validation[subset(labels[validation], few, seed)]
    return HeldOutSplit(train, validation)


def named_state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Return parameters and buffers; those of a graph under the graph's names."""
    names = {
        id(part.tensor(name)): name
        for part in module.modules()
        if isinstance(part, Network)
        for name in part.graph.tensor_names()
    }
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        yield f"'{names.get(id(tensor), name)}'", tensor


_APART = 7_368_787  # between the seeds of two processes


def _channels_last(x: Tensor, rank: int) -> Tensor:
    """Return images ``[B, C, H, W]``, or frames of them, in the memory layout of networks."""
    if rank != 3:
        return x
    images = fold_time(x) if x.dim() > 4 else x
    images = images.contiguous(memory_format=torch.channels_last)
    return unfold_time(images, len(x)) if x.dim() > 4 else images


@dataclass
class _Sums:
    """What an epoch adds up."""

    loss: float = 0.0
    correct: int = 0
    costs: list[StepCost] = field(default_factory=list)


class Training:
    """A training between two epochs.

    Args:
        objective: what is trained, and by which loss.
        split: the samples.
        info: their shape and normalisation.
        config: the options.
        parts: which samples to train on.
        device: where.
        progress: told of samples done.

    Attributes:
        epoch: epochs done.
        measured: the module after the last of them, on the samples held out.
    """

    measured: Measured

    def __init__(
        self,
        objective: Objective,
        split: Split,
        info: DataInfo,
        config: OptimiserConfig,
        parts: HeldOutSplit,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.objective, self.config = objective, config
        self.split, self.info, self.parts = split, info, parts
        self.device, self.progress = device, progress
        self.module = objective.module
        self.epoch, self._first = 0, 1
        self._descent = optimiser(self.module, config)
        self._average = None if config.ema is None else Average(self.module, config.ema)
        self._counts = info.task == ACCURACY_OF
        self._augment = augmentation(config.augment, info.shape)
        self._mix = mixture(config.mix, config.alphas(), len(info.classes), info.shape)
        # of several processes, each one's gradients become the mean of all
        self._called = (
            DistributedDataParallel(self.module, find_unused_parameters=objective.release > 0)
            if distributed.size() > 1
            else None
        )
        for part in self.module.modules():
            if isinstance(part, Network | PotentialNorm):
                part.synchronised = config.sync_batchnorm and distributed.size() > 1
        self._order = torch.Generator().manual_seed(config.seed)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next epoch depends on, by name: copies, on the CPU."""
        found = {f"module/{name}": tensor for name, tensor in self.module.state_dict().items()}
        found |= saved(self._descent, self.module)
        if self._average is not None:
            found |= {f"learning/{n}": t for n, t in self._average.tensors.items()}
        found["order"] = self._order.get_state()
        return {name: tensor.detach().cpu().clone() for name, tensor in found.items()}

    def restore(self, state: dict[str, Tensor], epoch: int) -> None:
        """Go on from :meth:`state` after so many epochs.

        Raises:
            ValueError: the state of another training.
        """
        sections = ("module", "order", "learning", *SAVED)
        parts: dict[str, dict[str, Tensor]] = {section: {} for section in sections}
        for key, tensor in state.items():
            part, _, name = key.partition("/")
            if part not in parts:
                raise ValueError(f"the unknown tensor '{key}'")
            parts[part][name] = tensor
        check_tensors(parts["module"], self.module.state_dict())
        check_tensors(parts["learning"], self._average.tensors if self._average else {})
        check_tensors(parts["order"], {"": self._order.get_state()})
        if not 0 <= epoch <= self.config.epochs:
            raise ValueError(f"epoch {epoch} of {self.config.epochs}")
        try:
            self._order.set_state(parts["order"][""])
        except RuntimeError as error:
            raise ValueError(f"an order of samples that can't be ({one_line(error)})") from error
        self.module.load_state_dict(parts["module"])
        restore(self._descent, self.module, parts)
        for name, tensor in parts["learning"].items():
            assert self._average is not None
            self._average.tensors[name].copy_(tensor)
        self.epoch, self._first = epoch, epoch + 1

    def epochs(self) -> Iterator[EpochRow]:
        """Train to the end; a row after each epoch, with the module in evaluation mode.

        Raises:
            CheckFailedError: the loss, a weight, a statistic of BatchNorm or what a neuron learns
                is not finite any more.
        """
        while self.epoch < self.config.epochs:
            self.epoch += 1
            with runtime.generators_kept():  # an epoch seeds them
                row = self._epoch(self.epoch)
            yield row

    def _epoch(self, epoch: int) -> EpochRow:
        started, config, train = time.perf_counter(), self.config, self.parts.train
        if self._average is not None and epoch > 1:
            self._average.swap()
        self.module.train()
        self.objective.begin(epoch)
        sums = _Sums()
        shuffled = train[torch.randperm(len(train), generator=self._order)]
        # augmentation and dropout, of another kind on each process
        own = config.seed * 1_000_003 + epoch + _APART * distributed.rank()
        torch.manual_seed(own % (SEED + 1))
        wholes = shuffled.split(config.batch_size * distributed.size())
        shown = self.objective.frames_per_run
        with self.progress.task(f"epoch {epoch}/{config.epochs}", len(train)) as advance:
            for step, whole in enumerate(wholes):
                rate = learning_rate(config, middle(epoch - 1, step, len(wholes)))
                for group in self._descent.param_groups:
                    group["lr"] = rate * group["pace"]
                mine = distributed.share(whole)
                weight = len(mine) * distributed.size() / len(whole)
                mine = mine if len(mine) else whole[:1]  # at no weight, to take part in the step
                drawn = batches(self.split, self.info, mine, len(mine), self._augment, shown)
                ((indices, x, labels),) = drawn
                x = x.to(self.device)
                targets = self.objective.targets(x, labels)
                if self._mix is not None:
                    mix = self._mix if shown is None else self._mixed
                    x, targets = mix(x, targets)
                x = _channels_last(x, len(self.info.shape))
                samples = indices.to(self.device)
                where = f"epoch {epoch}, step {step + 1} of {len(wholes)}"
                if step == 0:
                    self.objective.adapt(samples, x, targets)
                batch = partial(self._batch, samples, x, targets, weight, sums, where)
                cost = timed(batch, self.device, self._weighs(step))
                if len(whole) == len(wholes[0]):  # the last batch may be smaller
                    sums.costs.append(cost)
                advance(len(whole))
        self.module.eval()
        if self._average is not None:
            self._average.swap()
        self._refuse_not_finite(epoch)
        loss, correct = distributed.total([sums.loss, sums.correct], self.device)
        measured = self.measured = self.objective.measure()
        return EpochRow(
            epoch=epoch,
            loss=loss / len(train),
            train_accuracy=correct / len(train) if self._counts else None,
            accuracy=measured.score if self._counts else None,
            accuracy_interval=interval(measured.score, len(self.parts.validation))
            if self._counts
            else None,
            score=measured.score,
            scores=measured.scores,
            firing_rate=measured.firing_rate,
            neuron_parameters=self.objective.parameters(),
            learning_rate=self._descent.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
            **least(sums.costs)._asdict(),
        )

    def _weighs(self, step: int) -> bool:
        """Whether to measure the memory of a step: of the second, in which all is in place."""
        return self.config.step_memory and step == 1 and self.epoch == self._first

    def _refuse_not_finite(self, epoch: int) -> None:
        """End a training if a weight, a statistic or a neuron's parameter is not finite any more.

        The loss may still be finite: no loss has been computed with the last step's weights yet,
        and BatchNorm does not train with its running statistics.
        """
        lost = [name for name, t in named_state(self.module) if not torch.isfinite(t).all()]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise CheckFailedError(
                "training diverged",
                f"NaN or Inf in {lost[0]}{more} after epoch {epoch}",
                f"lower the learning rate: --lr {self.config.lr / 10:g}; if that does not help, "
                "look for huge values in the data, their mean and std",
            )

    def _mixed(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frames ``[f, B, C, ...]`` of a batch, all frames of a sample mixed alike."""
        assert self._mix is not None
        mixed, labels = self._mix(x.movedim(0, 1).flatten(1, 2), labels)
        return mixed.unflatten(1, (len(x), -1)).movedim(1, 0), labels

    def _batch(
        self,
        samples: Tensor,
        x: Tensor,
        targets: Tensor,
        share: float,
        sums: _Sums,
        where: str,
    ) -> None:
        """Take all passes of one batch, with an optimiser step after each, or after all of them.

        A batch may be computed in parts, whose gradients add up to the batch's own; the parts go
        through their passes side by side. ``share`` is the batch's weight in the mean over
        processes: 1 if all have equally many samples.
        """
        called = self._called or self.module
        counted = len(samples) if share else 0
        config, passes = self.config, self.objective.passes
        along = 0 if self.objective.frames_per_run is None else 1
        parts = [v.chunk(config.accumulate) for v in (samples, targets)]
        parts.insert(1, x.chunk(config.accumulate, along))
        runs = [
            (self.objective.losses(called, *part), len(part[0]) / len(samples))
            for part in zip(*parts, strict=True)
        ]
        logits: list[Tensor] = [torch.zeros(())] * len(runs)
        updates = self.objective.updates
        for number in range(passes):
            ends = updates or number == passes - 1
            if updates or number == 0:
                self._descent.zero_grad()
            for index, (run, weight) in enumerate(runs):
                last = index == len(runs) - 1
                with (
                    torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16),
                    # processes add their gradients up once a step, behind its last part
                    self._called.no_sync()
                    if self._called and not (last and ends)
                    else nullcontext(),
                ):
                    value, found = next(run)
                if not torch.isfinite(value):
                    raise CheckFailedError(
                        "training diverged",
                        f"loss {value.item()} in {where}",
                        f"lower the learning rate: --lr {config.lr / 10:g}",
                    )
                if value.requires_grad:
                    (value * (weight * share / (1 if updates else passes))).backward()
                sums.loss += value.item() * weight * counted / passes
                logits[index] = logits[index].to(found.device) + found.detach()
            if not ends:
                continue
            if config.clip_gradient is not None:
                nn.utils.clip_grad_norm_(self.module.parameters(), config.clip_gradient)
            self._descent.step()
            if self._average is not None:
                self._average.update()
        if not self._counts:
            return
        classes = targets.argmax(1) if targets.dim() > 1 else targets
        right = torch.cat(logits).argmax(1) == classes
        sums.correct += int(right.sum()) if share else 0

"""The training loop, for an ANN and for a spiking network alike: SGD, cosine schedule, warm-up.

It yields a row an epoch and prints nothing. Everything random in an epoch depends on the seed and
the epoch's number only, so a training that is resumed after any epoch ends in the same bits.

Reference:
    Mixup: Zhang et al. 2018. CutMix: Yun et al. 2019.

Deviations:
    Weight decay acts on weights of two or more dimensions only: not on biases, BatchNorm or what
    neurons learn, where it has no regularising effect and moves firing rates.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

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
from snnconv.neurons.base import Neuron
from snnconv.reports import EpochRow
from snnconv.training.objective import Measured, Objective
from snnconv.training.tally import ACCURACY_OF


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


def optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.SGD:
    """Return SGD with weight decay on weights only."""
    of_neurons = {
        id(p) for part in module.modules() if isinstance(part, Neuron) for p in part.parameters()
    }
    trained = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.dim() > 1 and id(p) not in of_neurons]
    ids = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": [p for p in trained if id(p) not in ids], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def learning_rate(config: OptimiserConfig, epoch: float) -> float:
    """Return the rate: linear warm-up from zero, then half a cosine down to zero.

    The rate is zero at both ends, but no step has it: a step takes the rate of its middle
    (:func:`middle`).

    Args:
        config: the peak rate, and how long warm-up and training last.
        epoch: the time, counted from 0, with fractions.
    """
    if epoch < config.warmup:
        return config.lr * epoch / config.warmup
    share = (epoch - config.warmup) / max(config.epochs - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def middle(epoch: int, step: int, steps: int) -> float:
    """Return the time in the middle of a step: ``epoch + (step + 1/2)/steps``, counted from 0."""
    return epoch + (step + 0.5) / steps


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


def check_tensors(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Check that tensors have the names, types and shapes of others.

    Raises:
        ValueError: they have not; names the first.
    """
    for name in sorted({*given, *wanted}):
        if name not in given:
            raise ValueError(f"the tensor '{name}' is missing")
        if name not in wanted:
            raise ValueError(f"the tensor '{name}', which the network has not")
        one, other = given[name], wanted[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            found = f"{list(one.shape)} of {one.dtype}, not {list(other.shape)} of {other.dtype}"
            raise ValueError(f"the tensor '{name}' is {found}")


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
        self.epoch = 0
        self._descent = optimiser(self.module, config)
        self._counts = info.task == ACCURACY_OF
        self._augment = augmentation(config.augment, info.shape)
        self._mix = mixture(config.mix, config.mix_alpha, len(info.classes), info.shape)
        # of several processes, each one's gradients become the mean of all
        self._called = (
            DistributedDataParallel(self.module, find_unused_parameters=objective.release > 0)
            if distributed.size() > 1
            else None
        )
        for part in self.module.modules():
            if isinstance(part, Network):
                part.synchronised = config.sync_batchnorm and distributed.size() > 1
        self._order = torch.Generator().manual_seed(config.seed)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next epoch depends on, by name: copies, on the CPU."""
        found = {f"module/{name}": tensor for name, tensor in self.module.state_dict().items()}
        for name, parameter in self.module.named_parameters():
            momentum = self._descent.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                found[f"momentum/{name}"] = momentum
        found["order"] = self._order.get_state()
        return {name: tensor.detach().cpu().clone() for name, tensor in found.items()}

    def restore(self, state: dict[str, Tensor], epoch: int) -> None:
        """Go on from :meth:`state` after so many epochs.

        Raises:
            ValueError: the state of another training.
        """
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "momentum": {}, "order": {}}
        for key, tensor in state.items():
            part, _, name = key.partition("/")
            if part not in parts:
                raise ValueError(f"the unknown tensor '{key}'")
            parts[part][name] = tensor
        parameters = dict(self.module.named_parameters())
        check_tensors(parts["module"], self.module.state_dict())
        check_tensors(
            parts["momentum"], {n: p for n, p in parameters.items() if n in parts["momentum"]}
        )
        check_tensors(parts["order"], {"": self._order.get_state()})
        if not 0 <= epoch <= self.config.epochs:
            raise ValueError(f"epoch {epoch} of {self.config.epochs}")
        try:
            self._order.set_state(parts["order"][""])
        except RuntimeError as error:
            raise ValueError(f"an order of samples that can't be ({one_line(error)})") from error
        self.module.load_state_dict(parts["module"])
        for name, momentum in parts["momentum"].items():
            # in the parameter's own memory layout, as the optimiser makes it
            own = torch.empty_like(parameters[name]).copy_(momentum).detach()
            self._descent.state[parameters[name]]["momentum_buffer"] = own
        self.epoch = epoch

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
                for group in self._descent.param_groups:
                    group["lr"] = learning_rate(config, middle(epoch - 1, step, len(wholes)))
                mine = distributed.share(whole)
                weight = len(mine) * distributed.size() / len(whole)
                mine = mine if len(mine) else whole[:1]  # at no weight, to take part in the step
                drawn = batches(self.split, self.info, mine, len(mine), self._augment, shown)
                ((indices, x, labels),) = drawn
                assert labels is not None
                x, labels = x.to(self.device), labels.to(self.device)
                if self._mix is not None:
                    x, labels = self._mix(x, labels) if shown is None else self._mixed(x, labels)
                x = _channels_last(x, len(self.info.shape))
                where = f"epoch {epoch}, step {step + 1} of {len(wholes)}"
                self._batch(indices.to(self.device), x, labels, weight, sums, where)
                advance(len(whole))
        self.module.eval()
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
            firing_rate=measured.firing_rate,
            neuron_parameters=self.objective.parameters(),
            learning_rate=self._descent.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
        )

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
        labels: Tensor,
        share: float,
        sums: _Sums,
        where: str,
    ) -> None:
        """Yield all passes of one batch, each with its optimiser step.

        A batch may be computed in parts, whose gradients add up to the batch's own; the parts go
        through their passes side by side. ``share`` is the batch's weight in the mean over
        processes: 1 if all have equally many samples.
        """
        called = self._called or self.module
        counted = len(samples) if share else 0
        config, passes = self.config, self.objective.passes
        along = 0 if self.objective.frames_per_run is None else 1
        parts = [v.chunk(config.accumulate) for v in (samples, labels)]
        parts.insert(1, x.chunk(config.accumulate, along))
        runs = [
            (self.objective.losses(called, *part), len(part[0]) / len(samples))
            for part in zip(*parts, strict=True)
        ]
        logits: list[Tensor] = [torch.zeros(())] * len(runs)
        for _ in range(passes):
            self._descent.zero_grad()
            for index, (run, weight) in enumerate(runs):
                last = index == len(runs) - 1
                with (
                    torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16),
                    # processes add their gradients up once a step, behind its last part
                    self._called.no_sync() if self._called and not last else nullcontext(),
                ):
                    value, found = next(run)
                if not torch.isfinite(value):
                    raise CheckFailedError(
                        "training diverged",
                        f"loss {value.item()} in {where}",
                        f"lower the learning rate: --lr {config.lr / 10:g}",
                    )
                (value * (weight * share)).backward()
                sums.loss += value.item() * weight * counted / passes
                logits[index] = logits[index].to(found.device) + found.detach()
            if config.clip_gradient is not None:
                nn.utils.clip_grad_norm_(self.module.parameters(), config.clip_gradient)
            self._descent.step()
        if not self._counts:
            return
        classes = labels.argmax(1) if labels.dim() > 1 else labels
        right = torch.cat(logits).argmax(1) == classes
        sums.correct += int(right.sum()) if share else 0

"""Early exit: each sample stops as soon as the network is sure of its class.

A network is sure of a sample at the first step t with ``p1 - p2 >= margin``, where ``p1`` and
``p2`` are the largest and the second largest of ``softmax`` of the logits averaged up to t. A
sample that it is never sure of stops at T. Steps without an answer, and steps before
``--readout-from``, are none to stop at. What a sample costs are the operations of the steps that it
took; steps that some neurons take before the T steps count for every sample.

The figures stand under ``early_exit``: ``margin``; ``accuracy`` of the classes at the exits;
``steps_mean``; ``samples_by_step``, how many samples stop after each step; ``sops_per_sample``;
``energy_total_mj`` as the metric energy counts it, and ``energy_total_ratio`` to the ANN's.

Shape:
    Logits ``[T, B, classes]``; operations ``[T, B]``.

Reference:
    Li, Jones & Furber 2023, *Unleashing the Potential of Spiking Neural Networks with Dynamic
    Confidence*; Li et al. 2023, *SEENN*.

Deviations:
    The measure is the margin of the two largest probabilities; both papers take the largest one,
    and learn or search for the bound that is given here.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.core.uncertainty import wilson
from snnconv.metrics.base import MJ_PER_PJ, Batch, Figures, Metric, MetricContext, at_first


class EarlyExit(Metric):
    """Adds up what samples cost until they stop."""

    tasks = ("classification",)
    counted = False
    valued = False
    led = True
    added = ("by_step", "right", "operations")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.by_step = torch.zeros(context.timesteps, dtype=torch.int64)
        self.right = self.operations = 0
        kept = context.at_answers([True] * context.timesteps)
        self.exits = torch.tensor([bool(there) for there in kept])

    def begin(self, batch: Batch) -> None:
        """Start to count the operations of each sample."""
        super().begin(batch)
        assert batch.labels is not None
        self.labels = batch.labels.cpu()
        self.of_batch = torch.zeros(self.context.timesteps, len(self.labels), dtype=torch.int64)

    def weights(self) -> Mapping[str, Tensor]:
        """A spike counts its fan-out."""
        return self.context.analysis.fan_out

    def add_by_sample(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk of each sample."""
        start, sums = at_first(start, sums)
        self.of_batch[start : start + len(sums)] += sums.long()

    def finish(self, logits: Tensor) -> None:
        """Find where each sample stops, and what it has cost until then."""
        logits = logits.cpu()
        sure = margins(logits) >= self.context.exit_margin
        sure &= self.exits[:, None]
        sure[-1] = True
        exit_at = sure.to(torch.uint8).argmax(0)
        samples = torch.arange(len(exit_at))
        self.by_step += torch.bincount(exit_at, minlength=len(self.by_step))
        self.right += int((logits.argmax(2)[exit_at, samples] == self.labels).sum())
        self.operations += int(self.of_batch.cumsum(0)[exit_at, samples].sum())

    def figures(self, found: Figures) -> Figures:
        """Means over samples."""
        context, n = self.context, self.samples
        counts = list(enumerate(self.by_step.tolist(), start=1))
        steps = sum(t * number for t, number in counts) / n
        passes = sum(context.passes(t) * number for t, number in counts) / n
        sops, accuracy = self.operations / n, self.right / n
        spikes = context.energy_ac_pj * sops * MJ_PER_PJ
        energy = spikes + context.energy_mj(context.work_until(steps, passes))
        ann = context.energy_mj(context.analysis.work_count.total)
        return Figures(
            {
                "early_exit": {
                    "margin": context.exit_margin,
                    "accuracy": accuracy,
                    "accuracy_interval": wilson(accuracy, n),
                    "steps_mean": steps,
                    "samples_by_step": self.by_step.tolist(),
                    "sops_per_sample": sops,
                    "energy_total_mj": energy,
                    "energy_total_ratio": energy / ann if ann else None,
                }
            }
        )


def margins(logits: Tensor) -> Tensor:
    """Return how much more probable the first class is than the second, ``[..., classes]``."""
    if logits.shape[-1] < 2:
        return torch.ones(logits.shape[:-1])
    first, second = logits.softmax(-1).topk(2, -1).values.unbind(-1)
    return first - second


METRIC = EarlyExit

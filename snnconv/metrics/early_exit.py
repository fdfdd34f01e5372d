"""Early exit: each sample stops as soon as the network is sure of its answer.

A network is sure of a sample at the first step t at which the confidence of its outputs, averaged
up to t, reaches ``margin``. The task defines the confidence (:meth:`.Task.confidence`)::

    classification  p1 - p2, of the largest and the second largest of softmax
    multi-label     |2 sigmoid(x) - 1|, the least over labels
    segmentation    p1 - p2 of each place, the mean over places
    none            as classification or segmentation, by the shape of the outputs
    regression, ranking, one output of none: there is no confidence, and so no early exit

A sample of which the network is never sure stops at T. No sample stops at a step without an answer,
or before ``--readout-from``. A sample costs the operations of the steps that it took; steps that
some neurons take before the T steps count for every sample.

The figures stand under ``early_exit``: ``margin``; ``scores`` of the outputs at the exits, and the
``accuracy`` among them; ``steps_mean``; ``samples_by_step``, how many samples stop after each step;
``sops_per_sample``; ``energy_total_mj`` as the metric energy counts it, and ``energy_total_ratio``
to the ANN's.

Shape:
    Outputs ``[T, B, *out]``; operations ``[T, B]``.

Reference:
    Li, Jones & Furber 2023, *Unleashing the Potential of Spiking Neural Networks with Dynamic
    Confidence*; Li et al. 2023, *SEENN*.

Deviations:
    The measure is the margin of the two largest probabilities. Both papers take the largest
    probability, and learn or search for the bound, which the user gives here. They have only
    classes; the confidence for other tasks is snnconv's own.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.core.scores import ACCURACY
from snnconv.core.uncertainty import wilson
from snnconv.metrics.base import MJ_PER_PJ, Batch, Figures, Metric, MetricContext, at_first
from snnconv.tasks.base import TASKS


class EarlyExit(Metric):
    """Adds up what samples cost until they stop, and the scores of the outputs then."""

    counted = False
    valued = False
    led = True
    added = ("by_step", "rows", "seen", "operations")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.task = TASKS.recall(context.task)
        self.outputs = context.analysis.outputs
        self.by_step = torch.zeros(context.timesteps, dtype=torch.int64)
        self.operations = 0
        kept = 1 if self.task.summed else context.population
        self.rows = torch.zeros(kept, self.task.width(self.outputs), dtype=torch.float64)
        self.seen = torch.zeros(kept, dtype=torch.int64)
        answers = context.at_answers([True] * context.timesteps)
        self.exits = torch.tensor([bool(there) for there in answers])

    def begin(self, batch: Batch) -> None:
        """Start counting the operations of each sample."""
        super().begin(batch)
        self.batch = batch
        self.of_batch = torch.zeros(self.context.timesteps, len(batch), dtype=torch.int64)

    def weights(self) -> Mapping[str, Tensor]:
        """Return each neuron's fan-out, because a spike counts its fan-out."""
        return self.context.analysis.fan_out

    def add_by_sample(self, name: str, start: int, sums: Tensor) -> None:
        """Add a chunk for each sample."""
        start, sums = at_first(start, sums)
        self.of_batch[start : start + len(sums)] += sums.long()

    def finish(self, logits: Tensor) -> None:
        """Find where each sample stops, what it has cost until then, and its outputs."""
        outputs, batch = logits.cpu(), self.batch
        confidence = self.task.confidence(outputs)
        assert confidence is not None
        sure = (confidence >= self.context.exit_margin) & self.exits[:, None]
        sure[-1] = True
        exit_at = sure.to(torch.uint8).argmax(0)
        samples = torch.arange(len(exit_at))
        self.by_step += torch.bincount(exit_at, minlength=len(self.by_step))
        self.operations += int(self.of_batch.cumsum(0)[exit_at, samples].sum())
        targets = batch.labels if self.task.supervised else batch.ann_logits
        assert targets is not None
        row = samples * 0
        if not self.task.summed:
            assert batch.samples is not None
            row = batch.samples.cpu()
        at_exit = outputs[exit_at, samples]
        self.rows.index_add_(0, row, self.task.rows(at_exit[None], targets.cpu())[0])
        self.seen.index_add_(0, row, torch.ones_like(row))

    def figures(self, found: Figures) -> Figures:
        """Return means over samples, and the scores of all samples."""
        context, n = self.context, self.samples
        counts = list(enumerate(self.by_step.tolist(), start=1))
        steps = sum(t * number for t, number in counts) / n
        passes = sum(context.passes(t) * number for t, number in counts) / n
        sops = self.operations / n
        spikes = context.energy_ac_pj * sops * MJ_PER_PJ
        energy = spikes + context.energy_mj(context.work_until(steps, passes))
        ann = context.energy_mj(context.analysis.work_count.total)
        values = self.task.values(self.rows[self.seen > 0])
        scores = {kind.name: values[kind.name] for kind in self.task.scores(self.outputs)}
        accuracy = scores.get(ACCURACY.name)
        return Figures(
            {
                "early_exit": {
                    "margin": context.exit_margin,
                    "scores": scores,
                    "accuracy": accuracy,
                    "accuracy_interval": None if accuracy is None else wilson(accuracy, n),
                    "steps_mean": steps,
                    "samples_by_step": self.by_step.tolist(),
                    "sops_per_sample": sops,
                    "energy_total_mj": energy,
                    "energy_total_ratio": energy / ann if ann else None,
                }
            }
        )


METRIC = EarlyExit

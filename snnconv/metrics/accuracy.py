"""Accuracy at every step 1..T, beside the ANN's on the same samples.

Logits at step t are the mean of the last layer's currents over steps 1..t. ``steps_to_ann`` is the
first step whose accuracy lies within 1.0, 0.5 and 0.1 points of the ANN's, or null.
``logits_relative_error`` is ``|SNN - ANN| / |ANN|`` (L2 over all samples) at T. A network that was
trained with its neurons has its accuracy alone: no ANN stands behind it.

Shape:
    Logits ``[T, B, classes]``.

Reference:
    Methods, section 10.

Deviations:
    None.
"""

import torch
from torch import Tensor

from snnconv.metric import Batch, Figures, Metric, Setup

_WITHIN = (1.0, 0.5, 0.1)  # points


class Accuracy(Metric):
    """Counts what is right."""

    counted = False
    valued = False
    added = ("right", "compared", "agreed", "ann_right", "error", "norm")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.right = torch.zeros(setup.timesteps, dtype=torch.int64)
        self.agreed = torch.zeros(setup.timesteps, dtype=torch.int64)
        self.ann_right = 0
        self.compared = 0
        self.error = self.norm = 0.0

    def begin(self, batch: Batch) -> None:
        """Keep the batch for its end."""
        super().begin(batch)
        self.batch = batch

    def finish(self, logits: Tensor) -> None:
        """Compare with labels and with the ANN."""
        said, reference = logits.argmax(2), self.batch.ann_logits
        self.right += (said == self.batch.labels).sum(1).cpu()
        if reference is None:
            return
        self.compared += len(said[0])
        ann, reference = reference.argmax(1), reference.double()
        self.agreed += (said == ann).sum(1).cpu()
        self.ann_right += int((ann == self.batch.labels).sum())
        self.error += float((logits[-1] - reference).square().sum())
        self.norm += float(reference.square().sum())

    def figures(self, found: Figures) -> Figures:
        """Fractions 0..1."""
        accuracy = (self.right.double() / self.samples).tolist()
        if not self.compared:
            return Figures({"accuracy": accuracy})
        ann = self.ann_right / self.samples
        reached = {
            str(points): next(
                (
                    t
                    for t, right in enumerate(self.right.tolist(), start=1)
                    if right + 1e-9 >= self.ann_right - points / 100 * self.samples
                ),
                None,
            )
            for points in _WITHIN
        }
        return Figures(
            {
                "accuracy": accuracy,
                "ann_accuracy": ann,
                "agreement": (self.agreed.double() / self.samples).tolist(),
                "steps_to_ann": reached,
                "logits_relative_error": (self.error / self.norm) ** 0.5 if self.norm else None,
            }
        )


METRIC = Accuracy

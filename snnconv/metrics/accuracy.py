"""Accuracy at every step 1..T, and that of the ANN on the same samples.

Logits at step t are the mean of the last layer's currents over steps 1..t. If neurons need later
steps before their output up to t is final, there is no accuracy at t: null. ``steps_to_ann`` is the
first step whose accuracy lies within 1.0, 0.5 and 0.1 points of the ANN's, or null.
``logits_relative_error`` is ``|SNN - ANN| / |ANN|`` (L2 over all samples) at T. For a network that
was trained with its neurons, there is no ANN to compare with.

``accuracy_interval`` and ``ann_accuracy_interval`` are 95 % Wilson intervals. ``against_ann`` is
McNemar's exact test at T. ``outcomes`` says which samples are right, a bit each in the order of
their indices, at T and at the powers of two before it, so that other runs can be tested against
this one; ``classes`` is how many classes these samples have. If another metric asks for the
quantized twin (:mod:`snnconv.simulation.twin`), ``twin_accuracy`` and ``against_twin`` give the
same figures for it.

Shape:
    Logits ``[T, B, classes]``.

Reference:
    Methods: "Counting"; intervals and tests: :mod:`snnconv.core.uncertainty`.

Deviations:
    None.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor

from snnconv.core.scores import MARGINS
from snnconv.core.uncertainty import discordant, mcnemar, packed, unpacked, wilson
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext


class Accuracy(Metric):
    """Counts the samples that are classified correctly."""

    tasks = ("classification",)
    counted = False
    valued = False
    added = (
        *("right", "compared", "agreed", "ann_right", "error", "norm", "twins", "twin_right"),
        *("labels", "right_by_sample", "ann_right_by_sample", "twin_right_by_sample"),
    )

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        T = context.timesteps
        self.right = torch.zeros(T, dtype=torch.int64)
        self.agreed = torch.zeros(T, dtype=torch.int64)
        self.ann_right = 0
        self.compared = self.twins = self.twin_right = 0
        self.error = self.norm = 0.0
        kept = context.at_answers(t == T or t & (t - 1) == 0 for t in range(1, T + 1))
        self.kept = [t for t, wanted in enumerate(kept) if wanted]
        n = context.population
        self.labels = torch.zeros(n, dtype=torch.int64)  # from 1; 0: not simulated
        self.right_by_sample = torch.zeros(len(self.kept), n, dtype=torch.uint8)
        self.ann_right_by_sample = torch.zeros(n, dtype=torch.uint8)
        self.twin_right_by_sample = torch.zeros(n, dtype=torch.uint8)

    def begin(self, batch: Batch) -> None:
        """Keep the batch until its end."""
        super().begin(batch)
        self.batch = batch

    def finish(self, logits: Tensor) -> None:
        """Compare with labels and with the ANN."""
        said, reference = logits.argmax(2), self.batch.ann_logits
        labels, samples = self.batch.labels, self.batch.samples
        assert labels is not None
        right = (said == labels).cpu()
        self.right += right.sum(1)
        samples = samples.cpu() if samples is not None and self.context.population else None
        if samples is not None:
            self.labels[samples] = labels.cpu() + 1
            self.right_by_sample[:, samples] = right[self.kept].to(torch.uint8)
        if self.batch.twin is not None:
            twin_right = (self.batch.twin.logits.argmax(1) == labels).cpu()
            self.twins += len(twin_right)
            self.twin_right += int(twin_right.sum())
            if samples is not None:
                self.twin_right_by_sample[samples] = twin_right.to(torch.uint8)
        if reference is None:
            return
        self.compared += len(said[0])
        ann, reference = reference.argmax(1), reference.double()
        self.agreed += (said == ann).sum(1).cpu()
        ann_right = (ann == labels).cpu()
        self.ann_right += int(ann_right.sum())
        if samples is not None:
            self.ann_right_by_sample[samples] = ann_right.to(torch.uint8)
        self.error += float((logits[-1] - reference).square().sum())
        self.norm += float(reference.square().sum())

    def figures(self, found: Figures) -> Figures:
        """Return fractions 0..1."""
        n, at_answers = self.samples, self.context.at_answers
        accuracy = at_answers((self.right.double() / n).tolist())
        totals: dict[str, Any] = {
            "accuracy": accuracy,
            "accuracy_interval": [None if a is None else wilson(a, n) for a in accuracy],
        }
        if self.compared:
            ann = self.ann_right / n
            totals |= {
                "ann_accuracy": ann,
                "ann_accuracy_interval": wilson(ann, n),
                "agreement": at_answers((self.agreed.double() / n).tolist()),
                "steps_to_ann": {str(points): self._within(points) for points in MARGINS},
                "logits_relative_error": (self.error / self.norm) ** 0.5 if self.norm else None,
            }
        if self.twins:
            twin = self.twin_right / n
            totals |= {"twin_accuracy": twin, "twin_accuracy_interval": wilson(twin, n)}
        return Figures(totals | self._by_sample())

    def _within(self, points: float) -> int | None:
        """Return the first step with an answer whose accuracy is this close to the ANN's."""
        least = self.ann_right - points / 100 * self.samples
        steps = enumerate(self.context.at_answers(self.right.tolist()), start=1)
        return next((t for t, right in steps if right is not None and right + 1e-9 >= least), None)

    def _by_sample(self) -> dict[str, Any]:
        """Return which samples are right, and what follows from it."""
        samples = self.labels.nonzero().flatten()
        if not len(samples):
            return {}
        labels = self.labels[samples] - 1
        digest = hashlib.sha256()
        for numbers in (samples, labels):
            digest.update(numbers.numpy().astype("<i8").tobytes())
        steps = {
            str(t + 1): packed(right.tolist())
            for t, right in zip(self.kept, self.right_by_sample[:, samples], strict=True)
        }
        outcomes: dict[str, Any] = {
            "samples_sha256": digest.hexdigest(),
            "steps": steps,
            "ann": None,
        }
        found: dict[str, Any] = {"classes": len(labels.unique()), "outcomes": outcomes}
        at_end = unpacked(steps[str(self.context.timesteps)], len(samples))
        for name, known, right in (
            ("ann", self.compared, self.ann_right_by_sample),
            ("twin", self.twins, self.twin_right_by_sample),
        ):
            if known:
                outcomes[name] = packed(right[samples].tolist())
                alone, other = discordant(at_end, unpacked(outcomes[name], len(samples)))
                found[f"against_{name}"] = {
                    "only_this_right": alone,
                    "only_other_right": other,
                    "p": mcnemar(alone, other),
                }
        return found


METRIC = Accuracy

"""The scores of the network's task at every step 1..T, and the ANN's on the same samples.

Outputs at step t are the mean of the last layer's currents over steps 1..t. ``task`` and
``score_kinds`` say what is measured; the deciding score comes first. ``scores`` and ``ann_scores``
have all scores of the task, and null if there is no answer yet or a score is undefined. Without
labels the ANN's outputs are the targets.

The metric ``accuracy`` reports more about an accuracy. If the deciding score is another one,
``headline_errors`` are its standard errors, by step, at T and at the powers of two before it;
``headline_parts`` are the jackknife's pseudo-values behind them, so that other runs can be tested
against this one; ``headline_against_ann`` is p of the paired t-test of the network at T and its
ANN; ``steps_to_ann`` is the first step within 1.0, 0.5 and 0.1 points (percent, of an error) of the
ANN's; and ``logits_relative_error`` is ``|SNN - ANN| / |ANN|`` (L2 over all samples) at T.

Shape:
    Outputs ``[T, B, *out]``.

Reference:
    The scores: :mod:`snnconv.tasks`; standard errors: :func:`snnconv.tasks.base.pseudo_values`.

Deviations:
    None.
"""

from typing import Any

import torch
from torch import Tensor

from snnconv.core.scores import MARGINS
from snnconv.core.uncertainty import paired, standard_error
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext
from snnconv.tasks.base import GROUPS, TASKS, pseudo_values


class Scores(Metric):
    """Adds up the rows of a task."""

    counted = False
    valued = False
    added = ("rows", "ann_rows", "seen", "compared", "error", "norm")

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.task = TASKS.recall(context.task)
        self.outputs = context.analysis.outputs
        self.kinds = self.task.scores(self.outputs)
        T = context.timesteps
        m = GROUPS if self.task.summed else context.population
        width = self.task.width(self.outputs)
        self.rows = torch.zeros(T, m, width, dtype=torch.float64)
        self.ann_rows = torch.zeros(m, width, dtype=torch.float64)
        self.seen = torch.zeros(m, dtype=torch.int64)
        self.compared = 0
        self.error = self.norm = 0.0

    def begin(self, batch: Batch) -> None:
        """Keep the batch until its end."""
        super().begin(batch)
        self.batch = batch

    def finish(self, logits: Tensor) -> None:
        """Add the batch's rows."""
        batch, ann = self.batch, self.batch.ann_logits
        targets = batch.labels if self.task.supervised else ann
        if batch.samples is None or targets is None or not self.context.population:
            return
        index = batch.samples.cpu() % len(self.seen)
        self.seen.index_add_(0, index, torch.ones_like(index))
        # step by step, because outputs may be maps, and rows need several copies of them
        rows = torch.cat([self.task.rows(step[None], targets) for step in logits])
        self.rows.index_add_(1, index, rows.cpu())
        if ann is None:
            return
        self.compared += len(index)
        self.ann_rows.index_add_(0, index, self.task.rows(ann[None], targets)[0].cpu())
        ann = ann.double()
        self.error += float((logits[-1] - ann).square().sum())
        self.norm += float(ann.square().sum())

    def figures(self, found: Figures) -> Figures:
        """Return the scores of all samples."""
        held = self.seen.nonzero().flatten()
        if not len(held):
            return Figures()
        answers = self.context.at_answers(list(self.rows[:, held]))
        by_step = [None if rows is None else self.task.values(rows) for rows in answers]
        totals: dict[str, Any] = {
            "task": self.context.task,
            "score_kinds": [kind.model_dump() for kind in self.kinds],
            "scores": {
                kind.name: [None if each is None else each[kind.name] for each in by_step]
                for kind in self.kinds
            },
        }
        if self.compared:
            ann = self.task.values(self.ann_rows[held])
            totals["ann_scores"] = {kind.name: ann[kind.name] for kind in self.kinds}
        if self.context.task != "classification":
            totals |= self._beside_the_ann(totals) | self._uncertain(held, answers)
        return Figures(totals)

    def _beside_the_ann(self, totals: dict[str, Any]) -> dict[str, Any]:
        """Return how soon and how closely the network approaches the ANN."""
        if not self.compared:
            return {}
        head = self.kinds[0]
        steps, ann = totals["scores"][head.name], totals["ann_scores"][head.name]

        def first(margin: float) -> int | None:
            near = (
                t
                for t, value in enumerate(steps, start=1)
                if value is not None and ann is not None and head.within(value, ann, margin)
            )
            return next(near, None)

        return {
            "steps_to_ann": {str(margin): first(margin) for margin in MARGINS},
            "logits_relative_error": (self.error / self.norm) ** 0.5 if self.norm else None,
        }

    def _uncertain(self, held: Tensor, answers: list[Tensor | None]) -> dict[str, Any]:
        """Return the deciding score's standard errors, its pseudo-values, and the test."""
        name, T, groups = self.kinds[0].name, self.context.timesteps, held % GROUPS
        steps = {
            t: parts
            for t, rows in enumerate(answers, start=1)
            if rows is not None and (t == T or t & (t - 1) == 0)
            if (parts := pseudo_values(self.task, rows, groups, name))
        }
        of_ann: list[float] = []
        if self.compared and self.task.supervised:
            of_ann = pseudo_values(self.task, self.ann_rows[held], groups, name)
        found: dict[str, Any] = {
            "headline_errors": {t: standard_error(parts) for t, parts in steps.items()},
            "ann_headline_error": standard_error(of_ann) if of_ann else None,
            "headline_parts": {"steps": steps, "ann": of_ann or None},
        }
        if T in steps and of_ann:
            found["headline_against_ann"] = paired(steps[T], of_ann)
        return found


METRIC = Scores

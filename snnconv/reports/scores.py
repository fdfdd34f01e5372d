"""What an evaluation says of the scores of its network's task."""

from pydantic import BaseModel, Field

from snnconv.core.scores import ACCURACY, Score
from snnconv.reports.base import AnswerSteps, NetworkReport


class HeadlineParts(BaseModel):
    """The jackknife's pseudo-values of the score that decides: independent parts, their mean it."""

    steps: dict[int, list[float]] = Field(
        description="by step t: T, and powers of two before it; a part for each hundredth of the "
        "samples, sample k in part k modulo 100"
    )
    ann: list[float] | None = Field(None, description="of the ANN; null where there is none")


class ScoredReport(NetworkReport):
    """A report of a network that was measured by the scores of its task."""

    task: str = Field("classification", description="what the outputs are for")
    score_kinds: list[Score] = Field(
        [],
        description="what it is measured by; the first decides. Empty in an older file, where the "
        "accuracy does",
    )
    scores: dict[str, AnswerSteps] = Field(
        {}, description="of the task, by step t; null where there is no answer yet, or no score"
    )
    ann_scores: dict[str, float | None] = Field(
        {}, description="the ANN's on the same samples; empty where trained_directly"
    )
    headline_errors: dict[int, float] = Field(
        {},
        description="standard errors of the score that decides, by step t: T, and powers of two "
        "before it; empty for an accuracy, which has its interval",
    )
    ann_headline_error: float | None = Field(None, description="standard error of the ANN's")
    headline_parts: HeadlineParts | None = Field(
        None, description="what other runs on the same samples are tested against"
    )
    headline_against_ann: float | None = Field(
        None, description="p of the paired t-test of this network at T and its ANN"
    )
    accuracy: AnswerSteps | None = Field(
        None,
        description="by step t; null where the network has no answer yet, and for tasks other than "
        "classification",
    )
    ann_accuracy: float | None = Field(
        None, description="on the same samples; null where trained_directly"
    )

    @property
    def decisive(self) -> Score:
        """The score that decides; the accuracy in an older file."""
        return self.score_kinds[0] if self.score_kinds else ACCURACY

    @property
    def by_step(self) -> list[float | None]:
        """The score that decides, by step; empty if it was not measured."""
        if self.accuracy is not None:
            return list(self.accuracy)
        return list(self.scores.get(self.decisive.name, []))

    @property
    def of_ann(self) -> float | None:
        """The ANN's score that decides."""
        if self.ann_accuracy is not None:
            return self.ann_accuracy
        return self.ann_scores.get(self.decisive.name)

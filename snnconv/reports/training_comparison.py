"""The report of a comparison of training methods."""

from typing import Any

from pydantic import BaseModel, Field

from snnconv.core.scores import Score
from snnconv.errors import ExitCode
from snnconv.reports.base import Report
from snnconv.reports.stages import SubsetUse


class Spread(BaseModel):
    """A figure over the seeds of a cell."""

    mean: float
    std: float | None = Field(description="sample standard deviation; null for one seed")


class SeedRow(BaseModel):
    """One training: a method at T with one seed."""

    seed: int
    score: float = Field(
        description="of the network that the training kept, on the test samples: of the last epoch "
        "for train, of the best for finetune"
    )
    best: float = Field(description="validation score of the best epoch")
    last: float = Field(description="validation score of the last epoch")
    ann_score: float | None = Field(
        description="of the ANN that was converted, on the test samples; null where there is none"
    )
    sops_per_sample: float
    energy_total_mj: float
    spikes_per_sample: float
    firing_rate: float = Field(description="spikes per neuron and step")
    step_seconds: float | None = Field(description="of the fastest training step")
    step_cpu_seconds: float | None = Field(description="processor time of a step, the least")
    step_memory_mib: float | None = Field(
        description="of a training step; null if an epoch had only one"
    )
    training_seconds: float = Field(description="of all epochs, each with its validation")
    report: str = Field(description="the evaluation it is from")
    training: str = Field(description="the report of the training")
    checkpoint: str = Field(description="the network")


FIGURES = (
    *("score", "best", "last", "ann_score", "sops_per_sample", "energy_total_mj"),
    *("spikes_per_sample", "step_seconds", "step_cpu_seconds", "step_memory_mib"),
)
"""Of a :class:`SeedRow`, what a :class:`TrainedCellRow` has the spread of."""


class TrainedCellRow(BaseModel):
    """One training method at one number of steps, over its seeds."""

    timesteps: int = Field(description="T")
    latency_steps: int = Field(description="steps until the answer")
    seeds: list[SeedRow] = Field(description="those that were trained")
    score: Spread
    best: Spread
    last: Spread
    ann_score: Spread | None = Field(description="null where there is no ANN")
    sops_per_sample: Spread
    energy_total_mj: Spread
    spikes_per_sample: Spread
    step_seconds: Spread | None
    step_cpu_seconds: Spread | None
    step_memory_mib: Spread | None
    on_energy_front: bool = Field(
        False,
        description="no other cell has as good a mean score for less energy, or a better one for "
        "as much",
    )
    on_step_front: bool = Field(False, description="the same for step_cpu_seconds")


class TrainedMethodRow(BaseModel):
    """One training method."""

    method: str
    title: str
    reference: str
    deviations: str
    stage: str = Field(description="train, or finetune after the conversion of an ANN")
    model: str = Field(description="the network, with the blocks that the method asks for")
    neuron: str
    options: dict[str, Any] = Field(description="the preset's own; those of the budget go before")
    cells: list[TrainedCellRow] = Field(description="by T")


class FailedTraining(BaseModel):
    """One training that could not be done, and why."""

    method: str
    timesteps: int = Field(description="T")
    seed: int
    problem: str = Field(description="what can't be done")
    found: str = Field(description="what was there instead")
    remedy: str = Field(description="one next step")
    code: int = Field(description="what the command of this method alone exits with")


class Budget(BaseModel):
    """What every method was given."""

    epochs: int
    batch_size: int
    augment: list[str]
    samples: int = Field(description="that were trained on")
    validation_samples: int = Field(description="that each epoch was measured on")


class CompareTrainingReport(Report):
    """The report of ``snnconv compare --training``."""

    name = "compare-training"
    command = "compare"
    model: str
    data: str
    samples: int = Field(description="test samples that scores are of")
    subset: SubsetUse | None
    task: str = Field(description="what the outputs are for")
    headline: Score = Field(description="the score that decides")
    budget: Budget
    timesteps: list[int]
    seeds: list[int]
    methods: list[TrainedMethodRow] = Field(description="those with a cell that was trained")
    failed: list[FailedTraining] = Field(
        [], description="trainings that could not be done, and why"
    )
    cells_run: int = Field(description="trainings that this command did, or went on with")
    cells_kept: int = Field(description="trainings that were there")

    def code(self) -> ExitCode:
        """Return 4 if a training could not be done, else 0."""
        return ExitCode.CHECK_FAILED if self.failed else ExitCode.DONE

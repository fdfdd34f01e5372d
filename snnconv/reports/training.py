"""Reports of the stages that train."""

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from snnconv.core.scores import Score
from snnconv.reports.base import Difference, Interval, Latency, NetworkReport
from snnconv.reports.stages import CorrectionRow, DataUse, SubsetUse


class EpochRow(BaseModel):
    """One epoch of training."""

    epoch: int = Field(description="1 for the first")
    loss: float = Field(description="mean training loss")
    train_accuracy: float | None = Field(
        description="on the augmented samples, while training; null for tasks that have none"
    )
    accuracy: float | None = Field(
        description="on the held-out validation samples, after the epoch; null for tasks that have "
        "none"
    )
    score: float | None = Field(
        None, description="the task's score that decides, on these samples; null in an older file"
    )
    scores: dict[str, float | None] = Field(
        {}, description="every score of the task, on these samples; of a spiking network only"
    )
    accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]; null in an older file"
    )
    firing_rate: float | None = Field(
        None, description="spikes per neuron and step, on the validation samples; null for an ANN"
    )
    neuron_parameters: dict[str, float] = Field(
        {},
        description="mean over all sites of what neurons learn, by parameter, in the values of "
        "their equations: LM-HT's Omega and lambda, LM-H's mu_D, mu_S, lambda_S, lambda_D",
    )
    learning_rate: float = Field(description="of the epoch's last step")
    seconds: float
    step_seconds: float | None = Field(
        None,
        description="of the fastest training step: the passes of one whole batch and what the "
        "optimiser does; null in an older file",
    )
    step_cpu_seconds: float | None = Field(
        None, description="processor time of that step, of all threads; null in an older file"
    )
    step_memory_mib: float | None = Field(
        None,
        description="with --step-memory, of one step of the first epoch: what its tensors take at "
        "most at one time, beyond what was there before",
    )

    @property
    def measured(self) -> float:
        """The score that decides; the accuracy in an older file."""
        found = self.accuracy if self.score is None else self.score
        assert found is not None
        return found

    @model_validator(mode="after")
    def _is_measured(self) -> "EpochRow":
        if self.score is None and self.accuracy is None:
            raise ValueError("an epoch without a score")
        return self


class TrainReport(NetworkReport):
    """The report of ``snnconv train``."""

    name = "train"
    data: DataUse
    subset: SubsetUse | None = Field(
        None, description="the training samples that were trained on; null in an older file"
    )
    held_out: SubsetUse | None = Field(
        None,
        description="the training samples that validation accuracies are of; null in an older file",
    )
    model: str
    parameters: int
    activation: str = Field("relu", description="relu or qcfs")
    levels: int | None = Field(None, description="of the qcfs activations")
    thresholds: dict[str, float] = Field(
        {}, description="theta by site, of qcfs after training or of neurons"
    )
    neuron: str | None = Field(None, description="that stood at the sites; null for an ANN")
    params: dict[str, Any] = Field({}, description="the neuron's")
    norm: str | None = Field(
        None, description="that took the place of BatchNorm; null for the network's own"
    )
    timesteps: int | None = Field(None, description="T that neurons were trained at")
    latency_steps: Latency = None
    pools_averaged: list[str] = Field(
        [], description="max poolings that were made average poolings, by their nodes' names"
    )
    peak_memory_mib: float | None = Field(None, description="of the process, or of the GPU")
    epochs: list[EpochRow]
    task: str = Field("classification", description="what the outputs are for")
    headline: Score | None = Field(None, description="the score that decides; null if older")
    score: float | None = Field(
        None, description="that score on the whole test split, after the last epoch"
    )
    accuracy: float | None = Field(
        None,
        description="on the whole test split, after the last epoch; null for tasks that have none",
    )
    accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]; null in an older file"
    )
    firing_rate: float | None = Field(
        None, description="spikes per neuron and step there; null for an ANN"
    )


class FinetuneReport(NetworkReport):
    """The report of ``snnconv finetune``."""

    name = "finetune"
    corrections: list[CorrectionRow] = Field(
        [], description="that the network has; what a correction learned about weights is in them"
    )
    data: DataUse
    subset: SubsetUse | None = Field(
        None, description="the training samples that were trained on; null in an older file"
    )
    held_out: SubsetUse | None = Field(
        None,
        description="the training samples that validation accuracies are of; null in an older file",
    )
    neuron: str
    norm: str | None = Field(
        None, description="that took the place of BatchNorm; null for the network's own"
    )
    timesteps: int
    latency_steps: Latency = None
    task: str = Field("classification", description="what the outputs are for")
    headline: Score | None = Field(None, description="the score that decides; null if older")
    score_epoch0: float | None = Field(
        None, description="that score on the validation samples, before any training"
    )
    score_best: float | None = Field(None, description="of what was kept")
    score_kinds: list[Score] = Field(
        [], description="what scores_epoch0 and scores_best hold, the one that decides first"
    )
    scores_epoch0: dict[str, float | None] = Field(
        {}, description="every score of the task on the validation samples, before any training"
    )
    scores_best: dict[str, float | None] = Field({}, description="of what was kept")
    score_last: float | None = Field(None, description="after the last epoch")
    accuracy_epoch0: float | None = Field(
        None, description="validation accuracy before any training; null for tasks that have none"
    )
    accuracy_epoch0_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]; and so are the others"
    )
    accuracy_best: float | None = Field(None, description="validation accuracy of what was kept")
    accuracy_best_interval: Interval | None = None
    before_and_after: Difference | None = Field(
        None,
        description="McNemar's test of what was kept against the start, on the validation samples; "
        "null in an older file",
    )
    epoch_best: int = Field(description="the epoch that was kept; 0 if none was better")
    accuracy_last: float | None = Field(
        None, description="validation accuracy after the last epoch"
    )
    accuracy_last_interval: Interval | None = None
    firing_rate_epoch0: float | None = Field(
        None, description="spikes per neuron and step before any training"
    )
    resumed_after: int | None = Field(
        None, description="epochs done before the training was taken up again; null if it never was"
    )
    engine: dict[str, Literal["once", "mean", "dense", "event"]] = Field(
        {}, description="how each layer with weights was trained"
    )
    peak_memory_mib: float | None = Field(None, description="of the process, or of the GPU")
    epochs: list[EpochRow]

"""The report of a comparison of conversion methods."""

from typing import Any

from pydantic import BaseModel, Field

from snnconv.core.scores import ACCURACY, Score
from snnconv.errors import ExitCode
from snnconv.reports.base import Difference, Interval, Report
from snnconv.reports.stages import SubsetUse


class CellRow(BaseModel):
    """One method at one number of steps."""

    timesteps: int = Field(description="T")
    latency_steps: int = Field(
        description="steps until the answer at T: T, the steps that are simulated before, and what "
        "layers wait for the layer before"
    )
    accuracy: float | None = Field(None, description="null for tasks that have none")
    accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]"
    )
    score: float | None = Field(None, description="the score that decides; null in an older file")
    against_ann: Difference | None = Field(
        None, description="the network at T and its ANN on the same samples; null inside a run"
    )
    firing_rate: float | None = Field(description="spikes per neuron and step, up to T")
    sops_per_sample: float | None = Field(description="synaptic operations up to T")
    energy_total_mj: float = Field(description="up to T, the first layer counted once")
    energy_total_ratio: float = Field(description="to the ANN's energy")
    energy_memory_mj: float | None = Field(None, description="up to T, with addresses and memory")
    energy_memory_ratio: float | None = Field(
        None, description="to the ANN's energy by the same convention"
    )
    energy_twin_ratio: float | None = Field(
        None,
        description="to the quantized twin's energy; this and the two keys below are null inside a "
        "longer run, whose twin is another",
    )
    twin_accuracy: float | None = Field(None, description="of the quantized twin")
    twin_bits: int | None = Field(None, description="of its activations")
    logits_relative_error: float | None = Field(
        None, description="L2, at T, relative to the ANN's logits; null inside a longer run"
    )
    energy_worth_it: bool = Field(
        False,
        description="no other cell is as accurate for less energy, or more accurate for as much, "
        "by more than chance; false under 100 samples",
    )
    latency_worth_it: bool = Field(False, description="the same for latency_steps")
    on_energy_front: bool = Field(
        description="no other cell is as accurate for less energy, or more accurate for as much"
    )
    on_latency_front: bool = Field(description="the same for latency_steps")
    report: str = Field(description="the evaluation it is from")
    checkpoint: str = Field(description="the network; its T may be longer than the cell's")

    @property
    def measured(self) -> float:
        """The score that decides; the accuracy in an older file."""
        found = self.accuracy if self.score is None else self.score
        assert found is not None
        return found


class MethodRow(BaseModel):
    """One conversion method."""

    method: str
    title: str
    reference: str
    deviations: str
    neuron: str
    params: dict[str, Any]
    coding: str = Field("rate", description="how spikes stand for what a neuron sends")
    calibration: dict[str, Any] = Field(description="method and granularity of the thresholds")
    corrections: list[str] = Field(description="methods of snnconv correct, in their order")
    signed: bool = Field(description="whether spikes may be negative")
    levels: int = Field(description="the most spikes of a neuron at one step")
    calibration_seconds: float = Field(description="calibration, and corrections for one T")
    one_simulation: bool = Field(
        description="whether all T come from one simulation: nothing in it depends on T"
    )
    cells: list[CellRow] = Field(description="by T")
    within_1_point: int | None = Field(
        description="the least T of these within one point of the ANN, or one percent of its "
        "error; null if there is none"
    )
    forward_passes_to_1_point: float | None = Field(
        None,
        description="time of a simulation until that answer, in forward passes of the ANN on the "
        "same samples; null without within_1_point, and in an older file",
    )


class FailedCell(BaseModel):
    """One method at one number of steps that could not be measured, and why."""

    method: str
    timesteps: int = Field(description="T")
    problem: str = Field(description="what can't be done")
    found: str = Field(description="what was there instead")
    remedy: str = Field(description="one next step")
    code: int = Field(description="what the command of this method alone exits with")


class CompareReport(Report):
    """The report of ``snnconv compare``."""

    name = "compare"
    model: str = Field(description="what the network was made from")
    data: str
    samples: int
    subset: SubsetUse | None
    task: str = Field("classification", description="what the outputs are for")
    headline: Score | None = Field(
        None, description="the score that decides; null in an older file, where it is the accuracy"
    )
    ann_score: float | None = Field(None, description="the ANN's")
    ann_accuracy: float | None = Field(None, description="null for tasks that have none")
    ann_accuracy_interval: Interval | None = None
    energy_ann_mj: float
    energy_memory_ann_mj: float | None = Field(
        None, description="the ANN's, with addresses and memory"
    )
    timesteps: list[int]
    methods: list[MethodRow] = Field(description="those with a cell that was measured")
    failed: list[FailedCell] = Field([], description="cells that could not be measured, and why")
    cells_run: int = Field(description="evaluations that this command made")
    cells_kept: int = Field(
        description="cells that were there, or are part of another cell's simulation"
    )

    def code(self) -> ExitCode:
        """Return 4 if a cell could not be measured, else 0."""
        return ExitCode.CHECK_FAILED if self.failed else ExitCode.DONE

    @property
    def kind(self) -> Score:
        """The score that decides."""
        return self.headline or ACCURACY

    @property
    def of_ann(self) -> float:
        """The ANN's score that decides."""
        found = self.ann_accuracy if self.ann_score is None else self.ann_score
        assert found is not None
        return found

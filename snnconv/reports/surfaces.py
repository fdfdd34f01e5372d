"""Reports of the commands around the stages: inspect, report, doctor, ls, run."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from snnconv.core.scores import Score
from snnconv.errors import ExitCode
from snnconv.reports.base import (
    Difference,
    ImportRow,
    Interval,
    Latency,
    LineageRow,
    NetworkReport,
    Report,
)
from snnconv.reports.stages import CorrectionRow


class NodeRow(BaseModel):
    """One node of a network's graph."""

    name: str
    op: str
    role: str = Field(description="synapse, site, linear, max or analog; neurons stand at sites")
    inputs: list[str]
    shape: list[int] = Field(description="of one sample's value")
    parameters: int
    macs: int | None = Field(description="by the field's convention; null where there are none")
    lookups: int | None = Field(None, description="of a function, in tables; null if none")
    additions: int | None = Field(None, description="of a function; null if none")
    carries: str = Field(description="constant, spikes or current, in a spiking network")
    threshold: float | None = Field(description="theta at a calibrated site; mean over channels")
    neuron: str | None = Field(description="at a converted site")


class ObstacleRow(BaseModel):
    """Something in a network that no neuron stands for."""

    place: str
    found: str
    remedy: str


class InspectReport(NetworkReport):
    """The report of ``snnconv inspect``."""

    name = "inspect"
    kind: str
    data: dict[str, Any] | None
    spiking: dict[str, Any] | None
    latency_steps: Latency = None
    corrections: list[CorrectionRow] = Field([], description="of the network, in their order")
    parameters: int | None = Field(description="null where obstacles leave no graph")
    macs: int | None
    nodes: list[NodeRow]
    past: list[LineageRow]
    converts: bool = Field(description="whether it can be converted as it stands")
    obstacles: list[ObstacleRow] = Field(description="all that stands in the way")
    imported: ImportRow | None = Field(None, description="null for a checkpoint")

    def code(self) -> ExitCode:
        """Return 3 for a network that can't be converted as it stands."""
        return ExitCode.DONE if self.converts else ExitCode.UNSUPPORTED


class RunSummary(BaseModel):
    """One evaluation in a report."""

    label: str
    file: str
    neuron: str
    samples: int
    timesteps: int
    latency_steps: Latency = None
    task: str = Field("classification", description="what the outputs are for")
    headline: Score | None = Field(None, description="the score that decides")
    score: float | None = Field(None, description="that score at T")
    ann_score: float | None = Field(None, description="the ANN's")
    accuracy: float | None = Field(description="at T")
    accuracy_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]; and so is the ANN's"
    )
    ann_accuracy: float | None = Field(description="null for a network trained with its neurons")
    ann_accuracy_interval: Interval | None = None
    firing_rate_mean: float | None
    sops_per_sample: float | None
    energy_total_mj: float | None
    energy_ann_mj: float | None
    energy_twin_ratio: float | None = Field(None, description="the evaluation's")
    twin_accuracy: float | None = Field(None, description="the evaluation's")
    twin_bits: int | None = Field(None, description="the evaluation's")
    non_spiking_share: float | None = Field(None, description="the evaluation's")
    function_share: float | None = Field(None, description="the evaluation's")


class RunDifference(Difference):
    """McNemar's exact test of two evaluations on the same samples, at T of each."""

    run: str = Field(description="the label of one, `this` in the other keys")
    other: str = Field(description="the label of the other")


class ReportReport(Report):
    """The report of ``snnconv report`` and ``snnconv demo``."""

    name = "report"
    html: str = Field(description="path of the self-contained HTML file")
    markdown: str = Field(description="path of the Markdown file")
    figures: list[str] = Field(
        [], description="paths of the plots and tables for papers (--figures), in the page's order"
    )
    runs: list[RunSummary]
    differences: list[RunDifference] = Field(
        [], description="of every two runs whose files say which samples are right"
    )


class Check(BaseModel):
    """One check of the installation."""

    name: str
    ok: bool
    found: str
    remedy: str = Field("", description="what to do where it is not ok")


class DoctorReport(Report):
    """The report of ``snnconv doctor``."""

    name = "doctor"
    checks: list[Check]

    def code(self) -> ExitCode:
        """Return 4 if a check fails."""
        return ExitCode.DONE if all(check.ok for check in self.checks) else ExitCode.CHECK_FAILED


class ListItem(BaseModel):
    """One thing there is to choose."""

    name: str
    summary: str


class ListReport(BaseModel):
    """The report of ``snnconv ls``."""

    schema_id: str = Field("snnconv.ls/1", alias="schema")
    room: str
    items: list[ListItem]


class CheckpointRow(BaseModel):
    """One checkpoint in a run folder."""

    file: str = Field(description="its own name")
    also: list[str] = Field(description="other names of the same content, as of the newest")
    kind: str | None = None
    neuron: str | None = None
    thresholds: str | None = Field(None, description="how they were found: p99.9 channel")
    corrections: list[str] = Field([], description="the methods of its corrections, in their order")
    timesteps: int | None = None
    parent: str | None = Field(
        None, description="what it was made from: a file here, or the start of a hash"
    )
    written: str = Field(description="local time")
    default_of: list[str] = Field(description="stages that read it if no checkpoint is named")
    problem: str | None = Field(None, description="why it can't be read")


class EvaluationRow(BaseModel):
    """One evaluation in a run folder."""

    file: str = Field(description="its own name")
    also: list[str] = Field(description="other names of the same content, as of the newest")
    label: str | None = None
    checkpoint: str | None = Field(
        None, description="what was evaluated: a file here, or the start of a hash"
    )
    timesteps: int | None = None
    latency_steps: Latency = None
    samples: int | None = None
    accuracy: float | None = Field(None, description="at T; null for tasks that have none")
    ann_accuracy: float | None = None
    headline: Score | None = Field(None, description="the score that decides")
    score: float | None = Field(None, description="that score at T")
    ann_score: float | None = Field(None, description="the ANN's")
    written: str = Field(description="local time")
    reported: bool = Field(
        False, description="whether no other one of the same network and T says more"
    )
    problem: str | None = Field(None, description="why it can't be read")


class RunsReport(BaseModel):
    """The report of ``snnconv ls runs``."""

    model_config = ConfigDict(populate_by_name=True)
    schema_id: str = Field("snnconv.stages.runs/1", alias="schema")
    run: str
    checkpoints: list[CheckpointRow]
    evaluations: list[EvaluationRow]


class PlanStep(BaseModel):
    """One stage of a recipe."""

    stage: str
    config: dict[str, Any]
    changed: dict[str, Any] = Field(description="the options that are not the default")
    outcome: str = Field(description="run, skipped (nothing it reads has changed), or planned")
    report: str | None = Field(None, description="path of the stage's report")


class RunReport(Report):
    """The report of ``snnconv run``."""

    name = "run"
    steps: list[PlanStep]


class PageReport(BaseModel):
    """A page of the documentation."""

    page: str
    text: str = Field(description="Markdown")

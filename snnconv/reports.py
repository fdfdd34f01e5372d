"""The reports: a type for every JSON file, a sentence for every key. Nothing here imports torch.

Fractions are 0..1, lists over steps start at t = 1, units stand at the end of a key.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snnconv.errors import CheckpointError

Steps = list[float]
ReportType = TypeVar("ReportType", bound="Report")


class FileHash(BaseModel):
    """A file and its content's hash."""

    path: str
    sha256: str


class Lineage(BaseModel):
    """What a stage read and wrote."""

    inputs: list[FileHash] = Field([], description="every file read, checkpoint first")
    parent_report_sha256: str | None = Field(
        None, description="of the report beside the checkpoint"
    )
    outputs: list[FileHash] = Field([], description="every file written")


class Report(BaseModel):
    """What every stage's report carries."""

    model_config = ConfigDict(populate_by_name=True)
    name: ClassVar[str]

    schema_id: str = Field(alias="schema", description="snnconv.STAGE/VERSION of this file")
    stage: str
    config: dict[str, Any] = Field(description="the stage's full configuration")
    lineage: Lineage
    environment: dict[str, str | int] = Field(description="versions, device, threads")
    seed: int
    seconds: float = Field(description="wall time of the stage")


class DataUse(BaseModel):
    """The data a stage worked on."""

    spec: str
    train_samples: int
    test_samples: int


class EpochRow(BaseModel):
    """One epoch of training."""

    epoch: int = Field(description="1 for the first")
    loss: float = Field(description="mean training loss")
    train_accuracy: float = Field(description="on the augmented samples, while training")
    accuracy: float = Field(description="on the held-out validation samples, after the epoch")
    learning_rate: float = Field(description="at the end of the epoch")
    seconds: float


class TrainReport(Report):
    """Of ``snnconv train``."""

    name = "train"
    data: DataUse
    model: str
    parameters: int
    epochs: list[EpochRow]
    accuracy: float = Field(description="on the whole test split, after the last epoch")


class SiteRow(BaseModel):
    """One activation site after calibration."""

    name: str
    threshold: float = Field(description="theta, the ANN activation's unit; mean over channels")
    max: float = Field(description="largest activation seen")
    mean: float
    zero_share: float = Field(description="share of activations that are zero")
    clipped_share: float = Field(description="share of activations above the threshold")
    channels: int = Field(description="thresholds at this site: 1, or one a channel")


class CalibrateReport(Report):
    """Of ``snnconv calibrate``."""

    name = "calibrate"
    data: DataUse
    method: str
    params: dict[str, Any]
    granularity: str
    samples: int
    relative_error_bound: float = Field(
        description="of a histogram-based threshold against one from all activations at once"
    )
    sites: list[SiteRow]


class ConvertReport(Report):
    """Of ``snnconv convert``."""

    name = "convert"
    neuron: str
    params: dict[str, Any]
    timesteps: int
    sites_converted: int
    non_spiking_share: float = Field(
        description="share of the network's MACs fed by analog values, after the first layer"
    )
    cumulative_pools: list[str] = Field(description="max poolings under the cumulative rule")
    dropped: list[str] = Field(
        description="a softmax at the end: argmax keeps its meaning without it"
    )
    confidence: dict[str, float] = Field(description="keep probability by site; empty when off")
    early: int | None = Field(description="steps in which confidence acts; null when off")


class FinetuneReport(Report):
    """Of ``snnconv finetune``."""

    name = "finetune"
    data: DataUse
    neuron: str
    timesteps: int
    accuracy_epoch0: float = Field(description="validation accuracy before any training")
    accuracy_best: float = Field(description="validation accuracy of what was kept")
    epoch_best: int = Field(description="the epoch that was kept; 0 if none was better")
    accuracy_last: float = Field(description="validation accuracy after the last epoch")
    epochs: list[EpochRow]


class LayerRow(BaseModel):
    """One source of spikes in an evaluation: a site or a max pooling.

    Keys that a metric adds are documented in its file.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    neurons: int = Field(description="of one sample")
    threshold: float | None = Field(
        description="theta; mean over channels; null for a max pooling, which has no neurons"
    )
    firing_rate: float | None = Field(None, description="spikes per neuron and step")
    firing_rate_steps: Steps | None = None
    sops_per_sample: float | None = Field(
        None, description="synaptic operations its spikes cause behind it, up to T"
    )
    sin_ratio: Steps | None = Field(
        None, description="by t: inactivated neurons that have fired / neurons (MSAT Fig. 2)"
    )
    wrong_spike_share: Steps | None = Field(
        None, description="share of a step's spikes that come from inactivated neurons"
    )
    ans_per_neuron: float | None = Field(
        None, description="wrong spikes in T steps / neurons of the layer"
    )
    ans_per_sin_neuron: float | None = Field(
        None, description="wrong spikes in T steps / SIN neurons"
    )
    conversion_error: float | None = Field(
        None, description="|mean output - ANN activation| / |ANN activation|, L2"
    )
    error_clipping: float | None = Field(None, description="the part above theta, same scale")
    error_rounding: float | None = Field(
        None, description="of the clipped activation to multiples of theta/T, same scale"
    )
    error_rest: float | None = Field(
        None, description="what remains: uneven spikes, wrong spikes, errors of layers before"
    )


class Histogram(BaseModel):
    """Activations of a site during calibration."""

    name: str
    threshold: float
    edges: list[float] = Field(description="bin edges, one more than counts")
    counts: list[float] = Field(description="positive activations in each bin")


class EvaluateReport(Report):
    """Of ``snnconv evaluate``. Keys a metric adds are documented in its file."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")
    name = "evaluate"
    data: DataUse
    label: str = Field(description="short name of the network and neuron, for legends")
    neuron: str
    params: dict[str, Any]
    calibration: dict[str, Any] = Field(description="method and parameters of the thresholds")
    confidence: dict[str, float] = Field(description="keep probability by site; empty when off")
    early: int | None
    samples: int
    timesteps: int
    accuracy: Steps | None = None
    ann_accuracy: float | None = None
    steps_to_ann: dict[str, int | None] | None = Field(
        None, description="first step within 1.0, 0.5, 0.1 points of the ANN; null if none"
    )
    logits_relative_error: float | None = Field(
        None, description="L2, logits averaged over T steps against the ANN's"
    )
    agreement: Steps | None = Field(None, description="share of samples classified as the ANN does")
    firing_rate_mean: float | None = Field(None, description="spikes per neuron and step")
    firing_rate_steps: Steps | None = None
    spikes_per_sample: float | None = Field(None, description="spikes in T steps")
    sops_per_sample: float | None = Field(None, description="synaptic operations in T steps")
    sops_per_sample_steps: Steps | None = Field(None, description="up to each step t")
    first_layer_macs_per_sample: float | None = Field(None, description="counted once")
    analog_macs_per_sample: float | None = Field(
        None, description="MACs at each step of layers behind the first that analog values feed"
    )
    ann_macs_per_sample: float | None = Field(
        None, description="the field's convention: multiplications with padding counted"
    )
    ann_macs_exact_per_sample: float | None = Field(
        None, description="without padding, as SOPs are counted"
    )
    energy_synaptic_mj: float | None = Field(None, description="accumulates only (LM-HT Table 1)")
    energy_total_mj: float | None = Field(
        None, description="with the first layer's MACs, computed once (MSAT section 5.4)"
    )
    energy_total_every_step_mj: float | None = Field(
        None, description="with the first layer's MACs at each step"
    )
    energy_ann_mj: float | None = None
    energy_synaptic_ratio: float | None = Field(None, description="to the ANN's energy")
    energy_total_ratio: float | None = Field(None, description="to the ANN's energy")
    energy_total_every_step_ratio: float | None = Field(None, description="to the ANN's energy")
    energy_total_mj_steps: Steps | None = Field(
        None, description="up to each step t, first layer once"
    )
    sin_ratio_steps: Steps | None = Field(None, description="mean over layers, by t")
    layers: list[LayerRow]
    histograms: list[Histogram]
    seconds_per_sample: float = Field(description="wall time of the simulation with all metrics")
    peak_memory_mib: float = Field(description="of the process, or of the GPU")


class NodeRow(BaseModel):
    """One node of a network's graph."""

    name: str
    op: str
    inputs: list[str]
    shape: list[int] = Field(description="of one sample's value")
    parameters: int
    macs: int | None = Field(description="by the field's convention; null where there are none")
    carries: str = Field(description="constant, spikes or current, in a spiking network")
    threshold: float | None = Field(description="theta at a calibrated site; mean over channels")
    neuron: str | None = Field(description="at a converted site")


class LineageRow(BaseModel):
    """One stage in a checkpoint's past."""

    stage: str
    parent: str | None
    config: dict[str, Any]


class InspectReport(Report):
    """Of ``snnconv inspect``."""

    name = "inspect"
    kind: str
    data: dict[str, Any]
    spiking: dict[str, Any] | None
    parameters: int
    macs: int
    nodes: list[NodeRow]
    past: list[LineageRow]


class RunSummary(BaseModel):
    """One evaluation in a report."""

    label: str
    file: str
    neuron: str
    samples: int
    timesteps: int
    accuracy: float | None = Field(description="at T")
    ann_accuracy: float | None
    firing_rate_mean: float | None
    sops_per_sample: float | None
    energy_total_mj: float | None
    energy_ann_mj: float | None


class ReportReport(Report):
    """Of ``snnconv report`` and ``snnconv demo``."""

    name = "report"
    html: str = Field(description="path of the self-contained HTML file")
    markdown: str = Field(description="path of the Markdown file")
    runs: list[RunSummary]


class Check(BaseModel):
    """One check of the installation."""

    name: str
    ok: bool
    found: str
    remedy: str = Field("", description="what to do where it is not ok")


class DoctorReport(Report):
    """Of ``snnconv doctor``."""

    name = "doctor"
    checks: list[Check]


class ListItem(BaseModel):
    """One thing there is to choose."""

    name: str
    summary: str


class ListReport(BaseModel):
    """Of ``snnconv ls``."""

    schema_id: str = Field("snnconv.ls/1", alias="schema")
    room: str
    items: list[ListItem]


class PlanStep(BaseModel):
    """One stage of a recipe."""

    stage: str
    config: dict[str, Any]
    changed: dict[str, Any] = Field(description="the options that are not the default")
    outcome: str = Field(description="run, skipped (nothing it reads has changed), or planned")
    report: str | None = Field(None, description="path of the stage's report")


class RunReport(Report):
    """Of ``snnconv run``."""

    name = "run"
    steps: list[PlanStep]


def canonical(report: BaseModel) -> str:
    """The report's file content: sorted keys, two spaces, no NaN."""
    data = report.model_dump(mode="json", by_alias=True)
    return json.dumps(data, sort_keys=True, indent=2, allow_nan=False) + "\n"


def read(file: Path, kind: type[ReportType]) -> ReportType:
    """Read a report of one stage.

    Raises:
        CheckpointError: missing, no JSON, of another stage or a later version.
    """
    problem, remedy = f"{file} can't be read", f"write it again: snnconv {kind.name}"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(problem, str(error), remedy) from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found != f"snnconv.{kind.name}/1":
        raise CheckpointError(problem, f"schema {found!r}, not snnconv.{kind.name}/1", remedy)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise CheckpointError(problem, str(error).splitlines()[0], remedy) from error


REPORTS: dict[str, type[Report]] = {
    kind.name: kind
    for kind in (
        TrainReport,
        CalibrateReport,
        ConvertReport,
        FinetuneReport,
        EvaluateReport,
        ReportReport,
        InspectReport,
        DoctorReport,
        RunReport,
    )
}


def json_schema(stage: str) -> dict[str, Any]:
    """The published JSON Schema of a stage's report."""
    return REPORTS[stage].model_json_schema(by_alias=True)

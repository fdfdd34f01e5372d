"""Reports of the stages that write checkpoints."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from snnconv.core.metadata import CorrectionInfo
from snnconv.core.scores import Score
from snnconv.errors import ExitCode
from snnconv.reports.base import Difference, ImportRow, Interval, Latency, NetworkReport
from snnconv.reports.search import SearchUse


class DataUse(BaseModel):
    """The data a stage worked on."""

    spec: str
    train_samples: int
    test_samples: int
    frames: int | None = Field(
        None, description="of a sample that changes over time; null where it is constant"
    )
    notes: list[str] = Field([], description="what is to be said of it, as how it was divided")


class SubsetUse(BaseModel):
    """The samples of one split that a stage worked on."""

    how: Literal["all", "stratified", "random"] = Field(
        description="all of the split, a random part in which every class has its share, or, where "
        "labels are no classes, any random part"
    )
    samples: int = Field(description="how many samples")
    of: int = Field(description="how many samples the split has")
    seed: int | None = Field(description="of the draw; null where all were taken")
    sha256: str = Field(
        description="of the samples' indices in ascending order, as 64-bit integers, lowest byte "
        "first: equal ones are the same samples of the same split"
    )


class LookRow(BaseModel):
    """A first look at the data: at some training samples."""

    samples: int = Field(description="looked at")
    low: float = Field(description="the smallest value, after scale and before mean and std")
    high: float = Field(description="the largest one")
    mean: float = Field(description="of all values")
    std: float = Field(description="of all values, around that mean")
    classes: int | None = Field(description="among the labels; null for other tasks")
    largest_class_share: float | None = Field(
        description="of the samples that have the most frequent class"
    )
    ann_accuracy: float | None = Field(description="null for tasks that have none")
    score: Score | None = Field(
        None, description="what the ANN was measured by; null without labels, and in an older file"
    )
    ann_score: float | None = Field(None, description="the ANN's; null where it is undefined")
    near_chance: bool = Field(
        False, description="whether the ANN says no more of these samples than of others"
    )


class NormalisationUse(BaseModel):
    """The normalisation of samples: ``(raw / scale - mean) / std``."""

    scale: float = Field(description="raw values were divided by")
    mean: list[float] = Field(description="one, or one for each channel; of values after scale")
    std: list[float] = Field(description="one, or one for each channel; of values after scale")
    origin: Literal["fixed", "measured", "given", "weights", "checkpoint"] = Field(
        description="of mean and std: fixed for the data set; measured on its training samples; "
        "given, in the data set's file or by options; those of torchvision's weights; or those of "
        "the checkpoint"
    )


class SiteRow(BaseModel):
    """One activation site after calibration."""

    name: str
    threshold: float = Field(description="theta, the ANN activation's unit; mean over channels")
    max: float = Field(description="largest activation seen")
    mean: float
    zero_share: float = Field(description="share of activations that are zero")
    clipped_share: float = Field(description="share of activations above the threshold")
    channels: int = Field(description="thresholds at this site: 1, or one for each channel")
    sin_ratio: float | None = Field(
        None, description="neurons whose ANN input is negative that fired; null if not asked for"
    )


class CalibrateReport(NetworkReport):
    """The report of ``snnconv calibrate``."""

    name = "calibrate"
    data: DataUse
    calibration_data: DataUse | None = Field(
        None, description="the data that was calibrated on; null where it was data's"
    )
    subset: SubsetUse | None = Field(
        None, description="the training samples; null in an older file"
    )
    look: LookRow | None = Field(None, description="a first look; null in an older file")
    normalisation: NormalisationUse | None = Field(None, description="null in an older file")
    ann_accuracy: float | None = Field(
        None, description="of the ANN on these samples; null in an older file"
    )
    ann_samples: int | None = Field(None, description="samples that ann_accuracy is of")
    imported: ImportRow | None = Field(None, description="null where a checkpoint was read")
    method: str
    params: dict[str, Any]
    granularity: str
    samples: int
    samples_at_once: int | None = Field(
        None, description="as far as the memory allows; null in an older file"
    )
    passes: int | None = Field(
        None,
        description="how often the samples were read: several times if the histograms of all "
        "sites do not fit into the memory; null in an older file",
    )
    histograms_mib: float | None = Field(
        None, description="what the histograms of all sites take; null in an older file"
    )
    relative_error_bound: float = Field(
        description="of a histogram-based threshold against one from all activations at once"
    )
    sites: list[SiteRow]
    sin_steps: int | None = Field(None, description="of the simulation with IF neurons, if any")
    sin_samples: int | None = Field(None, description="samples that were simulated, if any")
    engine: dict[str, Literal["once", "mean", "dense", "event"]] = Field(
        {}, description="how each layer with weights was simulated, if any"
    )

    def code(self) -> ExitCode:
        """Return 4 if the ANN's accuracy is below what was expected, else 0."""
        return self.expected(self.ann_accuracy)


class CorrectionRow(CorrectionInfo):
    """One correction of a network, as the checkpoint has it; a later version may say more."""

    model_config = ConfigDict(extra="ignore")


class ConvertReport(NetworkReport):
    """The report of ``snnconv convert``."""

    name = "convert"
    neuron: str
    params: dict[str, Any]
    params_by_site: dict[str, float] = Field(
        {}, description="site/parameter: what conversion found for each layer, as v_t=auto asks"
    )
    coding: str = Field("rate", description="how spikes stand for what a neuron sends")
    timesteps: int
    latency_steps: Latency = None
    thresholds: Literal["derived", "as-calibrated", "trained"] | None = Field(
        None,
        description="derived: found for this T and neuron from what calibration has kept; "
        "as-calibrated: as they were, because the user said so or because the statistic depends on "
        "no T; trained: QCFS's own; null in an older file",
    )
    threshold_method: str | None = Field(None, description="the statistic")
    threshold_params: dict[str, Any] = Field(
        {}, description="its parameters, those of this conversion if derived"
    )
    granularity: str | None = Field(None, description="layer or channel")
    threshold_by_site: dict[str, float] = Field(
        {}, description="theta, the ANN activation's unit; mean over channels"
    )
    sites_converted: int
    cumulative_pools: list[str] = Field(description="max poolings under the cumulative rule")
    analog: list[str] = Field(
        [], description="operations computed outside the spiking domain, by their nodes' names"
    )
    dropped: list[str] = Field(
        description="a softmax at the end: argmax keeps its meaning without it"
    )
    confidence: dict[str, float] = Field(description="keep probability by site; empty when off")
    early: int | None = Field(description="steps in which confidence acts; null when off")
    confidence_subset: SubsetUse | None = Field(
        None, description="the training samples confidence was measured on; null when off"
    )
    engine: dict[str, Literal["once", "mean", "dense", "event"]] = Field(
        {}, description="how each layer with weights will be simulated, as in evaluate"
    )
    corrections: list[CorrectionRow] = Field(
        [], description="of the network, in their order, if a search has chosen one with them"
    )
    search: SearchUse | None = Field(
        None, description="how method and T were chosen; null without --within"
    )

    def code(self) -> ExitCode:
        """Return 4 if a search found no network that is close enough to its ANN, else 0."""
        failed = self.search is not None and not self.search.reached
        return ExitCode.CHECK_FAILED if failed else ExitCode.DONE


class CorrectedSiteRow(BaseModel):
    """One site before and after a correction."""

    name: str
    mean_error_before: float = Field(
        description="largest difference, over channels, of the mean output from the ANN's mean "
        "activation, over samples, places and steps, in units of the activation"
    )
    mean_error_after: float = Field(description="the same of the corrected network")


class CorrectReport(NetworkReport):
    """The report of ``snnconv correct``."""

    name = "correct"
    data: DataUse | None = Field(None, description="null where a correction was taken off")
    subset: SubsetUse | None = Field(
        None, description="the training samples; null where a correction was taken off"
    )
    neuron: str
    timesteps: int
    latency_steps: Latency = None
    method: str
    params: dict[str, Any]
    samples: int | None = Field(None, description="null where a correction was taken off")
    removed: bool = Field(description="whether the correction was taken off, not added")
    corrections: list[CorrectionRow] = Field(
        description="all that the network has now, in their order"
    )
    parts: dict[str, int] = Field(
        description="numbers that the correction adds, by part: current, potential, amplitude, "
        "weight"
    )
    sites: list[CorrectedSiteRow] = Field(
        [], description="on these samples; empty where a correction was taken off"
    )


class WindowRow(BaseModel):
    """One site before and after a reparameterization."""

    name: str
    window_mismatch_share: float = Field(
        description="share of neurons and windows of L steps whose counts differ"
    )


class ReparameterizeReport(NetworkReport):
    """The report of ``snnconv reparameterize``."""

    name = "reparameterize"
    corrections: list[CorrectionRow] = Field(
        [], description="of the network before it; those of the one after it do the same"
    )
    data: DataUse
    subset: SubsetUse | None = Field(None, description="the test samples; null in an older file")
    neuron: str = Field(description="the kind after it")
    levels: int = Field(description="L, before it; 1 after it")
    timesteps_before: int
    timesteps_after: int
    latency_steps_before: Latency = None
    latency_steps_after: Latency = None
    vanilla: bool = Field(description="whether what mixes time was dropped")
    samples: int
    task: str = Field("classification", description="what the outputs are for")
    headline: Score | None = Field(
        None, description="the score that decides; null in an older file, where it is the accuracy"
    )
    score_before: float | None = Field(
        None, description="without labels, outputs before are the targets; null in an older file"
    )
    score_after: float | None = Field(None, description="on the same samples")
    before_against_after: float | None = Field(
        None, description="p of the paired t-test of the score, where before_and_after is null"
    )
    accuracy_before: float | None = Field(None, description="null for tasks that have none")
    accuracy_before_interval: Interval | None = Field(
        None, description="95 % Wilson interval, [low, high]; and so is the other"
    )
    accuracy_after: float | None = None
    accuracy_after_interval: Interval | None = None
    before_and_after: Difference | None = Field(
        None, description="McNemar's test; `this` in its keys is the network before"
    )
    sops_before: float = Field(description="synaptic operations per sample")
    sops_after: float = Field(description="synaptic operations per sample")
    window_mismatch_share: float = Field(
        description="share of all neurons and windows of L steps whose counts differ"
    )
    sites: list[WindowRow]

    @property
    def measured(self) -> tuple[float, float]:
        """The score that decides, before and after; the accuracy in an older file."""
        scores = (self.score_before, self.score_after)
        was, now = (self.accuracy_before, self.accuracy_after) if None in scores else scores
        assert was is not None
        assert now is not None
        return was, now

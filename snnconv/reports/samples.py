"""The reports of ``predict`` and ``trace``, which simulate samples of one split."""

from typing import Literal

from pydantic import BaseModel, Field

from snnconv.reports.base import Interval, Latency, NetworkReport
from snnconv.reports.stages import DataUse, SubsetUse


class SamplesReport(NetworkReport):
    """Further keys of the report of a stage that simulates samples of one split."""

    data: DataUse
    subset: SubsetUse = Field(description="the samples that were simulated")
    neuron: str
    timesteps: int = Field(description="T")
    latency_steps: Latency = None
    split: Literal["test", "train"]
    samples: int = Field(description="how many were simulated")


class PredictReport(SamplesReport):
    """The report of ``snnconv predict``: a row of its table is a sample."""

    name = "predict"
    task: str = Field("classification", description="what the outputs are for")
    scores: dict[str, float | None] = Field(
        {}, description="of these samples, by the task's scores; empty without labels"
    )
    accuracy: float | None = Field(
        description="share of them whose prediction is their label; null where no class is known"
    )
    accuracy_interval: Interval | None = Field(description="95 % Wilson interval, [low, high]")


class TracedSiteRow(BaseModel):
    """One activation site of a trace."""

    name: str
    shape: list[int] = Field(description="of one sample's neurons")
    neurons: int = Field(description="of one sample")
    spikes: int = Field(
        description="of all samples and steps; a spike of several levels counts as so many"
    )
    firing_rate: float = Field(description="spikes per neuron and step")
    silent_share: float = Field(description="neurons of all samples without a spike, 0..1")
    arrays: list[str] = Field(description="what the file has of the site")


class TraceReport(NetworkReport):
    """The reports of ``predict`` and ``trace``, which simulate samples of one split."""

    name = "trace"
    data: DataUse
    subset: SubsetUse = Field(description="the samples of the trace")
    neuron: str
    coding: str
    timesteps: int = Field(description="T")
    latency_steps: Latency = None
    split: Literal["test", "train"]
    samples: int = Field(description="traced")
    form: Literal["npz", "nir"]
    file: str = Field(description="the trace")
    trace_mib: float = Field(description="of its arrays, before they are compressed")
    sites: list[TracedSiteRow]

"""The report of ``snnconv trace``."""

from typing import Literal

from pydantic import BaseModel, Field

from snnconv.reports.base import Latency, NetworkReport
from snnconv.reports.stages import DataUse, SubsetUse


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
    """The report of ``snnconv trace``."""

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

"""The report of ``snnconv export``, and what an evaluation says of a network in whole numbers."""

from typing import Any

from pydantic import BaseModel, Field

from snnconv.reports.base import Difference, Latency, NetworkReport, Steps
from snnconv.reports.stages import DataUse, SubsetUse


class PeerRow(BaseModel):
    """The results of another program that runs an exported file."""

    name: str = Field(description="the program, with its version")
    samples: int = Field(description="samples that it has run; 0 if it can't run the file")
    cause: str = Field(description="why it may differ, or why it can't run the file")
    difference: float | None = Field(
        None, description="largest difference of a logit, of the largest logit"
    )
    classes_equal: int | None = Field(None, description="samples that both put into one class")
    counts_compared: int | None = Field(None, description="neurons of all samples")
    counts_differing: int | None = Field(
        None, description="of those, how many have another sum of spikes over all steps"
    )
    spikes_differing: int | None = Field(
        None, description="neurons and steps at which one elicits a spike and the other does not"
    )


class IntegerUse(BaseModel):
    """The network in whole numbers, on the same samples."""

    params: dict[str, Any] = Field(description="widths, as `export --to integer` has them")
    accuracy: Steps | None = Field(
        description="by step, next to the network's own; null if labels are no classes"
    )
    against_itself: Difference | None = Field(
        description="the whole numbers and the network itself, at T on the same samples"
    )
    same_class: int = Field(description="samples that both put into one class at T")
    inputs: int = Field(description="values of samples that were rounded")
    inputs_clipped: int = Field(description="of them, those beyond their bits")
    potentials: int = Field(description="neurons and steps of all samples")
    potentials_clipped: int = Field(description="of them, those beyond their bits")


class ExportReport(NetworkReport):
    """The report of ``snnconv export``."""

    name = "export"
    data: DataUse
    subset: SubsetUse = Field(description="the test samples that were compared")
    format: str = Field(description="as --to names it")
    params: dict[str, Any] = Field(description="the format's")
    neuron: str
    timesteps: int = Field(description="T of the network")
    latency_steps: Latency = None
    referee: str = Field(description="what ran the files")
    samples: int = Field(description="samples that were run by both")
    steps: int = Field(description="steps of each that were run by both")
    difference: float = Field(
        description="largest difference of a logit after any step from this tool's dense engine, "
        "of the largest logit; 0 is bit for bit"
    )
    tolerance: float | None = Field(
        description="largest difference that is allowed; null if the format is another network by "
        "intent, such as one of whole numbers"
    )
    samples_beyond: int | None = Field(
        None, description="samples with a logit that differs by more than is allowed"
    )
    classes_equal: int = Field(description="samples that both put into the same class at the end")
    spikes_compared: int | None = Field(
        None, description="neurons and steps of all samples; null if the files show no spikes"
    )
    spikes_differing: int | None = Field(None, description="of those, how many differ")
    accuracy: float | None = Field(
        None, description="share of the samples that the files put into their class, after T steps"
    )
    accuracy_before: float | None = Field(None, description="the same by this tool")
    counted: dict[str, int] = Field(
        {}, description="what the format counts, summed over samples and steps; see the format"
    )
    peers: list[PeerRow] = Field(
        [], description="other programs that read the format, as far as they are installed"
    )

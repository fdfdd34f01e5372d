"""The report of ``snnconv fit``."""

from typing import Any

from pydantic import BaseModel, Field

from snnconv.errors import ExitCode
from snnconv.reports.base import NetworkReport


class FigureRow(BaseModel):
    """One figure of a target."""

    value: Any = Field(description="as the target's file has it")
    source: str = Field(description="where it is published")


class MisfitRow(BaseModel):
    """One thing that does not fit."""

    place: str = Field(description="a layer, an operation, the neurons, the input or the network")
    rule: str = Field(description="the figure that it breaks; `operations` for what is no layer")
    found: str = Field(description="what the network has")
    allowed: str = Field(description="what the target has")
    remedy: str = Field(description="one way round it")


class FitLayerRow(BaseModel):
    """A layer of neurons with all that feeds it."""

    name: str = Field(description="its site, or output")
    weighted: list[str] = Field(description="the matrices and kernels that feed it")
    shape: list[int] = Field(description="of its neurons, for one sample")
    neurons: int = Field(description="potentials; the output has some, and no spikes")
    synapses: int = Field(description="connections: each place of a kernel's map is counted")
    weights: int = Field(description="stored")
    weight_bytes: float | None = Field(description="at the target's width; null if not published")
    state_bytes: float | None = Field(description="of potentials, likewise")
    cores: list[int] = Field(description="from 0; empty if it has no place, or none is published")
    spikes_per_step: float | None = Field(
        None, description="for one sample, as an evaluation found; null without one"
    )
    fits: bool = Field(description="whether none of its parts breaks a figure")


class FitCoreRow(BaseModel):
    """One core."""

    core: int
    layer: str
    used: dict[str, int] = Field(description="entries, by the figure of the memory")
    of: dict[str, int] = Field(description="what it has of them")
    spikes_per_step: float | None = Field(
        None, description="of a sample: the layer's, divided over its cores"
    )


class FitReport(NetworkReport):
    """The report of ``snnconv fit``."""

    name = "fit"
    target: str = Field(description="as --target names it")
    title: str = Field(description="the target's")
    neuron: str
    timesteps: int
    fits: bool = Field(description="whether nothing breaks a figure of the table")
    figures: dict[str, FigureRow] = Field(description="what was checked, and nothing else was")
    not_checked: list[str] = Field(description="figures that no source of the target's gives")
    misfits: list[MisfitRow] = Field(description="all that does not fit")
    layers: list[FitLayerRow]
    cores: list[FitCoreRow] = Field(description="those that are taken")
    mapping: str = Field(
        description="how layers got their cores; empty if no source says what a core holds"
    )
    evaluation: str | None = Field(None, description="where the spikes are from")
    notes: list[str] = Field(description="what the table can't say, and what to measure")

    def code(self) -> ExitCode:
        """Return 4 if the network does not fit."""
        return ExitCode.DONE if self.fits else ExitCode.CHECK_FAILED

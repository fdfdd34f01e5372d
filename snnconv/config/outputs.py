"""The options of the stages whose results leave the run folder: tables, traces, files, pages."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from snnconv.config.base import (
    ARGUMENT,
    DataConfig,
    SpikingCheckpoint,
    SpikingConfig,
    StageConfig,
    methods,
    names_of,
    parts,
)
from snnconv.core.bounds import COUNT

RECORDED = ("spikes", "potentials", "thresholds", "activations", "ann", "currents")
"""What a trace may have of each site."""
USUAL = RECORDED[:-1]


NamesOption = Annotated[tuple[str, ...], BeforeValidator(parts)]
"""Names with commas between them, or an option given several times."""


class SamplesConfig(SpikingConfig):
    """Options of stages that simulate samples of one split."""

    split: Literal["test", "train"] = Field(default="test", description="split of the data set")
    batch_size: int = Field(
        default=20,
        ge=1,
        le=COUNT,
        description="number of samples simulated at once; changes no result",
    )


class PredictConfig(SamplesConfig):
    """Write a table of what a spiking network predicts for every sample, with its logits."""

    panel: ClassVar[str] = "Prediction"
    example: ClassVar[str] = "snnconv predict --data folder:photos --out predictions.csv"
    suffix: ClassVar[str] = ".csv"
    limit: int | None = Field(
        default=None,
        ge=1,
        le=COUNT,
        description="predict only N samples, in which each class keeps its share",
    )
    out: Path | None = Field(default=None, description="table to write; by default RUN/predict.csv")


class TraceConfig(SamplesConfig):
    """Write the spikes, potentials, thresholds and activations of every neuron at every step."""

    panel: ClassVar[str] = "Trace"
    example: ClassVar[str] = "snnconv trace --limit 4 --sites '2,6' --out digits.npz"
    suffix: ClassVar[str] = ""
    limit: int = Field(
        default=10,
        ge=1,
        le=COUNT,
        description="trace N samples, in which each class keeps its share",
    )
    sites: NamesOption = Field(
        default=(),
        description="names of activation sites, separated by commas, with the wildcards * and ?; "
        "by default all sites",
    )
    record: NamesOption = Field(
        default=USUAL,
        description=f"what to write of each site: {', '.join(RECORDED)}; by default everything but "
        "currents. `ann` is the activation of the ANN for the same samples",
        json_schema_extra=names_of(),
    )
    form: Literal["npz", "nir"] = Field(
        default="npz",
        description="file format: arrays for numpy with named axes (npz), or NIRData, which "
        "nir.read_data reads (nir)",
    )
    dt: float = Field(default=1e-4, gt=0, description="length of a step in seconds, for --form nir")
    out: Path | None = Field(
        default=None, description="file to write; by default RUN/trace.npz or RUN/trace.nir"
    )

    @field_validator("record")
    @classmethod
    def _record_is_known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not given or not set(given) <= set(RECORDED):
            raise ValueError(f"take some of {', '.join(RECORDED)}")
        return tuple(name for name in RECORDED if name in given)

    @field_validator("out")
    @classmethod
    def _out_has_the_forms_suffix(cls, out: Path | None, info: ValidationInfo) -> Path | None:
        form = info.data.get("form", "npz")
        if out is not None and out.suffix != f".{form}":
            raise ValueError(f"name a file that ends with .{form}, or another --form")
        return out


class ExportConfig(DataConfig):
    """Write a spiking network as files for another program, and compare them with snnconv."""

    panel: ClassVar[str] = "Export"
    example: ClassVar[str] = "snnconv export --to torch --out spiking.py"
    suffix: ClassVar[str] = ""
    checkpoint: SpikingCheckpoint = None
    to: str = Field(
        default="torch",
        description="format: " + methods("exports"),
        json_schema_extra=names_of("exports"),
    )
    param: dict[str, Any] = Field(default={}, description="parameter of the format, NAME=VALUE")
    limit: int = Field(
        default=100,
        ge=1,
        le=COUNT,
        description="compare on N test samples, in which each class keeps its share",
    )
    out: Path | None = Field(
        default=None,
        description="file to write, with the suffix of the format; by default in RUN/export",
    )


class FitConfig(StageConfig):
    """Check whether a spiking network fits a chip, by the published figures of the chip."""

    panel: ClassVar[str] = "Fit"
    example: ClassVar[str] = "snnconv fit --target dynapcnn"
    suffix: ClassVar[str] = ".json"
    checkpoint: SpikingCheckpoint = None
    target: str = Field(
        default="generic-digital",
        description="chip (snnconv ls targets), or a FILE.toml of your own",
        json_schema_extra=names_of(),
    )
    evaluation: Path | None = Field(
        default=None,
        description="report of evaluate, from which spikes per core and step are taken; by "
        "default the report of this network in the run folder",
    )
    out: Path | None = Field(default=None, description="report to write; by default RUN/fit.json")


class ReportConfig(StageConfig):
    """Show evaluations as a table, as Markdown, and as one self-contained HTML file."""

    panel: ClassVar[str] = "Report"
    example: ClassVar[str] = "snnconv report first-run second-run --out both.html"
    suffix: ClassVar[str] = ".html"
    evaluations: tuple[Path, ...] = Field(
        default=(),
        description="reports of evaluate, or run folders; by default all reports of the run folder",
        json_schema_extra=ARGUMENT,
    )
    figures: Path | None = Field(
        default=None,
        description="folder into which every plot is written as SVG and PDF, and every table as "
        "CSV and LaTeX; requires the extra snnconv[figures]",
    )
    out: Path | None = Field(
        default=None, description="HTML file to write; by default RUN/report.html"
    )

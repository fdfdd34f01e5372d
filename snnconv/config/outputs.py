"""The options of the stages whose results leave the run folder: tables, traces, files, pages."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from snnconv.config.base import ARGUMENT, DataConfig, SimulationConfig, StageConfig, names_of, parts
from snnconv.core.bounds import COUNT, STEPS

RECORDED = ("spikes", "potentials", "thresholds", "activations", "ann", "currents")
"""What a trace may have of each site."""
USUAL = RECORDED[:-1]


NamesOption = Annotated[tuple[str, ...], BeforeValidator(parts)]
"""Names with commas between them, or an option given several times."""


class SamplesConfig(SimulationConfig):
    """Options of stages that simulate a spiking network on samples of one split."""

    checkpoint: Path | None = Field(
        default=None,
        description="spiking checkpoint; the run's newest by default",
        json_schema_extra=ARGUMENT,
    )
    split: Literal["test", "train"] = Field(default="test", description="part of the data")
    timesteps: int | None = Field(
        default=None, ge=1, le=STEPS, description="T; the checkpoint's by default"
    )
    batch_size: int = Field(
        default=20, ge=1, le=COUNT, description="samples simulated at once; changes no result"
    )
    chunk: int = Field(
        default=32, ge=1, le=COUNT, description="time steps computed at once; changes no result"
    )


class PredictConfig(SamplesConfig):
    """Write the class and the logits that a spiking network finds for every sample."""

    panel: ClassVar[str] = "Prediction"
    example: ClassVar[str] = "snnconv predict --data folder:photos --out predictions.csv"
    suffix: ClassVar[str] = ".csv"
    limit: int | None = Field(
        default=None, ge=1, le=COUNT, description="take N samples, every class by its share"
    )
    out: Path | None = Field(default=None, description="table; RUN/predict.csv by default")


class TraceConfig(SamplesConfig):
    """Write what every neuron does at every step: spikes, potentials, thresholds, activations."""

    panel: ClassVar[str] = "Trace"
    example: ClassVar[str] = "snnconv trace --limit 4 --sites '2,6' --out digits.npz"
    suffix: ClassVar[str] = ""
    limit: int = Field(
        default=10, ge=1, le=COUNT, description="trace N samples, every class by its share"
    )
    sites: NamesOption = Field(
        default=(),
        description="names of activation sites with commas between them, with * and ? for what "
        "differs; all by default",
    )
    record: NamesOption = Field(
        default=USUAL,
        description=f"what to write of each site: {', '.join(RECORDED)}; by default all but "
        "currents. `ann` is the ANN's activation of the same samples",
        json_schema_extra=names_of(),
    )
    form: Literal["npz", "nir"] = Field(
        default="npz",
        description="arrays for numpy with named axes, or NIRData, which nir.read_data reads",
    )
    dt: float = Field(default=1e-4, gt=0, description="seconds of a step, for --form nir")
    out: Path | None = Field(default=None, description="file; RUN/trace.npz or .nir by default")

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
    checkpoint: Path | None = Field(
        default=None,
        description="spiking checkpoint; the run's newest by default",
        json_schema_extra=ARGUMENT,
    )
    to: str = Field(
        default="torch",
        description="format (snnconv ls exports), or file.py:NAME or package.module:NAME, whose "
        "code is run",
        json_schema_extra=names_of("exports"),
    )
    param: dict[str, Any] = Field(default={}, description="NAME=VALUE of the format")
    limit: int = Field(
        default=100,
        ge=1,
        le=COUNT,
        description="compare on N test samples, every class by its share",
    )
    out: Path | None = Field(
        default=None, description="file, with the format's suffix; in RUN/export by default"
    )


class FitConfig(StageConfig):
    """Hold a spiking network against a chip's published figures: what fits, and what does not."""

    panel: ClassVar[str] = "Fit"
    example: ClassVar[str] = "snnconv fit --target dynapcnn"
    suffix: ClassVar[str] = ".json"
    checkpoint: Path | None = Field(
        default=None,
        description="spiking checkpoint; the run's newest by default",
        json_schema_extra=ARGUMENT,
    )
    target: str = Field(
        default="generic-digital",
        description="chip (snnconv ls targets), or FILE.toml of your own",
        json_schema_extra=names_of(),
    )
    evaluation: Path | None = Field(
        default=None,
        description="report of evaluate, for spikes per core and step; by default the run's of "
        "this network",
    )
    out: Path | None = Field(default=None, description="report; RUN/fit.json by default")


class ReportConfig(StageConfig):
    """Put evaluations into a table, Markdown and one self-contained HTML file."""

    panel: ClassVar[str] = "Report"
    example: ClassVar[str] = "snnconv report first-run second-run --out both.html"
    suffix: ClassVar[str] = ".html"
    evaluations: tuple[Path, ...] = Field(
        default=(),
        description="evaluate reports or run folders; by default those in the run folder",
        json_schema_extra=ARGUMENT,
    )
    figures: Path | None = Field(
        default=None,
        description="folder for every plot as SVG and PDF, and every table as CSV and LaTeX; takes "
        "the extra snnconv[figures]",
    )
    out: Path | None = Field(default=None, description="HTML file; RUN/report.html by default")

"""The options of the stages that make networks, and of those that measure and show them."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from snnconv.config.base import (
    ARGUMENT,
    DataConfig,
    ModelConfig,
    NormalisationConfig,
    SimulationConfig,
    StageConfig,
    methods,
    names_of,
)
from snnconv.config.comparison import SearchConfig
from snnconv.core.bounds import COUNT, STEPS

METRICS = (
    "accuracy",
    "scores",
    "firing-rate",
    "synops",
    "functions",
    "pooled-synops",
    "events",
    "energy",
    "energy-memory",
    "energy-twin",
    "sin",
    "conversion-error",
)


class CalibrateConfig(ModelConfig, SimulationConfig, NormalisationConfig):
    """Find a threshold for every activation site from activation statistics."""

    panel: ClassVar[str] = "Calibration"
    example: ClassVar[str] = "snnconv calibrate network.onnx --data folder:photos"
    method: str = Field(
        default="mse",
        description=methods("statistics"),
        json_schema_extra=names_of("statistics"),
    )
    param: dict[str, Any] = Field(
        default={}, description="parameter of the method, NAME=VALUE, e.g. scale=0.8"
    )
    granularity: Literal["layer", "channel"] = Field(
        default="channel", description="one threshold for each channel, or for each layer"
    )
    samples: int = Field(
        default=1024, ge=1, le=COUNT, description="training samples to calibrate on"
    )
    calibration_data: str | None = Field(
        default=None,
        description="other data, whose training samples are calibrated on in place of those of "
        "--data; they may have no labels",
        json_schema_extra=names_of("datasets"),
    )
    sin: int | None = Field(
        default=None,
        ge=1,
        le=STEPS,
        description="simulate IF neurons on these thresholds for this many steps, and report each "
        "site's share of neurons that fire although the ANN has them inactive",
    )
    sin_samples: int = Field(
        default=256, ge=1, le=COUNT, description="how many of the samples to simulate for --sin"
    )
    expect_accuracy: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="exit with code 4 if the ANN's accuracy is lower: 0.9 is 90 %",
    )
    out: Path | None = Field(
        default=None, description="checkpoint; RUN/calibrated.safetensors by default"
    )


class ConvertConfig(SearchConfig):
    """Put a spiking neuron at every activation site."""

    panel: ClassVar[str] = "Conversion"
    example: ClassVar[str] = "snnconv convert --neuron msat --timesteps 32"
    checkpoint: Path | None = Field(
        default=None,
        description="calibrated checkpoint; by default the run's",
        json_schema_extra=ARGUMENT,
    )
    neuron: str = Field(
        default="if",
        description=methods("neurons"),
        json_schema_extra=names_of("neurons"),
    )
    param: dict[str, Any] = Field(
        default={}, description="parameter of the neuron, NAME=VALUE, e.g. preset=vgg16"
    )
    coding: str = Field(
        default="rate",
        description=methods("codings"),
        json_schema_extra=names_of("codings"),
    )
    timesteps: int = Field(
        default=8, ge=1, le=STEPS, description="T, the time steps of the simulation"
    )
    thresholds: Literal["derived", "as-calibrated"] = Field(
        default="derived",
        description="find them again for this T and neuron, if the statistic of the calibration "
        "depends on them (mse), or keep those of the calibration; needs no data",
    )
    granularity: Literal["layer", "channel"] | None = Field(
        default=None,
        description="one threshold for each channel, or for each layer; the calibration's by "
        "default. From channels to layers needs no data (mse)",
    )
    confidence: str = Field(
        default="off",
        description="spike confidence: off, last, all, or site names with commas between them",
    )
    early: int = Field(
        default=16, ge=1, le=STEPS, description="E, the first steps, in which spike confidence acts"
    )
    confidence_samples: int = Field(
        default=256, ge=1, le=COUNT, description="samples to measure confidence on"
    )
    out: Path | None = Field(
        default=None, description="checkpoint; RUN/converted.safetensors by default"
    )

    @field_validator(
        *("neuron", "param", "coding", "timesteps"), *("thresholds", "granularity", "confidence")
    )
    @classmethod
    def _search_does_not_choose(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if value != field.default and info.data.get("within") is not None:
            raise ValueError("drop it, or --within, which chooses it")
        return value


class CorrectConfig(SimulationConfig):
    """Correct a converted network on calibration samples, without labels; or take one off."""

    panel: ClassVar[str] = "Correction"
    example: ClassVar[str] = "snnconv correct --method bias"
    checkpoint: Path | None = Field(
        default=None,
        description="converted or corrected checkpoint; the run's newest by default",
        json_schema_extra=ARGUMENT,
    )
    method: str | None = Field(
        default=None,
        description="bias by default (snnconv ls corrections), or file.py:NAME or "
        "package.module:NAME, whose code is run",
        json_schema_extra=names_of("corrections"),
    )
    param: dict[str, Any] = Field(
        default={}, description="NAME=VALUE of the method, e.g. tolerance=0.001"
    )
    samples: int = Field(default=256, ge=1, le=COUNT, description="training samples to correct on")
    remove: str | None = Field(
        default=None,
        description="take off the last correction of this method, and add none",
        json_schema_extra=names_of("corrections"),
    )
    out: Path | None = Field(
        default=None, description="checkpoint; RUN/corrected.safetensors by default"
    )


class ReparameterizeConfig(DataConfig):
    """Turn neurons of L levels at T steps into ones of one threshold at L*T, and compare."""

    panel: ClassVar[str] = "Reparameterization"
    example: ClassVar[str] = "snnconv reparameterize --tolerance 1"
    checkpoint: Path | None = Field(
        default=None,
        description="converted, corrected or fine-tuned checkpoint; by default the run's newest",
        json_schema_extra=ARGUMENT,
    )
    vanilla: bool = Field(
        default=False,
        description="also drop the matrix over time: plain IF neurons, which can stream",
    )
    tolerance: float = Field(
        default=0.5,
        ge=0,
        description="largest difference of accuracy, or of the task's score, in points (percent of "
        "an error); with --vanilla it may be larger",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=COUNT,
        description="compare on N test samples, each class by its share",
    )
    out: Path | None = Field(
        default=None, description="checkpoint; RUN/reparameterized.safetensors by default"
    )


class EvaluateConfig(SimulationConfig):
    """Measure accuracy, spikes, energy and errors of a spiking network, and of its ANN."""

    panel: ClassVar[str] = "Measurement"
    example: ClassVar[str] = "snnconv evaluate --metric accuracy --metric energy"
    suffix: ClassVar[str] = ".json"
    checkpoint: Path | None = Field(
        default=None,
        description="spiking checkpoint; by default the run's newest",
        json_schema_extra=ARGUMENT,
    )
    batch_size: int | None = Field(
        # type: ignore[assignment]
        default=None,
        ge=1,
        le=COUNT,
        description="samples simulated at once; changes no result, only speed",
    )
    timesteps: int | None = Field(
        default=None, ge=1, le=STEPS, description="T, the time steps; by default the checkpoint's"
    )
    limit: int | None = Field(
        default=None, ge=1, le=COUNT, description="use N test samples, each class by its share"
    )
    chunk: int = Field(
        default=32, ge=1, le=COUNT, description="time steps computed at once; changes no result"
    )
    metric: tuple[str, ...] = Field(
        default=METRICS,
        description="what to measure (snnconv ls metrics), or file.py:NAME or package.module:NAME, "
        "whose code is run; repeat the option for several",
        json_schema_extra=names_of("metrics"),
    )
    readout_from: int = Field(
        default=1,
        ge=1,
        le=STEPS,
        description="the first step whose currents count for the class: logits are their mean from "
        "it on",
    )
    exit: dict[str, Any] = Field(
        default={},
        description="measure early exit, too: each sample stops at the first step at which the "
        "network is so sure of its answer: margin=X, 0 to 1",
    )
    integer: dict[str, Any] = Field(
        default={},
        description="measure the network in whole numbers, too: widths as `export --to integer` "
        "takes them, bits=N, state_bits=N, ...",
    )
    energy_ac_pj: float = Field(
        default=0.9, gt=0, description="energy of an accumulate in pJ (45 nm, 32 bit)"
    )
    energy_mac_pj: float = Field(
        default=4.6, gt=0, description="energy of a multiply-accumulate in pJ"
    )
    energy_lookup_pj: float = Field(
        default=10.0,
        gt=0,
        description="energy of a look-up of a function in a table in pJ (45 nm, 8 KiB)",
    )
    expect_accuracy: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="end with exit code 4 if the accuracy at T is below: 0.9 is 90 %",
    )
    out: Path | None = Field(default=None, description="report; RUN/evaluate.json by default")

    @field_validator("exit")
    @classmethod
    def _exit_has_a_margin(cls, given: dict[str, Any]) -> dict[str, Any]:
        margin = given.get("margin", 0)
        number = isinstance(margin, int | float) and not isinstance(margin, bool)
        if given and (given.keys() != {"margin"} or not number or not 0 <= margin <= 1):
            raise ValueError("give margin=X, a number from 0 to 1")
        return given


class InspectConfig(ModelConfig, NormalisationConfig):
    """Show what is in a checkpoint or a network, node by node, and what can't be converted."""

    panel: ClassVar[str] = "Model"
    example: ClassVar[str] = "snnconv inspect network.onnx"
    model: str | None = Field(
        default=None,
        description="any checkpoint, or what calibrate takes; by default the run's newest",
        json_schema_extra=ARGUMENT,
    )


class DemoConfig(StageConfig):
    """Run the whole pipeline on embedded data: IF, MSAT and LM-HT, and a report at the end."""

    panel: ClassVar[str] = "Demo"
    example: ClassVar[str] = "snnconv demo --timesteps 16"
    run: Path = Field(
        default=Path("snnconv-demo"), description="run folder: checkpoints and reports"
    )
    timesteps: int = Field(
        default=8,
        ge=1,
        le=STEPS,
        description="T, the time steps of the simulation; LM-HT takes a quarter of them",
    )


class DoctorConfig(StageConfig):
    """Check the installation: versions, devices, data sets, and that spikes come out right."""

    panel: ClassVar[str] = "Doctor"
    example: ClassVar[str] = "snnconv doctor"

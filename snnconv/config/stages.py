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
    SpikingConfig,
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
        default={}, description="parameter of the method, NAME=VALUE, for example scale=0.8"
    )
    granularity: Literal["layer", "channel"] = Field(
        default="channel",
        description="whether each channel or each layer has a threshold of its own",
    )
    samples: int = Field(
        default=1024, ge=1, le=COUNT, description="number of training samples to calibrate on"
    )
    calibration_data: str | None = Field(
        default=None,
        description="calibrate on the training samples of this data set instead of those of "
        "--data; it needs no labels",
        json_schema_extra=names_of("datasets"),
    )
    sin: int | None = Field(
        default=None,
        ge=1,
        le=STEPS,
        description="simulate IF neurons with these thresholds for this many steps, and report "
        "for each site the share of neurons that fire although they are inactive in the ANN",
    )
    sin_samples: int = Field(
        default=256, ge=1, le=COUNT, description="number of samples to simulate for --sin"
    )
    expect_accuracy: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="exit with code 4 if the ANN's accuracy is lower: 0.9 is 90 %",
    )
    out: Path | None = Field(
        default=None, description="checkpoint to write; by default RUN/calibrated.safetensors"
    )


class ConvertConfig(SearchConfig):
    """Put a spiking neuron at every activation site."""

    panel: ClassVar[str] = "Conversion"
    example: ClassVar[str] = "snnconv convert --neuron msat --timesteps 32"
    checkpoint: Path | None = Field(
        default=None,
        description="calibrated checkpoint; by default that of the run folder",
        json_schema_extra=ARGUMENT,
    )
    neuron: str = Field(
        default="if",
        description=methods("neurons"),
        json_schema_extra=names_of("neurons"),
    )
    param: dict[str, Any] = Field(
        default={}, description="parameter of the neuron, NAME=VALUE, for example preset=vgg16"
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
        description="derive thresholds again for this T and neuron, if the statistic of the "
        "calibration depends on them, as mse does; or keep those of the calibration. Needs no data",
    )
    granularity: Literal["layer", "channel"] | None = Field(
        default=None,
        description="whether each channel or each layer has a threshold of its own; by default as "
        "calibrated. With mse, one threshold for each layer can be found again without data",
    )
    confidence: str = Field(
        default="off",
        description="sites with spike confidence: off, last, all, or names separated by commas",
    )
    early: int = Field(
        default=16,
        ge=1,
        le=STEPS,
        description="E, the number of first steps in which spike confidence acts",
    )
    confidence_samples: int = Field(
        default=256, ge=1, le=COUNT, description="number of samples to measure confidence on"
    )
    out: Path | None = Field(
        default=None, description="checkpoint to write; by default RUN/converted.safetensors"
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
    """Correct a converted network on samples without labels, or remove a correction."""

    panel: ClassVar[str] = "Correction"
    example: ClassVar[str] = "snnconv correct --method bias"
    checkpoint: Path | None = Field(
        default=None,
        description="converted or corrected checkpoint; by default the newest of the run folder",
        json_schema_extra=ARGUMENT,
    )
    method: str | None = Field(
        default=None,
        description=methods("corrections") + "; by default bias",
        json_schema_extra=names_of("corrections"),
    )
    param: dict[str, Any] = Field(
        default={}, description="parameter of the method, NAME=VALUE, for example tolerance=0.001"
    )
    samples: int = Field(
        default=256, ge=1, le=COUNT, description="number of training samples to correct on"
    )
    remove: str | None = Field(
        default=None,
        description="remove the last correction of this method, and add none",
        json_schema_extra=names_of("corrections"),
    )
    out: Path | None = Field(
        default=None, description="checkpoint to write; by default RUN/corrected.safetensors"
    )


class ReparameterizeConfig(DataConfig):
    """Turn neurons with L levels and T steps into neurons with one threshold and L*T steps."""

    panel: ClassVar[str] = "Reparameterization"
    example: ClassVar[str] = "snnconv reparameterize --tolerance 1"
    checkpoint: Path | None = Field(
        default=None,
        description="converted, corrected or fine-tuned checkpoint; by default the newest of the "
        "run folder",
        json_schema_extra=ARGUMENT,
    )
    vanilla: bool = Field(
        default=False,
        description="drop the matrix over time, too, which gives plain IF neurons that can stream",
    )
    tolerance: float = Field(
        default=0.5,
        ge=0,
        description="largest difference of accuracy, or of the score of the task, in points (for "
        "an error in percent of it); with --vanilla it may be larger",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=COUNT,
        description="compare on N test samples, in which each class keeps its share",
    )
    out: Path | None = Field(
        default=None, description="checkpoint to write; by default RUN/reparameterized.safetensors"
    )


class EvaluateConfig(SpikingConfig):
    """Measure accuracy, spikes, energy and errors of a spiking network, and of its ANN."""

    panel: ClassVar[str] = "Measurement"
    example: ClassVar[str] = "snnconv evaluate --metric accuracy --metric energy"
    suffix: ClassVar[str] = ".json"
    batch_size: int | None = Field(
        # type: ignore[assignment]
        default=None,
        ge=1,
        le=COUNT,
        description="number of samples simulated at once; changes only the speed",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=COUNT,
        description="use only N test samples, in which each class keeps its share",
    )
    metric: tuple[str, ...] = Field(
        default=METRICS,
        description="what to measure (snnconv ls metrics), or file.py:NAME or "
        "package.module:NAME, whose code is run; repeat the option for several metrics",
        json_schema_extra=names_of("metrics"),
    )
    readout_from: int = Field(
        default=1,
        ge=1,
        le=STEPS,
        description="first step whose currents count for the prediction: logits are the mean of "
        "the currents from this step on",
    )
    exit: dict[str, Any] = Field(
        default={},
        description="also measure early exit: each sample stops at the first step at which the "
        "two largest probabilities differ by margin=X or more, 0 to 1",
    )
    integer: dict[str, Any] = Field(
        default={},
        description="also measure the network in whole numbers of these widths: bits=N, "
        "state_bits=N, ..., as `export --to integer` takes them",
    )
    energy_ac_pj: float = Field(
        default=0.9,
        gt=0,
        description="energy of an accumulate in pJ; by default for 45 nm and 32 bits",
    )
    energy_mac_pj: float = Field(
        default=4.6, gt=0, description="energy of a multiply-accumulate in pJ"
    )
    energy_lookup_pj: float = Field(
        default=10.0,
        gt=0,
        description="energy of a look-up of a function in a table in pJ; by default for 45 nm and "
        "a table of 8 KiB",
    )
    expect_accuracy: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="exit with code 4 if the accuracy at T is lower: 0.9 is 90 %",
    )
    out: Path | None = Field(
        default=None, description="report to write; by default RUN/evaluate.json"
    )

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
        description="any checkpoint, or a network that calibrate accepts; by default the newest "
        "checkpoint of the run folder",
        json_schema_extra=ARGUMENT,
    )


class DemoConfig(StageConfig):
    """Run the whole pipeline on embedded data: IF, MSAT and LM-HT, and a report of all three."""

    panel: ClassVar[str] = "Demo"
    example: ClassVar[str] = "snnconv demo --timesteps 16"
    run: Path = Field(
        default=Path("snnconv-demo"), description="run folder, which holds checkpoints and reports"
    )
    timesteps: int = Field(
        default=8,
        ge=1,
        le=STEPS,
        description="T, the time steps of the simulation; LM-HT runs for a quarter of them",
    )


class DoctorConfig(StageConfig):
    """Check the installation: versions, devices, data sets, and that spikes come out right."""

    panel: ClassVar[str] = "Doctor"
    example: ClassVar[str] = "snnconv doctor"

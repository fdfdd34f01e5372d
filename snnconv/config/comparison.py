"""What a comparison of conversion methods takes, and a search among them."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from snnconv.config.base import (
    ModelConfig,
    NormalisationConfig,
    SimulationConfig,
    StageConfig,
    names_of,
    parts,
)
from snnconv.core.bounds import COUNT, SEED, STEPS


def named(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return the methods, each once.

    Raises:
        ValueError: there is none.
    """
    if not methods:
        raise ValueError("name a method, or all")
    return tuple(dict.fromkeys(methods))


_METHODS = (
    "names, separated by commas, of presets (snnconv ls presets) or of TOML files of your own; "
    "all means every preset"
)
ABILITIES = ("signed", "levels", "waiting")
"""What neurons may do beyond one positive spike a step from the first step on."""
TRAINED = (4,)
"""T of a comparison of training methods, unless the user gives others."""


class SearchConfig(SimulationConfig):
    """Options of a conversion that chooses its method and T."""

    panel: ClassVar[str] = "Search"
    within: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="search for the method, neuron and T of the cheapest network whose accuracy "
        "is at most this many points below that of the ANN, measured on held-out training samples",
    )
    max_timesteps: int = Field(default=32, ge=1, le=STEPS, description="the largest T to try")
    cost: Literal["energy", "latency", "spikes"] = Field(
        default="energy", description="what the search minimises"
    )
    allow: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=ABILITIES,
        description="what neurons may do: fire spikes of both signs (signed), fire several levels "
        "in a step (levels), wait before their first spike (waiting); separated by commas, or none",
    )
    methods: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=("all",),
        description=f"methods to try: {_METHODS}, except for presets that train weights, which you "
        "have to name",
    )
    held_out: int = Field(
        default=1000,
        ge=1,
        le=COUNT,
        description="largest number of held-out training samples to measure on",
    )

    @field_validator("allow")
    @classmethod
    def _abilities_are_known(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        found = {name.lower() for name in allow}
        if found == {"none"}:
            return ()
        if not found or found - set(ABILITIES):
            raise ValueError(f"give some of {', '.join(ABILITIES)}, with commas, or none")
        return tuple(name for name in ABILITIES if name in found)

    @field_validator("max_timesteps", "cost", "allow", "methods", "held_out")
    @classmethod
    def _search_is_wanted(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if value != field.default and info.data.get("within", 0) is None:
            raise ValueError("give --within POINTS, too: it is of the search")
        return value

    @field_validator("methods")
    @classmethod
    def _methods_are_named(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return named(methods)


class BudgetConfig(StageConfig):
    """Options of a comparison of training methods: one budget for all of them."""

    panel: ClassVar[str] = "Training methods"
    training: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=(),
        description="compare training methods from scratch: names, separated by commas, of "
        "presets (snnconv ls training-presets) or of TOML files of your own; all means every "
        "preset",
        json_schema_extra=names_of(),
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(parts)] = Field(
        default=(),
        description="train each method once with each of these seeds, separated by commas; by "
        "default with --seed alone",
    )
    epochs: int = Field(
        default=30,
        ge=1,
        le=COUNT,
        description="number of passes of each method over the training samples",
    )
    train_batch_size: int = Field(
        default=128, ge=1, le=COUNT, description="number of samples for each optimiser step"
    )
    train_limit: int | None = Field(
        default=None,
        ge=2,
        le=COUNT,
        description="train on N samples, in which each class keeps its share",
    )
    augment: tuple[str, ...] = Field(
        default=(),
        description="augmentation for every method: flip, crop, resized-crop, autoaugment or "
        "cutout; repeat the option for several",
        json_schema_extra=names_of(),
    )
    validation: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the training split that is held out to measure every epoch",
    )

    @field_validator("training", mode="before")
    @classmethod
    def _methods_are_given(cls, training: object) -> object:
        if training and not parts(training):
            raise ValueError("name a preset, or all")
        return training

    @field_validator("seeds")
    @classmethod
    def _seeds_are_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 <= seed <= SEED for seed in seeds):
            raise ValueError(f"give whole numbers from 0 to {SEED}")
        return tuple(dict.fromkeys(seeds))

    @field_validator("seeds", "epochs", "train_batch_size", "train_limit", "augment", "validation")
    @classmethod
    def _training_is_compared(cls, value: Any, info: ValidationInfo) -> Any:
        default = BudgetConfig.model_fields[str(info.field_name)].default
        if value != default and not info.data.get("training"):
            raise ValueError("give --training NAME, too: it is of a comparison of training methods")
        return value


class CompareConfig(ModelConfig, SimulationConfig, NormalisationConfig, BudgetConfig):
    """Run conversion or training methods, and show the cheapest one for each accuracy."""

    panel: ClassVar[str] = "Comparison"
    example: ClassVar[str] = "snnconv compare resnet20.safetensors --timesteps 4,8 --limit 1000"
    suffix: ClassVar[str] = ".json"
    methods: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=("all",), description=_METHODS
    )
    timesteps: Annotated[tuple[int, ...], BeforeValidator(parts)] = Field(
        default=(1, 2, 4, 8, 16, 32),
        description="T, one or several, separated by commas; with --training 4 by default",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=COUNT,
        description="use only N test samples, in which each class keeps its share",
    )
    samples: int = Field(
        default=1024,
        ge=1,
        le=COUNT,
        description="number of training samples that each method calibrates on",
    )
    csv: Path | None = Field(
        default=None, description="also write the results of every method and T to this CSV file"
    )
    out: Path | None = Field(
        default=None,
        description="report to write; by default RUN/compare.json, or RUN/compare-training.json "
        "with --training",
    )

    @model_validator(mode="before")
    @classmethod
    def _training_has_few_steps(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("training"):
            return {"timesteps": TRAINED, **given}
        return given

    @field_validator("weights", check_fields=False)
    @classmethod
    def _trains_from_scratch(cls, weights: Path | None, info: ValidationInfo) -> Path | None:
        if weights is not None and info.data.get("training"):
            raise ValueError("drop it, or --training: there networks are trained from scratch")
        return weights

    @field_validator("timesteps")
    @classmethod
    def _timesteps_are_steps(cls, timesteps: tuple[int, ...]) -> tuple[int, ...]:
        if not timesteps or not all(1 <= T <= STEPS for T in timesteps):
            raise ValueError(f"give numbers of steps from 1 to {STEPS}")
        return tuple(sorted(set(timesteps)))

    @field_validator("csv")
    @classmethod
    def _csv_has_its_suffix(cls, csv: Path | None) -> Path | None:
        if csv is not None and csv.suffix != ".csv":
            raise ValueError("name a file that ends with .csv")
        return csv

    @field_validator("methods")
    @classmethod
    def _methods_are_named(cls, methods: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("training") and methods != cls.model_fields["methods"].default:
            raise ValueError("drop it, or --training: methods are of conversion or of training")
        return named(methods)

"""What a comparison of conversion methods takes, and a search among them."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from snnconv.config.base import ModelConfig, NormalisationConfig, SimulationConfig, parts
from snnconv.core.bounds import COUNT, STEPS


def named(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return the methods, each once.

    Raises:
        ValueError: there is none.
    """
    if not methods:
        raise ValueError("name a method, or all")
    return tuple(dict.fromkeys(methods))


_METHODS = (
    "names with commas between them: presets of the package (snnconv ls presets), TOML files of "
    "your own, or all presets"
)
ABILITIES = ("signed", "levels", "waiting")
"""What neurons may do beyond one positive spike a step from the first step on."""


class SearchConfig(SimulationConfig):
    """Options of a conversion that chooses its method and T."""

    panel: ClassVar[str] = "Search"
    within: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="choose method, neuron and T: the cheapest network that is at most so many "
        "points of accuracy below the ANN, measured on training samples that were held out",
    )
    max_timesteps: int = Field(default=32, ge=1, le=STEPS, description="the largest T to try")
    cost: Literal["energy", "latency", "spikes"] = Field(
        default="energy", description="what is to be cheap"
    )
    allow: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=ABILITIES,
        description="what neurons may do: spikes of both signs, several levels in a step, waiting "
        "before their first spike; names with commas between them, or none",
    )
    methods: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=("all",),
        description=f"what to try: {_METHODS}, but for those that train weights, which are tried "
        "if they are named",
    )
    held_out: int = Field(
        default=1000, ge=1, le=COUNT, description="training samples to measure on, at most"
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


class CompareConfig(ModelConfig, SimulationConfig, NormalisationConfig):
    """Run conversion methods on one network, and show which is cheapest for which accuracy."""

    panel: ClassVar[str] = "Comparison"
    example: ClassVar[str] = "snnconv compare resnet20.safetensors --timesteps 4,8 --limit 1000"
    suffix: ClassVar[str] = ".json"
    methods: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=("all",), description=_METHODS
    )
    timesteps: Annotated[tuple[int, ...], BeforeValidator(parts)] = Field(
        default=(1, 2, 4, 8, 16, 32), description="T, one or more with commas between them"
    )
    limit: int | None = Field(
        default=None, ge=1, le=COUNT, description="use N test samples, every class by its share"
    )
    samples: int = Field(
        default=1024, ge=1, le=COUNT, description="training samples that each method calibrates on"
    )
    csv: Path | None = Field(default=None, description="write the cells to this file, too")
    out: Path | None = Field(default=None, description="report; RUN/compare.json by default")

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
    def _methods_are_named(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        return named(methods)

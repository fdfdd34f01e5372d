"""What a comparison of conversion methods takes."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from snnconv.config.base import ModelConfig, NormalisationConfig, SimulationConfig
from snnconv.core.bounds import COUNT, STEPS


def _parts(given: object) -> object:
    """``"a,b"``, or a list of such texts, as one list."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, list | tuple):
        found: list[object] = []
        for each in given:
            parts = _parts(each)
            found += parts if isinstance(parts, list) else [parts]
        return found
    return [given]


class CompareConfig(ModelConfig, SimulationConfig, NormalisationConfig):
    """Run conversion methods on one network, and show which is cheapest for which accuracy."""

    panel: ClassVar[str] = "Comparison"
    example: ClassVar[str] = "snnconv compare resnet20.safetensors --timesteps 4,8 --limit 1000"
    suffix: ClassVar[str] = ".json"
    methods: Annotated[tuple[str, ...], BeforeValidator(_parts)] = Field(
        default=("all",),
        description="names with commas between them: presets of the package (snnconv ls presets), "
        "TOML files of your own, or all presets",
    )
    timesteps: Annotated[tuple[int, ...], BeforeValidator(_parts)] = Field(
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
        if not methods:
            raise ValueError("name a method, or all")
        return tuple(dict.fromkeys(methods))

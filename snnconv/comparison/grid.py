"""The grid of a comparison: the stages that give a method's network at T, and what is measured.

The stages themselves make a cell, with the options of the preset, so a user gets the same by hand.
Stages whose files are there and unchanged are skipped, so an interrupted comparison continues where
it stopped.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from snnconv.config import STAGES, CompareConfig, StageConfig
from snnconv.config.presets import ConversionPreset
from snnconv.core.validation import parameters, spelled

Plan = list[tuple[str, StageConfig]]
METRICS = (
    *("accuracy", "scores", "firing-rate", "synops", "events"),
    *("energy", "energy-memory", "energy-twin"),
)
_OWN = {"methods", "timesteps", "samples", "csv", "out", "run"}


def plan(config: CompareConfig, name: str, preset: ConversionPreset, timesteps: int) -> Plan:
    """Return the stages of one cell in their order, each with its options.

    Args:
        config: the options of the comparison; those for data, memory and the like go to every
            stage.
        name: the method's.
        preset: the method.
        timesteps: T.

    Raises:
        UsageError: the preset has an option that its stage does not have, or a value out of range.
    """
    folder = config.run / "compare"
    common = given(config, type(config).model_fields.keys() - _OWN) | {"run": folder}
    calibrate = preset.calibrate | {"samples": config.samples}
    file = folder / f"{calibrated_stem(calibrate)}.safetensors"
    stem = cell(name, timesteps)
    first = options("calibrate", common, name, {**calibrate, "out": file})
    stages = [("calibrate", first), *conversion(common, name, preset, timesteps, file, stem)]
    file = getattr(stages[-1][1], "out")  # noqa: B009 - the config's type does not say it
    measured = {"checkpoint": file, "metric": METRICS, "out": folder / f"{stem}.json"}
    return [*stages, ("evaluate", options("evaluate", common, name, measured))]


def cell(name: str, timesteps: int) -> str:
    """Return the name of a cell's files, without a suffix."""
    return f"{name}-t{timesteps}"


def conversion(
    common: Mapping[str, Any],
    name: str,
    preset: ConversionPreset,
    timesteps: int,
    file: Path,
    stem: str,
) -> Plan:
    """Return the stages from a calibrated checkpoint to a method's network, with their options.

    Args:
        common: options of every stage that has them; ``run`` is where files go.
        name: the method's.
        preset: the method.
        timesteps: T.
        file: the calibrated checkpoint.
        stem: what the names of the files begin with.

    Raises:
        UsageError: the preset has an option that its stage does not have, or a value out of range.
    """
    stages: Plan = []
    convert = preset.convert | {"timesteps": timesteps}
    for stage, put in (("convert", convert), *(("correct", each) for each in preset.correct)):
        out = common["run"] / f"{stem}-{len(stages) + 1}-{stage}.safetensors"
        chosen = options(stage, common, name, {**put, "checkpoint": file, "out": out})
        stages.append((stage, chosen))
        file = out
    return stages


def calibrated_stem(options: Mapping[str, Any]) -> str:
    """Return the name of the file of a calibration with these options, without a suffix."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
    return f"calibrated-{digest[:8]}"


def given(config: StageConfig, names: Set[str]) -> dict[str, Any]:
    """Return the options of these names that differ from their defaults."""
    fields = type(config).model_fields
    return {
        name: value
        for name in names & fields.keys()
        if (value := getattr(config, name)) != fields[name].default
    }


def options(
    stage: str, common: Mapping[str, Any], name: str, preset: Mapping[str, Any]
) -> StageConfig:
    """Return the options of a stage: those of the preset override those of all stages."""
    model = STAGES[stage]
    every = {key: value for key, value in common.items() if key in model.model_fields}
    every |= spelled(model, preset)
    return parameters(model, every, f"method '{name}', stage '{stage}'", "option")

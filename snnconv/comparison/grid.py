"""The grid of a comparison: the stages that give a method's network at T, and what is measured.

A cell is made by the stages themselves, with the options of the preset, so it is what a user gets
by hand. Stages whose files are there and unchanged are not run again, so a comparison that was
interrupted goes on where it stopped.
"""

import hashlib
import json
from typing import Any

from snnconv.comparison.presets import Preset
from snnconv.config import STAGES, CompareConfig, StageConfig
from snnconv.core.validation import parameters, spelled

Plan = list[tuple[str, StageConfig]]
METRICS = ("accuracy", "firing-rate", "synops", "energy")


def plan(config: CompareConfig, name: str, preset: Preset, timesteps: int) -> Plan:
    """The stages of one cell, in their order, each with its options.

    Args:
        config: of the comparison; its options for data, memory and the like go to every stage.
        name: the method's.
        preset: the method.
        timesteps: T.

    Raises:
        UsageError: the preset has an option that its stage does not have, or a value out of range.
    """
    folder = config.run / "compare"
    calibrate = preset.calibrate | {"samples": config.samples}
    given = json.dumps(calibrate, sort_keys=True)
    file = folder / f"calibrated-{hashlib.sha256(given.encode()).hexdigest()[:8]}.safetensors"
    cell = f"{name}-t{timesteps}"
    stages: Plan = [("calibrate", _config("calibrate", config, name, {**calibrate, "out": file}))]
    convert = preset.convert | {"timesteps": timesteps}
    for stage, options in (("convert", convert), *(("correct", each) for each in preset.correct)):
        out = folder / f"{cell}-{len(stages)}-{stage}.safetensors"
        put = {**options, "checkpoint": file, "out": out}
        stages.append((stage, _config(stage, config, name, put)))
        file = out
    measured = {"checkpoint": file, "metric": METRICS, "out": folder / f"{cell}.json"}
    return [*stages, ("evaluate", _config("evaluate", config, name, measured))]


def _config(stage: str, config: CompareConfig, name: str, options: dict[str, Any]) -> StageConfig:
    """A stage's options: the preset's, and those of the comparison that the stage has, too."""
    model = STAGES[stage]
    fields = type(config).model_fields
    kept = {"methods", "timesteps", "samples", "csv", "out", "run", "checkpoint"}
    common = {
        key: getattr(config, key)
        for key in fields.keys() & model.model_fields.keys() - kept
        if getattr(config, key) != fields[key].default
    }
    every = common | {"run": config.run / "compare"} | spelled(model, options)
    return parameters(model, every, f"method '{name}', stage '{stage}'", "option")

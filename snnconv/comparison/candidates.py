"""The candidates of a search: methods on one calibrated checkpoint, made by the stages."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from snnconv.calibration.histogram import STATISTICS
from snnconv.calibration.refit import TRAINED
from snnconv.checkpoint import Checkpoint
from snnconv.comparison import grid
from snnconv.comparison.held_out import Draw
from snnconv.config import (
    CalibrateConfig,
    ConvertConfig,
    CorrectConfig,
    SearchConfig,
    SimulationConfig,
)
from snnconv.config.presets import ConversionPreset
from snnconv.core.progress import Quiet
from snnconv.core.validation import parameters, spelled
from snnconv.corrections.base import CORRECTIONS
from snnconv.neurons.base import NEURONS
from snnconv.simulation.codings.base import CODINGS
from snnconv.stages.advance import run_stage
from snnconv.stages.correct import DEFAULT

_HOW_CALIBRATED = {"method", "param", "granularity"}
_OF_LINEAGE = ("samples", "seed", "data")


@dataclass
class Candidates:
    """Methods on one network.

    Args:
        config: the options of the search.
        file: the file of the calibrated checkpoint.
        calibrated: the calibrated checkpoint.
        folder: the folder for the files of all trials.
    """

    config: ConvertConfig
    file: Path
    calibrated: Checkpoint
    folder: Path

    def __post_init__(self) -> None:
        shared = grid.given(self.config, SimulationConfig.model_fields.keys() - {"run"})
        self._common: dict[str, Any] = shared | {"run": self.folder}

    def planned(self, name: str, preset: ConversionPreset, timesteps: int) -> grid.Plan:
        """Return the stages after the calibration, each with its options.

        Raises:
            UsageError: the preset has an option that its stage does not have, or a bad value.
        """
        stem, source = grid.cell(name, timesteps), self._source(preset)
        return grid.conversion(self._common, name, preset, timesteps, source, stem)

    def run_stages(self, name: str, preset: ConversionPreset, timesteps: int) -> grid.Plan:
        """Run the stages of a method that have not been run yet, and return all of its stages.

        Raises:
            SnnconvError: the method can't be used on this network.
        """
        source = self._source(preset)
        if not source.exists():
            run_stage("calibrate", self._calibration(name, preset), Quiet())
        stages = self.planned(name, preset, timesteps)
        for stage, options in stages:
            run_stage(stage, options, Quiet())
        return stages

    def draws(self, presets: Iterable[ConversionPreset]) -> list[Draw]:
        """Return the training samples that the methods draw to calibrate and to correct."""
        found, seed = [], self.config.seed
        for preset in presets:
            if self._source(preset) != self.file:
                options = self._calibration("", preset)
                found.append(Draw(options.samples, options.seed))
            usual = CorrectConfig().samples
            found += [Draw(int(each.get("samples", usual)), seed) for each in preset.correct]
            if preset.convert.get("confidence", "off") != "off":
                usual = ConvertConfig().confidence_samples
                found.append(Draw(int(preset.convert.get("confidence_samples", usual)), seed))
        return found

    def same(self, preset: ConversionPreset) -> str:
        """Return a text that is equal for presets that give equal networks."""
        convert = grid.options("convert", {}, "", preset.convert).model_dump(mode="json")
        return json.dumps([str(self._source(preset)), convert, preset.correct], sort_keys=True)

    def _source(self, preset: ConversionPreset) -> Path:
        """Return the calibrated checkpoint of a method: the given one, if it fits the method."""
        info = self.calibrated.calibrated
        assert info is not None
        if info.method in TRAINED:
            return self.file
        wanted = grid.options("calibrate", {}, "", preset.calibrate)
        assert isinstance(wanted, CalibrateConfig)
        kind = STATISTICS.load(wanted.method).params
        params = parameters(kind, wanted.param, f"statistic '{wanted.method}'").model_dump()
        now = (info.method, info.granularity, info.params)
        if spelled(CalibrateConfig, preset.calibrate).keys() <= _HOW_CALIBRATED and now == (
            wanted.method,
            wanted.granularity,
            params,
        ):
            return self.file
        return self.folder / f"{grid.calibrated_stem(preset.calibrate)}.safetensors"

    def _calibration(self, name: str, preset: ConversionPreset) -> CalibrateConfig:
        """Return how to calibrate again for a method, on the same samples as before."""
        steps = [step.config for step in self.calibrated.lineage if step.stage == "calibrate"]
        before = {key: value for key in _OF_LINEAGE if (value := steps[-1].get(key)) is not None}
        common = {**before, **self._common, "seed": before.get("seed", 0), "model": str(self.file)}
        common["non_relu"] = "analog"  # its functions stay as the first calibration took them
        put = {**preset.calibrate, "out": self._source(preset)}
        made = grid.options("calibrate", common, name, put)
        assert isinstance(made, CalibrateConfig)
        return made


def trains(preset: ConversionPreset) -> bool:
    """Whether a method takes many gradient steps, so that it needs minutes, not seconds."""
    return any(CORRECTIONS.load(each.get("method", DEFAULT)).trains for each in preset.correct)


def lacking(preset: ConversionPreset, timesteps: int, allow: Iterable[str]) -> str:
    """Return the first ability that a method needs and the user does not allow; empty if none."""
    options = grid.options("convert", {}, "", preset.convert)
    assert isinstance(options, ConvertConfig)
    kind = NEURONS.load(options.neuron)
    params = parameters(kind.params_type, options.param, f"neuron '{options.neuron}'")
    coding = CODINGS.load(options.coding)()
    neuron = coding.neuron(kind(params, torch.ones(()), timesteps))
    does = {
        "signed": neuron.signed,
        "levels": neuron.levels > 1,
        "waiting": neuron.lead > 0 or neuron.waits(timesteps) > 0,
    }
    assert does.keys() == set(SearchConfig.model_fields["allow"].default)
    return next((name for name, done in does.items() if done and name not in allow), "")

"""The Python API: the commands as functions, with the same names and options.

>>> import snnconv
>>> snnconv.calibrate("snnconv/ann.safetensors", method="max", run="my-run")   # doctest: +SKIP
>>> snnconv.convert(neuron="msat", timesteps=32, run="my-run")                 # doctest: +SKIP
>>> snnconv.evaluate(run="my-run").accuracy[-1]                                # doctest: +SKIP

Options are those of :mod:`snnconv.config`; every function returns the stage's report.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from snnconv import pipeline
from snnconv.checkpoint import Checkpoint, load, save
from snnconv.config import (
    CalibrateConfig,
    ConvertConfig,
    EvaluateConfig,
    FinetuneConfig,
    InspectConfig,
    ReparameterizeConfig,
    ReportConfig,
    StageConfig,
    TrainConfig,
)
from snnconv.core.metadata import DataFacts, LineageStep
from snnconv.core.progress import Quiet
from snnconv.core.validation import parameters
from snnconv.data.dataset import load as load_dataset
from snnconv.frontends.open import from_module
from snnconv.reports import (
    CalibrateReport,
    ConvertReport,
    EvaluateReport,
    FinetuneReport,
    InspectReport,
    ReparameterizeReport,
    ReportReport,
    TrainReport,
)
from snnconv.simulation.build import spiking_network
from snnconv.stages import calibrate as _calibrate
from snnconv.stages import convert as _convert
from snnconv.stages import evaluate as _evaluate
from snnconv.stages import finetune as _finetune
from snnconv.stages import inspect as _inspect
from snnconv.stages import reparameterize as _reparameterize
from snnconv.stages import run_folder
from snnconv.stages import train as _train
from snnconv.stages.session import normalisation

__all__ = [
    "Checkpoint",
    "calibrate",
    "convert",
    "evaluate",
    "finetune",
    "inspect",
    "load",
    "reparameterize",
    "report",
    "save",
    "spiking_network",
    "train",
]

ConfigType = TypeVar("ConfigType", bound=StageConfig)


def _config(model: type[ConfigType], stage: str, options: Mapping[str, Any]) -> ConfigType:
    given = {name: value for name, value in options.items() if value is not None}
    return parameters(model, given, f"stage '{stage}'", "option")


def train(model: str = "cnn", **options: Any) -> TrainReport:
    """``snnconv train``."""
    return _train.run(_config(TrainConfig, "train", {"model": model, **options}))


def calibrate(model: str | Path | nn.Module | None = None, **options: Any) -> CalibrateReport:
    """``snnconv calibrate``; takes a live module too, which is written to RUN/ann.safetensors."""
    if isinstance(model, nn.Module):
        config = _config(CalibrateConfig, "calibrate", options)
        facts = _facts(config)
        origin = LineageStep(stage="import", parent=None, config={"model": type(model).__name__})
        with _modes_kept(model):
            ann, _ = from_module(model, facts, analog=config.non_relu == "analog")
        _, model = run_folder.save(replace(ann, lineage=(origin,)), config.run, out=None)
    name = None if model is None else str(model)
    return _calibrate.run(_config(CalibrateConfig, "calibrate", {"model": name, **options}))


def _facts(config: CalibrateConfig) -> DataFacts:
    given = normalisation(config)
    data = config.data or "digits"
    return load_dataset(data, config.data_root, config.download, given=given).facts


@contextmanager
def _modes_kept(module: nn.Module) -> Iterator[None]:
    """Give every part of a module its own mode back: a frozen layer is not in its parent's."""
    before = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, training in before.items():
            part.training = training


def convert(checkpoint: str | Path | None = None, **options: Any) -> ConvertReport:
    """``snnconv convert``."""
    return _convert.run(_config(ConvertConfig, "convert", {"checkpoint": checkpoint, **options}))


def finetune(checkpoint: str | Path | None = None, **options: Any) -> FinetuneReport:
    """``snnconv finetune``."""
    given = {"checkpoint": checkpoint, **options}
    return _finetune.run(_config(FinetuneConfig, "finetune", given))


def reparameterize(checkpoint: str | Path | None = None, **options: Any) -> ReparameterizeReport:
    """``snnconv reparameterize``."""
    given = {"checkpoint": checkpoint, **options}
    return _reparameterize.run(_config(ReparameterizeConfig, "reparameterize", given))


def evaluate(checkpoint: str | Path | None = None, **options: Any) -> EvaluateReport:
    """``snnconv evaluate``."""
    given = {"checkpoint": checkpoint, **options}
    return _evaluate.run(_config(EvaluateConfig, "evaluate", given))


def report(*evaluations: str | Path, **options: Any) -> ReportReport:
    """``snnconv report``."""
    given = {"evaluations": evaluations, **options}
    return pipeline.report(_config(ReportConfig, "report", given), Quiet())


def inspect(model: str | Path | None = None, **options: Any) -> InspectReport:
    """``snnconv inspect``."""
    name = None if model is None else str(model)
    return _inspect.run(_config(InspectConfig, "inspect", {"model": name, **options}))

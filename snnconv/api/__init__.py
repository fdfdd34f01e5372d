"""The Python API: the commands as functions, with the same names and options.

Each function takes the options of its command as keywords. It also takes a config object, whose
options the keywords override. An option that is None has its default. The function returns the
report of the stage, whose attributes are the keys of ``docs/reference/reports.md``. Functions raise
a :class:`SnnconvError` with a remedy; its subclasses are in :mod:`snnconv.errors`. The calling
process keeps its random state, its number of threads and its TF32 settings.

>>> import snnconv
>>> report = snnconv.calibrate(method="max", samples=100, run="my-run")
>>> [site.name for site in report.sites]
['2', '6', '9', '13']
"""

import warnings
from pathlib import Path
from typing import Any, Unpack, overload

from torch import nn

from snnconv import pipeline
from snnconv.api.in_memory import ModuleOptions, convert_module, load_network, module_options
from snnconv.api.modules import written
from snnconv.api.options import config_of
from snnconv.api.results import compare, compare_training, export, fit, predict, report, trace
from snnconv.checkpoint import Checkpoint, load, save
from snnconv.config import (
    CalibrateConfig,
    CompareConfig,
    ConvertConfig,
    CorrectConfig,
    EvaluateConfig,
    ExportConfig,
    FinetuneConfig,
    FitConfig,
    InspectConfig,
    PredictConfig,
    ReparameterizeConfig,
    ReportConfig,
    TraceConfig,
    TrainConfig,
)
from snnconv.config.options import (
    CalibrateOptions,
    ConvertOptions,
    CorrectOptions,
    Data,
    EvaluateOptions,
    FinetuneOptions,
    InspectOptions,
    ReparameterizeOptions,
    TrainOptions,
)
from snnconv.core import runtime
from snnconv.core.metadata import DataInfo
from snnconv.core.progress import Quiet
from snnconv.data.dataset import Dataset
from snnconv.data.split import ArraySplit
from snnconv.errors import SnnconvError
from snnconv.reports import (
    CalibrateReport,
    ConvertReport,
    CorrectReport,
    EvaluateReport,
    FinetuneReport,
    InspectReport,
    ReparameterizeReport,
    TrainReport,
)
from snnconv.simulation.build import spiking_network
from snnconv.simulation.loaded import LoadedModule
from snnconv.stages import calibrate as _calibrate
from snnconv.stages import correct as _correct
from snnconv.stages import evaluate as _evaluate
from snnconv.stages import finetune as _finetune
from snnconv.stages import inspect as _inspect
from snnconv.stages import reparameterize as _reparameterize
from snnconv.stages import train as _train

__all__ = [
    "ArraySplit",
    "CalibrateConfig",
    "Checkpoint",
    "CompareConfig",
    "ConvertConfig",
    "CorrectConfig",
    "DataInfo",
    "Dataset",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "FitConfig",
    "InspectConfig",
    "PredictConfig",
    "ReparameterizeConfig",
    "ReportConfig",
    "SnnconvError",
    "TraceConfig",
    "TrainConfig",
    "calibrate",
    "compare",
    "compare_training",
    "convert",
    "convert_module",
    "correct",
    "evaluate",
    "export",
    "finetune",
    "fit",
    "inspect",
    "load",
    "load_network",
    "predict",
    "reparameterize",
    "report",
    "save",
    "spiking_network",
    "trace",
    "train",
]


def train(
    model: str | None = None, *, config: TrainConfig | None = None, **options: Unpack[TrainOptions]
) -> TrainReport:
    """Train a network, as ``snnconv train`` does.

    Args:
        model: a name of the zoo, a checkpoint, or ``file.py:factory``; ``cnn`` by default. It
            takes ``[B, *N]`` and gives logits ``[B, classes]``.
        config: options as one object.
        options: see ``snnconv train --help``; ``epochs`` are passes over the training samples.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        UnsupportedError: a network or data that can't be used.
        CheckFailedError: the training diverged.

    >>> snnconv.train("mlp", epochs=1, limit=100, run="mlp-run").model
    'mlp'
    """
    chosen = config_of(TrainConfig, "train", config, {"model": model, **options})
    with runtime.host_kept():
        return _train.run(chosen)


def calibrate(
    model: str | Path | nn.Module | None = None,
    *,
    config: CalibrateConfig | None = None,
    **options: Unpack[CalibrateOptions],
) -> CalibrateReport:
    """Find a threshold for every activation, as ``snnconv calibrate`` does.

    Args:
        model: what the command takes, or a live module, which takes ``[B, *N]`` and gives logits
            ``[B, classes]``; it is written to ``RUN/ann.safetensors``. By default the network of
            the run folder, or else the embedded CNN.
        config: options as one object.
        options: see ``snnconv calibrate --help``; ``samples`` are training samples, ``sin`` is in
            steps.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        UnsupportedError: operations that can't be converted, or data that does not fit.
        CheckFailedError: the imported graph does not compute what the network does.

    Warns:
        UserWarning: the ANN's accuracy is near chance, or the normalisation does not fit the data;
            ``report.warnings`` has the texts.

    >>> snnconv.calibrate(samples=100).method
    'mse'
    """
    name = str(model) if isinstance(model, str | Path) else None
    chosen = config_of(CalibrateConfig, "calibrate", config, {"model": name, **options})
    with runtime.host_kept():
        if isinstance(model, nn.Module):
            file = str(written(model, chosen))
            chosen = chosen.model_copy(update={"model": file, "output": None})
        report = _calibrate.run(chosen)
    for text in report.warnings:  # the command prints them
        warnings.warn(text, stacklevel=2)
    return report


@overload
def convert(
    checkpoint: nn.Module, *, data: Data, **options: Unpack[ModuleOptions]
) -> LoadedModule: ...


@overload
def convert(
    checkpoint: str | Path | None = None,
    *,
    config: ConvertConfig | None = None,
    **options: Unpack[ConvertOptions],
) -> ConvertReport: ...


def convert(
    checkpoint: str | Path | nn.Module | None = None,
    *,
    config: ConvertConfig | None = None,
    **options: Any,
) -> ConvertReport | LoadedModule:
    """Put a neuron at every activation, as ``snnconv convert`` does; or convert a live module.

    ``snnconv.convert(module, data=samples)`` calls :func:`convert_module`: it takes the options of
    that function, writes no file, and returns the spiking network.

    Args:
        checkpoint: a calibrated checkpoint, by default that of the run folder; or a module, with
            ``data``.
        config: the command's options as one object.
        options: see ``snnconv convert --help``; ``timesteps`` is T. ``within`` is in points of
            accuracy: it searches for method and T, and ``report.search`` says what was tried, and
            whether a network is that close to its ANN.

    Returns:
        The report of the stage; for a module, the spiking network.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        CheckpointError: a file that is damaged, or of another kind.
        UnsupportedError: operations of a module that can't be converted.

    >>> snnconv.convert(neuron="msat", timesteps=4).sites_converted
    4
    """
    if isinstance(checkpoint, nn.Module):
        return convert_module(checkpoint, **module_options(config, options))
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(ConvertConfig, "convert", config, given)
    with runtime.host_kept():
        return pipeline.convert(chosen, Quiet())


def correct(
    checkpoint: str | Path | None = None,
    *,
    config: CorrectConfig | None = None,
    **options: Unpack[CorrectOptions],
) -> CorrectReport:
    """Correct a converted network on calibration samples, as ``snnconv correct`` does.

    Args:
        checkpoint: a converted or corrected one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv correct --help``; ``samples`` are training samples, ``remove`` names
            the method whose correction is removed.

    Raises:
        UsageError: an unknown option, a value out of its range, or neurons that the method can't
            correct.
        CheckpointError: a file that is damaged, or of another kind.

    >>> [made.method for made in snnconv.correct(method="bias", samples=50).corrections]
    ['bias']
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(CorrectConfig, "correct", config, given)
    with runtime.host_kept():
        return _correct.run(chosen)


def finetune(
    checkpoint: str | Path | None = None,
    *,
    config: FinetuneConfig | None = None,
    **options: Unpack[FinetuneOptions],
) -> FinetuneReport:
    """Train the spiking network through its neurons, as ``snnconv finetune`` does.

    Args:
        checkpoint: a converted or fine-tuned one; the run's by default.
        config: options as one object.
        options: see ``snnconv finetune --help``;
            ``timesteps`` is T, ``epochs`` are passes over the training samples.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        CheckpointError: a file that is damaged, or of another kind.
        CheckFailedError: the training diverged.

    >>> len(snnconv.finetune(epochs=1, limit=100).epochs)
    1
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(FinetuneConfig, "finetune", config, given)
    with runtime.host_kept():
        return _finetune.run(chosen)


def evaluate(
    checkpoint: str | Path | None = None,
    *,
    config: EvaluateConfig | None = None,
    **options: Unpack[EvaluateOptions],
) -> EvaluateReport:
    """Measure accuracy, spikes, energy and errors, as ``snnconv evaluate`` does.

    Args:
        checkpoint: a spiking one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv evaluate --help``;
            ``timesteps`` is T; ``energy_ac_pj``, ``energy_mac_pj`` and ``energy_lookup_pj`` are in
            pJ. Figures have their units in their keys.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        CheckpointError: a file that is damaged, or of another kind.

    >>> report = snnconv.evaluate(config=snnconv.EvaluateConfig(limit=20), metric=["accuracy"])
    >>> report.samples
    20
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(EvaluateConfig, "evaluate", config, given)
    with runtime.host_kept():
        return _evaluate.run(chosen)


def reparameterize(
    checkpoint: str | Path | None = None,
    *,
    config: ReparameterizeConfig | None = None,
    **options: Unpack[ReparameterizeOptions],
) -> ReparameterizeReport:
    """Turn neurons with L levels and T steps into neurons with one threshold and L*T steps.

    The command is ``snnconv reparameterize``.

    Args:
        checkpoint: a converted or fine-tuned one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv reparameterize --help``;
            ``tolerance`` is in points of accuracy.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        CheckpointError: a file that is damaged, or of another kind.
        CheckFailedError: the two networks differ by more than the tolerance.

    >>> report = snnconv.convert(neuron="lm-ht", param={"levels": 2}, timesteps=2)
    >>> snnconv.reparameterize(tolerance=100, limit=20).stage
    'reparameterize'
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(ReparameterizeConfig, "reparameterize", config, given)
    with runtime.host_kept():
        return _reparameterize.run(chosen)


def inspect(
    model: str | Path | None = None,
    *,
    config: InspectConfig | None = None,
    **options: Unpack[InspectOptions],
) -> InspectReport:
    """Show what is in a checkpoint or a network, as ``snnconv inspect`` does.

    Args:
        model: any checkpoint, or a network that calibrate accepts; by default the newest
            checkpoint of the run folder.
        config: options as one object.
        options: see ``snnconv inspect --help``.

    Raises:
        UsageError: an unknown option, or a value out of its range.
        UnsupportedError: a network that can't be read.

    >>> snnconv.inspect("snnconv-run/calibrated.safetensors").kind
    'calibrated'
    """
    name = None if model is None else str(model)
    given = {"model": name, **options}
    chosen = config_of(InspectConfig, "inspect", config, given)
    with runtime.host_kept():
        return _inspect.run(chosen)

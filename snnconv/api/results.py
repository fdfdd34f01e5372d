"""Functions that write results: comparisons, predictions, traces, exports, fits and reports."""

from pathlib import Path
from typing import Unpack

from snnconv.api.options import config_of
from snnconv.comparison import run as _compare
from snnconv.comparison import training as _compare_training
from snnconv.config import (
    CompareConfig,
    ExportConfig,
    FitConfig,
    PredictConfig,
    ReportConfig,
    TraceConfig,
)
from snnconv.config.options import (
    CompareOptions,
    ExportOptions,
    FitOptions,
    PredictOptions,
    ReportOptions,
    TraceOptions,
)
from snnconv.core import runtime
from snnconv.errors import UsageError
from snnconv.reports import (
    CompareReport,
    CompareTrainingReport,
    ExportReport,
    FitReport,
    PredictReport,
    ReportReport,
    TraceReport,
)
from snnconv.stages import export as _export
from snnconv.stages import fit as _fit
from snnconv.stages import predict as _predict
from snnconv.stages import report as _report
from snnconv.stages import trace as _trace


def predict(
    checkpoint: str | Path | None = None,
    *,
    config: PredictConfig | None = None,
    **options: Unpack[PredictOptions],
) -> PredictReport:
    """Write a table of what a network predicts for each sample, as ``snnconv predict`` does.

    For samples in memory, use :func:`snnconv.load_network`.

    Args:
        checkpoint: a spiking one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv predict --help``; ``timesteps`` is T.

    Raises:
        UsageError: an unknown option, or a file of another's that would be lost.
        CheckpointError: a file that is damaged, or of another kind.

    >>> snnconv.predict(limit=20, out="predictions.csv").samples
    20
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(PredictConfig, "predict", config, given)
    with runtime.host_kept():
        return _predict.run(chosen)


def trace(
    checkpoint: str | Path | None = None,
    *,
    config: TraceConfig | None = None,
    **options: Unpack[TraceOptions],
) -> TraceReport:
    """Write the spikes and potentials of every neuron at every step, as ``snnconv trace`` does.

    Args:
        checkpoint: a spiking one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv trace --help``; ``limit`` are samples, ``dt`` is in seconds.

    Raises:
        UsageError: an unknown option or site, a trace that memory or disk have no room for, or a
            file of another's that would be lost.
        CheckpointError: a file that is damaged, or of another kind.

    >>> import numpy
    >>> done = snnconv.trace(limit=3, sites="2", record="spikes", out="trace.npz")
    >>> numpy.load(done.file)["2/spikes"].shape[:2] == (3, done.timesteps)
    True
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(TraceConfig, "trace", config, given)
    with runtime.host_kept():
        return _trace.run(chosen)


def export(
    checkpoint: str | Path | None = None,
    *,
    config: ExportConfig | None = None,
    **options: Unpack[ExportOptions],
) -> ExportReport:
    """Write a spiking network as files for another program, as ``snnconv export`` does.

    It runs the files at once, and compares them with snnconv's dense engine.

    Args:
        checkpoint: a spiking one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv export --help``; ``to`` is the format.

    Raises:
        UsageError: an unknown option or format, or a file of another's that would be lost.
        CheckpointError: a file that is damaged, or of another kind.
        UnsupportedError: the format can't express a part of the network, which the error names.
        CheckFailedError: the files compute something else, so none is written.

    >>> snnconv.export(to="torch", limit=20).difference
    0.0
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(ExportConfig, "export", config, given)
    with runtime.host_kept():
        return _export.run(chosen)


def fit(
    checkpoint: str | Path | None = None,
    *,
    config: FitConfig | None = None,
    **options: Unpack[FitOptions],
) -> FitReport:
    """Check whether a spiking network fits a chip, as ``snnconv fit`` does.

    Args:
        checkpoint: a spiking one; by default the newest of the run folder.
        config: options as one object.
        options: see ``snnconv fit --help``; ``target`` is a chip, or a TOML file of your own.

    Raises:
        UsageError: an unknown option or target, or a target's file that can't be read.
        CheckpointError: a file that is damaged, or of another kind.

    >>> snnconv.fit(target="loihi-2").fits
    True
    """
    given = {"checkpoint": checkpoint, **options}
    chosen = config_of(FitConfig, "fit", config, given)
    with runtime.host_kept():
        return _fit.run(chosen)


def compare(
    model: str | Path | None = None,
    *,
    config: CompareConfig | None = None,
    **options: Unpack[CompareOptions],
) -> CompareReport:
    """Run conversion methods on one network, as ``snnconv compare`` does.

    Args:
        model: what ``snnconv calibrate`` takes; by default the network of the run folder, or else
            the embedded CNN.
        config: options as one object.
        options: see ``snnconv compare --help``; ``timesteps`` are the T to compare at, ``samples``
            the training samples to calibrate on, and ``limit`` the test samples.

    Raises:
        UsageError: an unknown option, method, or key of a preset.
        UnsupportedError: operations that can't be converted, or data that does not fit.
        CheckFailedError: an evaluation in the folder is of other samples or another network.

    >>> found = snnconv.compare(methods="percentile,signed", timesteps=[2, 4], limit=20, samples=64)
    >>> [(row.method, len(row.cells)) for row in found.methods]
    [('percentile', 2), ('signed', 2)]
    """
    chosen = config_of(CompareConfig, "compare", config, {"model": model, **options})
    if chosen.training:
        raise UsageError(
            "compare compares methods of conversion",
            f"training = {', '.join(chosen.training)}",
            "call snnconv.compare_training with the same options",
        )
    with runtime.host_kept():
        return _compare.run(chosen)


def compare_training(
    model: str | Path | None = None,
    *,
    config: CompareConfig | None = None,
    **options: Unpack[CompareOptions],
) -> CompareTrainingReport:
    """Train a network with several methods under one budget, as ``compare --training`` does.

    Args:
        model: a name of the zoo or ``file.py:factory``, to train from scratch; or a checkpoint, for
            presets of ``finetune``. ``cnn`` by default.
        config: options as one object.
        options: see ``snnconv compare --help``; ``training`` names the presets, all by default;
            ``timesteps`` are the T to train at, ``epochs`` passes over the training samples,
            ``train_limit`` the training samples and ``limit`` the test samples.

    Raises:
        UsageError: an unknown option, method, or key of a preset.
        UnsupportedError: a network or data that can't be used.
        CheckFailedError: an evaluation in the folder is of other samples.

    >>> small = {"epochs": 1, "train_limit": 40, "limit": 20, "timesteps": 2}
    >>> found = snnconv.compare_training("cnn?width=0.125", training="tet", **small)
    >>> [(row.method, cell.timesteps) for row in found.methods for cell in row.cells]
    [('tet', 2)]
    """
    given = {"model": model, **options}
    if not given.get("training") and not (config and config.training):
        given["training"] = "all"
    chosen = config_of(CompareConfig, "compare", config, given)
    with runtime.host_kept():
        return _compare_training.run(chosen)


def report(
    *evaluations: str | Path,
    config: ReportConfig | None = None,
    **options: Unpack[ReportOptions],
) -> ReportReport:
    """Put evaluations into tables and one HTML file, as ``snnconv report`` does.

    Args:
        evaluations: reports of ``evaluate``, or run folders; those in the run folder by default.
        config: options as one object.
        options: see ``snnconv report --help``.

    Raises:
        UsageError: an unknown option, or nothing to report.
        CheckpointError: a file that is no report.

    >>> [run.timesteps for run in snnconv.report("snnconv-run/evaluate.json").runs]
    [4]
    """
    given = {"evaluations": evaluations or None, **options}
    chosen = config_of(ReportConfig, "report", config, given)
    with runtime.host_kept():
        return _report.run(chosen)

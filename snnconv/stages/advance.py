"""Run a stage, or skip it if its report says that the same work is done already."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from snnconv.checkpoint import sha256
from snnconv.config import ReportConfig, StageConfig
from snnconv.core.kinds import READS
from snnconv.core.progress import Progress
from snnconv.data.dataset import is_factory, named
from snnconv.errors import CheckFailedError, CheckpointError, guarding
from snnconv.neurons.base import NEURONS
from snnconv.reports import REPORTS, Report, read
from snnconv.stages import run_folder
from snnconv.stages.session import report_file

Work = Callable[[str, StageConfig, Progress], Report]
"""Runs a stage by its name."""


def run_stage(stage: str, config: StageConfig, progress: Progress) -> Report:
    """Run one stage."""
    with guarding(f"stage '{stage}'"):
        report: Report = importlib.import_module(f"snnconv.stages.{stage}").run(config, progress)
    return report


def advance(
    stage: str, config: StageConfig, progress: Progress, work: Work = run_stage
) -> Literal["run", "skipped"]:
    """Run a stage, unless its report says that the same work is done on the same files.

    Args:
        stage: the name of the stage.
        config: the options of the stage.
        progress: the reader of progress.
        work: the function that runs the stage.

    Raises:
        CheckFailedError: a check of the stage failed.
    """
    if _unchanged(stage, config, report_file(config, stage, getattr(config, "out", None))):
        progress.say(f"{stage}: skipped, nothing it reads has changed")
        if neuron := getattr(config, "neuron", None):
            NEURONS.load(neuron)  # the user names it, so later stages may run its code
        if is_factory(data := getattr(config, "data", None) or ""):
            named(data)
        return "skipped"
    progress.say(f"{stage}: running")
    _refuse_failed(stage, work(stage, config, progress))
    return "run"


def _refuse_failed(stage: str, done: Report) -> None:
    """End a recipe at a stage whose report says that a check failed."""
    if done.code():
        raise CheckFailedError(
            f"the recipe ends at stage '{stage}'",
            "; ".join(done.warnings) or "a check that failed",
            f"mend it, or change the check in the recipe's [{stage}]",
        )


def _unchanged(stage: str, config: StageConfig, file: Path) -> bool:
    """Whether a stage's report says that the same work is done on the same files."""
    try:
        done = read(file, REPORTS[stage])
    except CheckpointError:
        return False
    files = [*done.lineage.inputs, *done.lineage.outputs]
    return (
        done.config == config.model_dump(mode="json")
        and all(
            Path(entry.path).is_file() and sha256(Path(entry.path)) == entry.sha256
            for entry in files
        )
        and _finds_the_same(stage, config, done)
        and not done.code()
    )


def _finds_the_same(stage: str, config: StageConfig, done: Report) -> bool:
    """Whether a stage that names no input would take the same one again."""
    if isinstance(config, ReportConfig):
        return bool(config.evaluations)
    named = getattr(config, "model", None) or getattr(config, "checkpoint", None)
    found = None if named else run_folder.newest(config.run, READS.get(stage, ()))
    return found is None or str(found) in {entry.path for entry in done.lineage.inputs}

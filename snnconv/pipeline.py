"""Stages in a row: the demo, a report with the evaluations it lacks, and recipes."""

import importlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from snnconv.checkpoint import sha256
from snnconv.config import (
    STAGES,
    CalibrateConfig,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    ReportConfig,
    StageConfig,
)
from snnconv.errors import CheckpointError, UsageError
from snnconv.kinds import SPIKING, file_name
from snnconv.plugins import did_you_mean
from snnconv.progress import Progress
from snnconv.reports import (
    REPORTS,
    EvaluateReport,
    PlanStep,
    Report,
    ReportReport,
    RunReport,
    read,
)
from snnconv.stages.common import Session, newest
from snnconv.values import parse_pairs

_SHARED = ("run", "seed", "device", "threads")
_WRITES = {
    "train": "ann",
    "calibrate": "calibrated",
    "convert": "converted",
    "finetune": "finetuned",
}


def run_stage(stage: str, config: StageConfig, progress: Progress) -> Report:
    """Run one stage."""
    report: Report = importlib.import_module(f"snnconv.stages.{stage}").run(config, progress)
    return report


def demo(config: DemoConfig, progress: Progress) -> ReportReport:
    """Calibrate, convert to IF and to MSAT on the same thresholds, evaluate both, report."""
    shared = {name: getattr(config, name) for name in _SHARED}
    run_stage("calibrate", CalibrateConfig(**shared), progress)
    evaluations = []
    for neuron in ("if", "msat"):
        out = config.run / f"converted-{neuron}.safetensors"
        progress.say(f"convert to {neuron}, evaluate over {config.timesteps} steps")
        run_stage(
            "convert",
            ConvertConfig(**shared, neuron=neuron, timesteps=config.timesteps, out=out),
            progress,
        )
        evaluations.append(config.run / f"evaluate-{neuron}.json")
        run_stage(
            "evaluate", EvaluateConfig(**shared, checkpoint=out, out=evaluations[-1]), progress
        )
    report = run_stage("report", ReportConfig(**shared, evaluations=tuple(evaluations)), progress)
    assert isinstance(report, ReportReport)
    return report


def report(config: ReportConfig, progress: Progress) -> ReportReport:
    """Report; in a run folder, evaluate first what has not been evaluated as it stands."""
    if not config.evaluations:
        shared = {name: getattr(config, name) for name in _SHARED}
        latest = newest(config.run, SPIKING)
        for kind in SPIKING:
            file = config.run / file_name(kind)
            if file.exists() and sha256(file) not in _evaluated(config.run):
                name = "evaluate.json" if file == latest else f"evaluate-{kind}.json"
                progress.say(f"evaluate {file}")
                evaluation = EvaluateConfig(**shared, checkpoint=file, out=config.run / name)
                run_stage("evaluate", evaluation, progress)
    done = run_stage("report", config, progress)
    assert isinstance(done, ReportReport)
    return done


def _evaluated(run: Path) -> set[str]:
    """Hashes of the checkpoints that the evaluations in a folder are of."""
    reports = (read(file, EvaluateReport) for file in sorted(run.glob("evaluate*.json")))
    return {report.lineage.inputs[0].sha256 for report in reports}


def plan(
    recipe: Path, settings: list[str], flags: Mapping[str, Any]
) -> list[tuple[str, StageConfig]]:
    """The stages of a recipe with their configurations.

    Args:
        recipe: TOML; a table for each stage, shared options (run, seed, ...) before them.
        settings: ``stage.option=value``, over the recipe.
        flags: shared options, over both; none where not given.

    Raises:
        UsageError: unreadable, an unknown stage or option, or a value out of its range.
    """
    try:
        tables = tomllib.loads(recipe.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"recipe {recipe} can't be read", str(error), "see docs/recipes.md"
        ) from error
    shared = {name: tables.pop(name) for name in _SHARED if name in tables}
    shared |= {name: value for name, value in flags.items() if value is not None}
    for name in tables:
        if name not in STAGES or not isinstance(tables[name], dict):
            raise UsageError(
                f"recipe {recipe} can't be taken",
                f"'{name}'",
                did_you_mean(name, [*STAGES, *_SHARED]),
            )
    for key, value in parse_pairs(settings).items():
        stage, _, option = key.partition(".")
        if stage not in STAGES or not option:
            raise UsageError("--set can't be taken", f"'{key}'", "write --set STAGE.OPTION=VALUE")
        head, _, inner = option.partition(".")
        table = tables.setdefault(stage, {})
        if inner:
            table.setdefault(head, {})[inner] = value
        else:
            table[head] = value
    planned: list[tuple[str, StageConfig]] = []
    previous: str | None = None
    for stage, model in STAGES.items():
        if stage not in tables:
            continue
        options = shared | tables[stage]
        if unknown := [name for name in options if name not in model.model_fields]:
            raise UsageError(
                f"recipe {recipe}: stage '{stage}' has no such option",
                f"'{unknown[0]}'",
                did_you_mean(unknown[0], model.model_fields),
            )
        # each stage reads what the one before it in this recipe wrote, not what else lies there
        source = "model" if stage == "calibrate" else "checkpoint"
        if previous and stage in ("calibrate", "convert", "finetune", "evaluate"):
            options.setdefault(source, previous)
        try:
            config = model(**options)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(
                f"recipe {recipe}: {stage}.{'.'.join(str(p) for p in first['loc'])} can't be taken",
                f"{first['input']!r}",
                first["msg"],
            ) from error
        if stage in _WRITES:
            out = getattr(config, "out", None)
            previous = str(out or config.run / f"{_WRITES[stage]}.safetensors")
        planned.append((stage, config))
    if not planned:
        raise UsageError(f"recipe {recipe} can't be run", "no stage in it", "see docs/recipes.md")
    return planned


def run_recipe(
    recipe: Path,
    settings: list[str],
    flags: Mapping[str, Any],
    dry_run: bool,
    progress: Progress,
) -> RunReport:
    """Run a recipe's stages in order, skipping those whose inputs and options have not changed."""
    planned = plan(recipe, settings, flags)
    session = Session(planned[0][1])
    steps = []
    for stage, config in planned:
        file = _report_file(stage, config)
        if dry_run:
            outcome = "planned"
        elif _unchanged(stage, config, file):
            outcome = "skipped"
            progress.say(f"{stage}: skipped, nothing it reads has changed")
        else:
            progress.say(f"{stage}: running")
            run_stage(stage, config, progress)
            outcome = "run"
        steps.append(
            PlanStep(
                stage=stage,
                config=config.model_dump(mode="json"),
                changed=config.model_dump(mode="json", exclude_defaults=True),
                outcome=outcome,
                report=None if dry_run else str(file),
            )
        )
    session.inputs.append(recipe)
    return session.report(
        RunReport, None if dry_run else planned[0][1].run / "run.json", [], steps=steps
    )


def _report_file(stage: str, config: StageConfig) -> Path:
    out: Path | None = getattr(config, "out", None)
    return config.run / f"{stage}.json" if out is None else out.with_suffix(".json")


def _unchanged(stage: str, config: StageConfig, file: Path) -> bool:
    """Whether a stage's report says that this very work has been done, on these very files."""
    try:
        report = read(file, REPORTS[stage])
    except CheckpointError:
        return False
    files = [*report.lineage.inputs, *report.lineage.outputs]
    return report.config == config.model_dump(mode="json") and all(
        Path(entry.path).exists() and sha256(Path(entry.path)) == entry.sha256 for entry in files
    )

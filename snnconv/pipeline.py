"""Stages in a row: the demo, a conversion that is searched for, comparisons, and recipes."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnconv.comparison import run as comparison
from snnconv.comparison import search, training
from snnconv.config import (
    STAGES,
    CalibrateConfig,
    CompareConfig,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    ReportConfig,
    StageConfig,
    TrainConfig,
)
from snnconv.core.kinds import READS, Kind, written_by
from snnconv.core.names import file_name
from snnconv.core.progress import Progress
from snnconv.core.validation import parameters, parse_pairs, spelled
from snnconv.errors import UsageError, did_you_mean, guarding
from snnconv.reports import (
    CompareReport,
    CompareTrainingReport,
    ConvertReport,
    PlanStep,
    Report,
    ReportReport,
    RunReport,
)
from snnconv.stages import convert as convert_stage
from snnconv.stages.advance import advance, run_stage
from snnconv.stages.session import Session, report_file

_SHARED = ("run", "seed", "device", "threads")
_HOW = "see: snnconv docs recipes"


def command(stage: str, config: StageConfig, progress: Progress) -> Report:
    """Run a stage of a recipe as its command does."""
    if isinstance(config, ConvertConfig):
        with guarding(f"stage '{stage}'"):
            return convert(config, progress)
    return run_stage(stage, config, progress)


def convert(config: ConvertConfig, progress: Progress) -> ConvertReport:
    """Convert; with ``within``, search for the method and T first."""
    if config.within is not None:
        return search.run(config, progress)
    return convert_stage.run(config, progress)


def compare(config: CompareConfig, progress: Progress) -> CompareReport | CompareTrainingReport:
    """Compare methods of conversion; with ``training``, methods of training."""
    if config.training:
        return training.run(config, progress)
    return comparison.run(config, progress)


def demo(config: DemoConfig, progress: Progress) -> ReportReport:
    """Calibrate, then convert to IF, MSAT and LM-HT on the same thresholds, evaluate, report.

    An LM-HT neuron of two levels takes a quarter of the steps.
    """
    shared = {name: getattr(config, name) for name in _SHARED}
    run_stage("calibrate", CalibrateConfig(**shared), progress)
    evaluations = []
    steps = config.timesteps
    conversions: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("if", steps, {}),
        ("msat", steps, {}),
        ("lm-ht", max(1, steps // 4), {"levels": 2}),
    )
    for neuron, timesteps, param in conversions:
        out = config.run / f"converted-{neuron}.safetensors"
        progress.say(f"convert to {neuron}, evaluate over {timesteps} steps")
        chosen = ConvertConfig(**shared, neuron=neuron, timesteps=timesteps, param=param, out=out)
        run_stage("convert", chosen, progress)
        evaluations.append(config.run / f"evaluate-{neuron}.json")
        evaluate = EvaluateConfig(**shared, checkpoint=out, out=evaluations[-1])
        run_stage("evaluate", evaluate, progress)
    report = run_stage("report", ReportConfig(**shared, evaluations=tuple(evaluations)), progress)
    assert isinstance(report, ReportReport)
    return report


def plan(
    recipe: Path, settings: list[str], flags: Mapping[str, Any]
) -> list[tuple[str, StageConfig]]:
    """Return the stages of a recipe with their configurations.

    Args:
        recipe: TOML; a table for each stage, shared options (run, seed, ...) before them.
        settings: ``stage.option=value``, over the recipe.
        flags: shared options, over both; none where not given.

    Raises:
        UsageError: unreadable, an unknown stage or option, or a value out of its range.
    """
    try:
        tables = tomllib.loads(recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no TOML, or nested too deep
        raise UsageError(f"recipe {recipe} can't be read", str(error), _HOW) from error
    tables = {name.lower(): table for name, table in tables.items()}
    shared = {name: tables.pop(name) for name in _SHARED if name in tables}
    for name in tables:
        if name not in STAGES or not isinstance(tables[name], dict):
            raise UsageError(
                f"recipe {recipe} can't be used",
                f"'{name}'",
                did_you_mean(name, [*STAGES, *_SHARED]),
            )
    for key, value in parse_pairs(settings).items():
        stage, _, option = key.partition(".")
        stage = stage.lower()
        if stage not in STAGES or not option:
            remedy = did_you_mean(stage, STAGES) if option else "write --set STAGE.OPTION=VALUE"
            raise UsageError("--set can't be used", f"'{key}'", remedy)
        head, _, inner = option.partition(".")
        head = head.lower().replace("-", "_")
        table = tables.setdefault(stage, {})
        if not inner:
            table[head] = value
        elif isinstance(within := table.setdefault(head, {}), dict):
            within[inner] = value
        else:
            raise UsageError(
                "--set can't be used",
                f"'{key}', where {stage}.{head} is {within!r}",
                f"write --set {stage}.{head}=VALUE",
            )
    planned: list[tuple[str, StageConfig]] = []
    previous: str | None = None
    evaluation: Path | None = None
    for stage, model in STAGES.items():
        if stage not in tables:
            continue
        options = (
            shared
            | spelled(model, tables[stage])
            | {k: v for k, v in flags.items() if v is not None}
        )
        # each stage reads what the one before it in this recipe wrote, not what else lies there
        source = "model" if stage == "calibrate" else "checkpoint"
        if previous and stage in READS:
            options.setdefault(source, previous)
        if evaluation and stage == "report":
            options.setdefault("evaluations", (evaluation,))
        if evaluation and stage == "fit":
            options.setdefault("evaluation", evaluation)
        config = parameters(model, options, f"stage '{stage}' in recipe {recipe}", "option")
        if kind := _writes(stage, config):
            out = getattr(config, "out", None)
            previous = str(out or config.run / file_name(kind))
        if stage == "evaluate":
            evaluation = report_file(config, stage, getattr(config, "out", None))
        planned.append((stage, config))
    if not planned:
        raise UsageError(f"recipe {recipe} can't be run", "no stage in it", _HOW)
    return planned


def _writes(stage: str, config: StageConfig) -> Kind | None:
    """Return the kind of checkpoint that a stage writes, if it writes one."""
    return config.kind if isinstance(config, TrainConfig) else written_by(stage)


def run_recipe(
    recipe: Path,
    settings: list[str],
    flags: Mapping[str, Any],
    dry_run: bool,
    progress: Progress,
) -> RunReport:
    """Run a recipe's stages in order, skipping those whose inputs and options have not changed.

    A report without an evaluation before it in the recipe evaluates what lacks one, as the command
    does.
    """
    planned = plan(recipe, settings, flags)
    session = Session(planned[0][1])
    steps = []
    for stage, config in planned:
        file = report_file(config, stage, getattr(config, "out", None))
        outcome = "planned" if dry_run else advance(stage, config, progress, command)
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
        RunReport, [] if dry_run else [planned[0][1].run / "run.json"], [], steps=steps
    )

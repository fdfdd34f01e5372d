"""``snnconv compare --training``: training methods on one network, under one budget."""

import csv
import io
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from snnconv.comparison import grid, training_grid
from snnconv.comparison.cells import Clock, divided
from snnconv.comparison.front import front
from snnconv.comparison.training_grid import Key, Training
from snnconv.config import CompareConfig, EvaluateConfig, FinetuneConfig, StageConfig, TrainConfig
from snnconv.config.presets import TRAININGS, TrainingPreset
from snnconv.core import distributed
from snnconv.core.files import write_atomically
from snnconv.core.progress import Advance, Progress, Quiet
from snnconv.core.scores import Score
from snnconv.errors import CheckFailedError, CheckpointError, SnnconvError, UsageError
from snnconv.reports import (
    CompareTrainingReport,
    EvaluateReport,
    FailedTraining,
    FinetuneReport,
    SeedRow,
    Spread,
    TrainedCellRow,
    TrainedMethodRow,
    TrainReport,
    read,
)
from snnconv.reports.training_comparison import FIGURES, Budget
from snnconv.stages.advance import advance
from snnconv.stages.session import Session

AGAIN = "run the command again: it goes on after the last whole epoch"


@dataclass(frozen=True)
class Trained:
    """A training that is done, with its evaluation."""

    plan: Training
    training: TrainReport | FinetuneReport
    evaluation: EvaluateReport

    @property
    def files(self) -> tuple[Path, Path]:
        """The reports of the evaluation and of the training."""
        (_, trains), (_, evaluates) = self.plan.own[-2:]
        return _out(evaluates), _out(trains).with_suffix(".json")


def run(config: CompareConfig, progress: Progress | None = None) -> CompareTrainingReport:
    """Train with each method at each T and for each seed, and mark what is worth its cost.

    Raises:
        UsageError: a method can't be used.
        SnnconvError: no method can be used on the network; the first method's error.
    """
    progress = progress or Quiet()
    presets = TRAININGS.chosen(config.training)
    seeds = config.seeds or (config.seed,)
    keys = [
        Key(name, T, seed)
        for T in reversed(config.timesteps)  # the longest first: what is left takes no longer
        for name in presets
        for seed in seeds
    ]
    # before any work, so that no option is refused in the middle of it
    plans = {key: training_grid.plan(config, presets[key.method], key) for key in keys}
    session = Session(config)
    with progress.task("compare", len(plans)) as done:
        clock = Clock(len(plans), done, progress)
        found, failed = _made(plans, clock, progress)
    cells_run = int(distributed.total([clock.run], session.device)[0])
    _warn(session, progress, failed)
    first = next(iter(found.values()))
    kind, of = first.evaluation.decisive, first.evaluation
    _refuse_other_samples(found)
    rows = [_row(name, preset, found, config) for name, preset in presets.items()]
    methods = _marked([row for row in rows if row.cells], kind)
    session.inputs += list(dict.fromkeys(file for each in found.values() for file in each.files))
    if config.csv is not None:
        write_atomically(config.csv, table(methods).encode())
    trained_on, held_out = first.training.subset, first.training.held_out
    assert trained_on is not None
    assert held_out is not None
    return session.report(
        CompareTrainingReport,
        [config.out or config.run / f"{CompareTrainingReport.name}.json"],
        [config.csv] if config.csv else [],
        model=config.model or training_grid.MODEL,
        data=of.data.spec,
        samples=of.samples,
        subset=of.subset,
        task=of.task,
        headline=kind,
        budget=Budget(
            epochs=config.epochs,
            batch_size=config.train_batch_size,
            augment=list(config.augment),
            samples=trained_on.samples,
            validation_samples=held_out.samples,
        ),
        timesteps=list(config.timesteps),
        seeds=list(seeds),
        methods=methods,
        failed=[
            FailedTraining(
                **key._asdict(),
                problem=error.problem,
                found=error.found,
                remedy=error.remedy,
                code=error.code,
            )
            for key, error in sorted(failed.items(), key=lambda item: item[0])
        ],
        cells_run=cells_run,
        cells_kept=len(found) - cells_run,
    )


# The trainings


def _made(
    plans: Mapping[Key, Training], clock: Clock, progress: Progress
) -> tuple[dict[Key, Trained], dict[Key, SnnconvError]]:
    """Return all trainings, each done or found, and what was in the way of the others.

    Raises:
        SnnconvError: none could be done.
    """
    before = {_name(plan): plan.shared for plan in plans.values() if plan.shared}
    missing = divided(
        before,
        lambda shared: _stages(shared, Named(progress, "ANN")),
        lambda shared: None,
        lambda name, error: None,  # it is said of each training
    )
    failed = {key: missing[_name(plan)] for key, plan in plans.items() if _name(plan) in missing}
    for key, error in failed.items():
        clock.failed(key.stem, error)
    work = {key: (key.stem, plan.own) for key, plan in plans.items() if key not in failed}
    failed |= divided(
        work,
        lambda piece: _train(*piece, clock, progress),
        lambda piece: clock.kept(),
        lambda key, error: clock.failed(key.stem, error),
    )
    found = {key: _read(plan) for key, plan in plans.items() if key not in failed}
    if not found:
        raise next(iter(failed.values()))
    return found, failed


def _name(plan: Training) -> str:
    """Return what tells the shared stages of trainings apart."""
    return ", ".join(config.model_dump_json() for _, config in plan.shared)


def _train(name: str, stages: grid.Plan, clock: Clock, progress: Progress) -> None:
    """Do what is left to do of a training."""
    started = time.perf_counter()
    if "run" in _stages(stages, Named(progress, name)):
        clock.ran(name, time.perf_counter() - started)
    else:
        clock.kept()


def _stages(stages: grid.Plan, progress: Progress) -> list[str]:
    return [_advance(stage, config, progress) for stage, config in stages]


def _advance(stage: str, config: StageConfig, progress: Progress) -> str:
    """Run a stage, if it is to be run; an interrupted training goes on from where it stood."""
    if not isinstance(config, TrainConfig | FinetuneConfig):
        return advance(stage, config, Quiet())
    standing = _out(config).with_suffix(".resume.safetensors")
    try:
        try:
            return advance(stage, config, progress)
        except (UsageError, CheckpointError):
            if not standing.exists():
                raise
            standing.unlink()  # of another training, or damaged: from the beginning
            return advance(stage, config, progress)
    except KeyboardInterrupt as error:
        error.__notes__ = [AGAIN]
        raise


@dataclass(frozen=True)
class Named:
    """Tells the epochs of a training under its name, without bars."""

    progress: Progress
    name: str

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """Count nothing."""
        yield lambda done: None

    def say(self, line: str) -> None:
        """Tell an epoch; what else a stage says is not of the comparison."""
        if line.startswith(("epoch", "going on")):
            self.progress.say(f"{self.name}: {line}")


def _out(config: StageConfig) -> Path:
    return Path(getattr(config, "out"))  # noqa: B009 - the config's type does not say it


def _read(plan: Training) -> Trained:
    (_, trains), (_, evaluates) = plan.own[-2:]
    file, evaluation = _out(trains).with_suffix(".json"), read(_out(evaluates), EvaluateReport)
    if isinstance(trains, TrainConfig):
        return Trained(plan, read(file, TrainReport), evaluation)
    return Trained(plan, read(file, FinetuneReport), evaluation)


def _warn(session: Session, progress: Progress, failed: Mapping[Key, SnnconvError]) -> None:
    """Say of each method what was in the way, once for each problem."""
    last = {(key.method, error.problem): (key, error) for key, error in failed.items()}
    for (name, problem), (_, error) in sorted(last.items(), key=lambda item: item[0]):
        session.warn(progress, f"{name} was not trained: {problem}: {error.found}. {error.remedy}")


def _refuse_other_samples(found: Mapping[Key, Trained]) -> None:
    """Refuse a comparison of networks that were not measured on the same samples."""
    (first, *others) = found.values()
    for each in others:
        if each.evaluation.subset != first.evaluation.subset:
            raise CheckFailedError(
                "training methods can't be compared",
                f"{each.files[0]} was measured on other samples than {first.files[0]}",
                "delete the folder 'compare-training' of the run, and compare again",
            )


# Their figures


def _row(
    name: str, preset: TrainingPreset, found: Mapping[Key, Trained], config: CompareConfig
) -> TrainedMethodRow:
    """Return a method's cells, not yet marked."""
    model = config.model or training_grid.MODEL
    stage = training_grid.trains(preset, model)
    by_steps: dict[int, dict[int, Trained]] = {T: {} for T in config.timesteps}
    neuron = ""
    for key, each in found.items():
        if key.method == name:
            by_steps[key.timesteps][key.seed] = each
            neuron = each.evaluation.neuron
    return TrainedMethodRow(
        method=name,
        title=preset.title,
        reference=preset.reference,
        deviations=preset.deviations,
        stage=stage,
        model=training_grid.network(preset, model) if stage == "train" else model,
        neuron=neuron,
        options=getattr(preset, stage),
        cells=[_cell(T, trained) for T, trained in by_steps.items() if trained],
    )


def _cell(timesteps: int, trained: Mapping[int, Trained]) -> TrainedCellRow:
    """Return a method at T, over its seeds."""
    seeds = [_seed_row(seed, each) for seed, each in trained.items()]
    spreads: dict[str, Any] = {
        name: spread([getattr(row, name) for row in seeds]) for name in FIGURES
    }
    latency = next(iter(trained.values())).evaluation.latency_steps or timesteps
    return TrainedCellRow(timesteps=timesteps, latency_steps=latency, seeds=seeds, **spreads)


def spread(values: list[float | None]) -> Spread | None:
    """Return the mean and the sample standard deviation; None if a value is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    std = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), std=std)


def _seed_row(seed: int, each: Trained) -> SeedRow:
    report, training, kind = each.evaluation, each.training, each.evaluation.decisive
    scores = [row.measured for row in training.epochs]
    if isinstance(training, FinetuneReport) and training.score_epoch0 is not None:
        scores = [training.score_epoch0, *scores]
    costs = {
        name: [value for row in training.epochs if (value := getattr(row, name)) is not None]
        for name in ("step_seconds", "step_cpu_seconds", "step_memory_mib")
    }
    evaluated, trained = each.files
    (_, last) = each.plan.own[-1]
    assert isinstance(last, EvaluateConfig)
    return SeedRow(
        seed=seed,
        score=report.by_step[-1],
        best=max(scores) if kind.higher else min(scores),
        last=scores[-1],
        ann_score=report.of_ann,
        sops_per_sample=report.sops_per_sample,
        energy_total_mj=report.energy_total_mj,
        spikes_per_sample=report.spikes_per_sample,
        firing_rate=report.firing_rate_mean,
        **{name: min(values, default=None) for name, values in costs.items()},
        training_seconds=sum(row.seconds for row in training.epochs),
        report=str(evaluated),
        training=str(trained),
        checkpoint=str(last.checkpoint),
    )


def _marked(rows: list[TrainedMethodRow], kind: Score) -> list[TrainedMethodRow]:
    """Return the rows with the marks of their cells."""
    cells = {(row.method, cell.timesteps): cell for row in rows for cell in row.cells}

    def kept(cost: str) -> frozenset[tuple[str, int]]:
        known = {key: each for key, cell in cells.items() if (each := getattr(cell, cost))}
        sign = 1 if kind.higher else -1
        return front(
            {key: (sign * cells[key].score.mean, each.mean) for key, each in known.items()}
        )

    marks = {"on_energy_front": kept("energy_total_mj"), "on_step_front": kept("step_cpu_seconds")}

    def with_marks(name: str, cell: TrainedCellRow) -> TrainedCellRow:
        key = (name, cell.timesteps)
        return cell.model_copy(update={mark: key in front for mark, front in marks.items()})

    return [
        row.model_copy(update={"cells": list(map(partial(with_marks, row.method), row.cells))})
        for row in rows
    ]


def table(rows: list[TrainedMethodRow]) -> str:
    """Return the cells as CSV, one a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    spreads = [f"{name}_{part}" for name in FIGURES for part in ("mean", "std")]
    marks = ["on_energy_front", "on_step_front"]
    writer.writerow(["method", "timesteps", "latency_steps", "seeds", *spreads, *marks])
    for row in rows:
        for cell in row.cells:
            values: list[Any] = [row.method, cell.timesteps, cell.latency_steps, len(cell.seeds)]
            for name in FIGURES:
                found: Spread | None = getattr(cell, name)
                values += [found.mean, found.std] if found else [None, None]
            writer.writerow([*values, cell.on_energy_front, cell.on_step_front])
    return text.getvalue()

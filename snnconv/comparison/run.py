"""``snnconv compare``: conversion methods on one network, its samples and its images."""

import csv
import io
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from snnconv.comparison import grid
from snnconv.comparison.marked import marked
from snnconv.comparison.presets import Preset, chosen
from snnconv.config import (
    CalibrateConfig,
    CompareConfig,
    ConvertConfig,
    CorrectConfig,
    EvaluateConfig,
)
from snnconv.core.files import write_atomically
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import discordant, mcnemar, unpacked, wilson
from snnconv.errors import CheckFailedError
from snnconv.neurons.base import NEURONS
from snnconv.render import units
from snnconv.reports import (
    CalibrateReport,
    CellRow,
    CompareReport,
    ConvertReport,
    CorrectReport,
    Difference,
    EvaluateReport,
    MethodRow,
    ReportType,
    read,
)
from snnconv.simulation.codings.base import CODINGS
from snnconv.stages.advance import advance
from snnconv.stages.run_folder import newest
from snnconv.stages.session import Session

POINT = 0.01
"""A method is near its ANN if its accuracy is at most so much below."""


@dataclass(frozen=True)
class Evaluated:
    """A cell's evaluation, with the files behind it."""

    plan: grid.Plan
    report: EvaluateReport
    file: Path


def run(config: CompareConfig, progress: Progress | None = None) -> CompareReport:
    """Evaluate each method at each T, and mark what is worth its cost.

    Raises:
        UsageError: a method can't be taken.
        UnsupportedError: the network can't be converted.
        CheckFailedError: an evaluation has no ANN to compare with.
    """
    progress = progress or Quiet()
    presets = chosen(config.methods)
    if config.model is None and (found := newest(config.run, ("ann",))) is not None:
        config = config.model_copy(update={"model": str(found)})
    plans = {
        (name, T): grid.plan(config, name, preset, T)
        for name, preset in presets.items()
        for T in config.timesteps
    }  # before any work, so that no option is refused in the middle of it
    for preset in presets.values():
        NEURONS.load(preset.convert.get("neuron", ConvertConfig().neuron))
    session = Session(config)
    clock = Clock(len(plans), progress)
    rows, evaluations = [], []
    reports: dict[tuple[str, int], EvaluateReport] = {}
    with progress.task("compare", len(plans)) as done:
        for name, preset in presets.items():
            cells: dict[int, Evaluated] = {}
            for T in sorted(config.timesteps, reverse=True):
                longest = cells.get(config.timesteps[-1])
                if longest is None or not _has_all_steps(longest):
                    cells[T] = _evaluated(plans[name, T], clock)
                else:
                    cells[T] = longest
                    clock.kept()
                done(1)
            rows.append(_row(name, preset, cells))
            evaluations += list(cells.values())
            reports |= {(name, T): cell.report for T, cell in cells.items()}
    _refuse_other_samples(evaluations)
    rows = marked(rows, reports)
    of = evaluations[0].report
    assert of.ann_accuracy is not None
    assert of.ann_accuracy_interval is not None
    assert of.energy_ann_mj is not None
    session.inputs += list(dict.fromkeys(each.file for each in evaluations))
    out = config.out or config.run / "compare.json"
    if config.csv is not None:
        write_atomically(config.csv, table(rows).encode())
    return session.report(
        CompareReport,
        [out],
        [config.csv] if config.csv else [],
        model=of.model,
        data=of.data.spec,
        samples=of.samples,
        subset=of.subset,
        ann_accuracy=of.ann_accuracy,
        ann_accuracy_interval=of.ann_accuracy_interval,
        energy_ann_mj=of.energy_ann_mj,
        energy_memory_ann_mj=of.energy_memory_ann_mj,
        timesteps=list(config.timesteps),
        methods=rows,
        cells_run=clock.run,
        cells_kept=clock.total - clock.run,
    )


class Clock:
    """How far a comparison is, and how long the rest may take.

    Args:
        total: cells.
        progress: told after each.
    """

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress = total, progress
        self.run, self.done, self.seconds = 0, 0, 0.0

    def kept(self) -> None:
        """A cell cost nothing: it was there, or is part of another one's simulation."""
        self.done += 1

    def ran(self, cell: str, seconds: float) -> None:
        """A cell was evaluated; say what is left, at most, at the mean pace so far."""
        self.done, self.run, self.seconds = self.done + 1, self.run + 1, self.seconds + seconds
        left = (self.total - self.done) * self.seconds / self.run
        until = f", at most {units.seconds(left)} left" if self.done < self.total else ""
        self.progress.say(f"{cell}: done ({self.done} of {self.total}{until})")


def _evaluated(plan: grid.Plan, clock: Clock) -> Evaluated:
    """Run what is left to run of a cell."""
    started = time.perf_counter()
    outcomes = [advance(stage, config, Quiet()) for stage, config in plan]
    file = Path(getattr(plan[-1][1], "out"))  # noqa: B009 - the config's type does not say it
    if outcomes[-1] == "run":
        clock.ran(file.stem, time.perf_counter() - started)
    else:
        clock.kept()
    return Evaluated(plan, read(file, EvaluateReport), file)


def _has_all_steps(cell: Evaluated) -> bool:
    """Whether a simulation of T steps begins as those of fewer steps do.

    It does if thresholds and neurons do not depend on T, nothing was corrected for it, and the
    network has an answer after every step.
    """
    if any(stage == "correct" for stage, _ in cell.plan) or cell.report.first_answer_step != 1:
        return False
    kind = NEURONS.load(cell.report.neuron)
    fixed = kind.params_type.model_validate(cell.report.params).fixed
    return not fixed and _report(cell, "convert", ConvertReport).thresholds != "derived"


def _report(cell: Evaluated, stage: str, kind: type[ReportType]) -> ReportType:
    (file,) = _beside(cell, stage)
    return read(file, kind)


def _beside(cell: Evaluated, stage: str) -> list[Path]:
    """The reports of a cell's stages of one name."""
    return [
        config.out.with_suffix(".json")
        for name, config in cell.plan
        if name == stage
        and isinstance(config, CalibrateConfig | ConvertConfig | CorrectConfig)
        and config.out is not None
    ]


def _refuse_other_samples(evaluations: list[Evaluated]) -> None:
    """Refuse a comparison of networks that were not measured on the same samples and ANN."""
    for each in evaluations:
        report = each.report
        if report.ann_accuracy is None or report.accuracy is None or report.energy_ann_mj is None:
            raise CheckFailedError(
                "methods can't be compared",
                f"{each.file} has no accuracy or energy of an ANN",
                "delete that file, and compare again",
            )
        of = evaluations[0].report
        if (report.subset, report.ann_accuracy) != (of.subset, of.ann_accuracy):
            raise CheckFailedError(
                "methods can't be compared",
                f"{each.file} was measured on other samples, or with another ANN, than "
                f"{evaluations[0].file}",
                "delete the folder 'compare' of the run, and compare again",
            )


def _row(name: str, preset: Preset, cells: dict[int, Evaluated]) -> MethodRow:
    """A method's cells, not yet marked."""
    longest = cells[max(cells)]
    report = longest.report
    params = NEURONS.load(report.neuron).params_type.model_validate(report.params)
    neuron = NEURONS.load(report.neuron)(params, torch.ones(()), report.timesteps)
    coded = CODINGS.load(report.coding)().neuron(neuron)
    ann = report.ann_accuracy or 0.0
    rows = [_cell(T, cells[T]) for T in sorted(cells)]
    seconds = _report(longest, "calibrate", CalibrateReport).seconds
    seconds += sum(read(file, CorrectReport).seconds for file in _beside(longest, "correct"))
    return MethodRow(
        method=name,
        title=preset.title,
        reference=preset.reference,
        deviations=preset.deviations,
        neuron=report.neuron,
        params=report.params,
        coding=report.coding,
        calibration={key: report.calibration[key] for key in ("method", "granularity")},
        corrections=[each.get("method", "") for each in preset.correct],
        signed=coded.signed,
        levels=coded.levels,
        calibration_seconds=seconds,
        one_simulation=len({cell.file for cell in cells.values()}) < len(cells),
        cells=rows,
        within_1_point=next(
            (row.timesteps for row in rows if row.accuracy + 1e-9 >= ann - POINT), None
        ),
    )


def _cell(timesteps: int, cell: Evaluated) -> CellRow:
    """A method at T, from an evaluation over T steps or more."""
    report, at = cell.report, timesteps - 1
    accuracy, spent = (report.accuracy or [])[at], (report.energy_total_mj_steps or [])[at]
    if accuracy is None or spent is None or not report.energy_ann_mj:
        raise CheckFailedError(
            "methods can't be compared",
            f"{cell.file} has no accuracy or energy at step {timesteps}",
            "delete that file, and compare again",
        )
    rates, sops = report.firing_rate_steps, report.sops_per_sample_steps
    memory, of_ann = (report.energy_memory_mj_steps or [None] * timesteps)[at], None
    if memory is not None and report.energy_memory_ann_mj:
        of_ann = memory / report.energy_memory_ann_mj
    whole = report.timesteps == timesteps  # the twin has the levels of the whole run
    (*_, (_, last)) = cell.plan
    assert isinstance(last, EvaluateConfig)
    return CellRow(
        timesteps=timesteps,
        # within a longer simulation, the answer comes as much earlier
        latency_steps=timesteps + (report.latency_steps or report.timesteps) - report.timesteps,
        accuracy=accuracy,
        accuracy_interval=wilson(accuracy, report.samples),
        against_ann=_against_ann(report, timesteps),
        firing_rate=sum(rates[:timesteps]) / timesteps if rates else None,
        sops_per_sample=sops[at] if sops else None,
        energy_total_mj=spent,
        energy_total_ratio=spent / report.energy_ann_mj,
        energy_memory_mj=memory,
        energy_memory_ratio=of_ann,
        energy_twin_ratio=report.energy_twin_ratio if whole else None,
        twin_accuracy=report.twin_accuracy if whole else None,
        twin_bits=report.twin_bits if whole else None,
        on_energy_front=False,
        on_latency_front=False,
        report=str(cell.file),
        checkpoint=str(last.checkpoint),
    )


def _against_ann(report: EvaluateReport, timesteps: int) -> Difference | None:
    found = report.outcomes
    if found is None or found.ann is None or timesteps not in found.steps:
        return None
    both = (found.steps[timesteps], found.ann)
    alone, ann_alone = discordant(*(unpacked(text, report.samples) for text in both))
    return Difference(
        only_this_right=alone, only_other_right=ann_alone, p=mcnemar(alone, ann_alone)
    )


def table(rows: list[MethodRow]) -> str:
    """The cells as CSV, one a line."""
    text = io.StringIO()
    fields = [name for name in CellRow.model_fields if name != "against_ann"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *fields])
    for row in rows:
        for cell in row.cells:
            values = cell.model_dump(exclude={"against_ann"})
            low, high = cell.accuracy_interval
            values["accuracy_interval"] = f"{low} {high}"
            writer.writerow([row.method, *(values[name] for name in fields)])
    return text.getvalue()

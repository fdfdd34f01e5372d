"""``snnconv compare``: conversion methods on one network, its samples and its images."""

import csv
import io
from collections.abc import Mapping

import torch

from snnconv.comparison import grid
from snnconv.comparison.answer_time import paced
from snnconv.comparison.cells import Clock, Evaluated, Key, evaluate_cells
from snnconv.comparison.front import with_fronts
from snnconv.config import (
    CompareConfig,
    ConvertConfig,
)
from snnconv.config.presets import CONVERSIONS, ConversionPreset
from snnconv.core import distributed
from snnconv.core.files import write_atomically
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import discordant, mcnemar, unpacked, wilson
from snnconv.errors import CheckFailedError, SnnconvError
from snnconv.frontends.ann_accuracy import one_class
from snnconv.neurons.base import NEURONS
from snnconv.reports import (
    CalibrateReport,
    CellRow,
    CompareReport,
    CorrectReport,
    Difference,
    EvaluateReport,
    FailedCell,
    MethodRow,
    read,
)
from snnconv.simulation.codings.base import CODINGS
from snnconv.stages.run_folder import with_network
from snnconv.stages.session import Session

POINT = 0.01
"""A method is near its ANN if its accuracy is at most so much below."""


def run(config: CompareConfig, progress: Progress | None = None) -> CompareReport:
    """Evaluate each method at each T, and mark what is worth its cost.

    Raises:
        UsageError: a method can't be used.
        SnnconvError: no method can be used on the network; the first method's error.
        CheckFailedError: an evaluation has no ANN to compare with.
    """
    progress = progress or Quiet()
    presets = CONVERSIONS.chosen(config.methods)
    config = with_network(config)
    plans = {
        (name, T): grid.plan(config, name, preset, T)
        for name, preset in presets.items()
        for T in config.timesteps
    }  # before any work, so that no option is refused in the middle of it
    for preset in presets.values():
        NEURONS.load(preset.convert.get("neuron", ConvertConfig().neuron))
    session = Session(config)
    with progress.task("compare", len(plans)) as done:
        clock = Clock(len(plans), done, progress)
        cells = evaluate_cells(plans, clock)
    every = cells.evaluated
    cells_run = int(distributed.total([clock.run], session.device)[0])
    by_method = {
        name: {T: every[name, T] for T in config.timesteps if (name, T) in every}
        for name in presets
    }
    rows = [_row(name, presets[name], found) for name, found in by_method.items() if found]
    _warn(session, progress, cells.failed)
    share = max(cell.report.ann_largest_class_share or 0.0 for cell in every.values())
    if warning := one_class(share, next(iter(every.values())).report.samples):
        session.warn(progress, warning)
    evaluations = list(every.values())
    reports = {key: cell.report for key, cell in every.items()}
    _refuse_other_samples(evaluations)
    rows = paced(with_fronts(rows, reports), every, session, config)
    of = evaluations[0].report
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
        task=of.task,
        headline=of.decisive,
        ann_score=of.of_ann,
        ann_accuracy=of.ann_accuracy,
        ann_accuracy_interval=of.ann_accuracy_interval,
        energy_ann_mj=of.energy_ann_mj,
        energy_memory_ann_mj=of.energy_memory_ann_mj,
        timesteps=list(config.timesteps),
        methods=rows,
        failed=[
            FailedCell(
                method=name,
                timesteps=T,
                problem=error.problem,
                found=error.found,
                remedy=error.remedy,
                code=error.code,
            )
            for (name, T), error in sorted(cells.failed.items(), key=lambda item: item[0])
        ],
        cells_run=cells_run,
        cells_kept=len(every) - cells_run,
    )


def _warn(session: Session, progress: Progress, failed: Mapping[Key, SnnconvError]) -> None:
    """Warn which methods failed, why, and at which T; of equal errors, tell the last."""
    steps: dict[tuple[str, str], list[int]] = {}
    last: dict[tuple[str, str], SnnconvError] = {}
    for (name, T), error in sorted(failed.items(), key=lambda item: item[0]):
        steps.setdefault((name, error.problem), []).append(T)
        last[name, error.problem] = error
    for (name, problem), error in last.items():
        at = ", ".join(map(str, steps[name, problem]))
        session.warn(
            progress,
            f"{name} at T = {at} was not measured: {problem}: {error.found}. {error.remedy}",
        )


def _refuse_other_samples(evaluations: list[Evaluated]) -> None:
    """Refuse a comparison of networks that were not measured on the same samples and ANN."""
    for each in evaluations:
        report = each.report
        if report.of_ann is None or not report.by_step or report.energy_ann_mj is None:
            raise CheckFailedError(
                "methods can't be compared",
                f"{each.file} has no score or energy of an ANN",
                "delete that file, and compare again",
            )
        of = evaluations[0].report
        if (report.subset, report.of_ann) != (of.subset, of.of_ann):
            raise CheckFailedError(
                "methods can't be compared",
                f"{each.file} was measured on other samples, or with another ANN, than "
                f"{evaluations[0].file}",
                "delete the folder 'compare' of the run, and compare again",
            )


def _row(name: str, preset: ConversionPreset, cells: dict[int, Evaluated]) -> MethodRow:
    """Return the cells of a method, without marks."""
    longest = cells[max(cells)]
    report = longest.report
    params = NEURONS.load(report.neuron).params_type.model_validate(report.params)
    neuron = NEURONS.load(report.neuron)(params, torch.ones(()), report.timesteps)
    coded = CODINGS.load(report.coding)().neuron(neuron)
    ann, kind = report.of_ann or 0.0, report.decisive
    rows = [_cell(T, cells[T]) for T in sorted(cells)]
    seconds = longest.report_of("calibrate", CalibrateReport).seconds
    seconds += sum(read(file, CorrectReport).seconds for file in longest.beside("correct"))
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
            (row.timesteps for row in rows if kind.within(row.measured, ann, 100 * POINT)), None
        ),
    )


def _cell(timesteps: int, cell: Evaluated) -> CellRow:
    """Return the cell of a method at T, from an evaluation over T steps or more."""
    report, at = cell.report, timesteps - 1
    score, spent = report.by_step[at], (report.energy_total_mj_steps or [])[at]
    if score is None or spent is None or not report.energy_ann_mj:
        raise CheckFailedError(
            "methods can't be compared",
            f"{cell.file} has no score or energy at step {timesteps}",
            "delete that file, and compare again; if it has none then, leave out that T "
            "(--timesteps), or that method (--methods)",
        )
    rates, sops = report.firing_rate_steps, report.sops_per_sample_steps
    memory, of_ann = (report.energy_memory_mj_steps or [None] * timesteps)[at], None
    if memory is not None and report.energy_memory_ann_mj:
        of_ann = memory / report.energy_memory_ann_mj
    whole = report.timesteps == timesteps  # the twin has the levels of the whole run
    return CellRow(
        timesteps=timesteps,
        # within a longer simulation, the answer comes as much earlier
        latency_steps=timesteps + (report.latency_steps or report.timesteps) - report.timesteps,
        accuracy=score if report.accuracy else None,
        accuracy_interval=wilson(score, report.samples) if report.accuracy else None,
        score=score,
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
        logits_relative_error=report.logits_relative_error if whole else None,
        on_energy_front=False,
        on_latency_front=False,
        report=str(cell.file),
        checkpoint=str(cell.checkpoint),
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
    """Return the cells as CSV, with a line for each."""
    text = io.StringIO()
    fields = [name for name in CellRow.model_fields if name != "against_ann"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", *fields])
    for row in rows:
        for cell in row.cells:
            values = cell.model_dump(exclude={"against_ann"})
            low, high = cell.accuracy_interval or ("", "")
            values["accuracy_interval"] = f"{low} {high}".strip()
            writer.writerow([row.method, *(values[name] for name in fields)])
    return text.getvalue()

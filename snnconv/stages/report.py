"""``snnconv report``: show evaluations as a table, Markdown, and one self-contained HTML file."""

from collections.abc import Iterable, Set
from pathlib import Path

from snnconv.checkpoint import sha256
from snnconv.config import EvaluateConfig, ReportConfig
from snnconv.core.files import write_atomically
from snnconv.core.kinds import SPIKING
from snnconv.core.progress import Progress, Quiet
from snnconv.core.uncertainty import interval
from snnconv.errors import UsageError
from snnconv.render.html import html
from snnconv.render.labels import labels
from snnconv.render.markdown import markdown
from snnconv.render.paper import needed, papers
from snnconv.render.sections import contents
from snnconv.render.significance import accuracy_at, score_at, tested
from snnconv.render.svg.styles import run_style
from snnconv.render.trace_summary import TraceSummary
from snnconv.render.training_curves import Trained, behind
from snnconv.reports import (
    CellRow,
    CompareReport,
    CompareTrainingReport,
    ConvertReport,
    EvaluateReport,
    FinetuneReport,
    ReportReport,
    RunDifference,
    RunSummary,
    SearchUse,
    TrainedCellRow,
    TrainReport,
    read,
)
from snnconv.stages import run_folder
from snnconv.stages.advance import run_stage
from snnconv.stages.session import Session
from snnconv.traces.reader import Trace
from snnconv.traces.summary import summary


def _evaluate_the_rest(config: ReportConfig, progress: Progress) -> None:
    """Evaluate each network in the run folder that has no evaluation of its present content."""
    shared = {name: getattr(config, name) for name in ("run", "seed", "device", "threads")}
    done = {run_folder.subject(each) for each in run_folder.evaluations(config.run).values()}
    for digest, files in run_folder.checkpoints(config.run, SPIKING).items():
        if digest not in done:
            progress.say(f"evaluate {files[0]}")
            run_stage("evaluate", EvaluateConfig(**shared, checkpoint=files[0]), progress)


def _evaluations(config: ReportConfig, progress: Progress) -> dict[Path, EvaluateReport]:
    """Return the evaluations to report on: the named files, and those in the named folders."""
    found: dict[Path, EvaluateReport] = {}
    for place in config.evaluations or (config.run,):
        if place.is_dir() or not config.evaluations:
            found |= _in_folder(place, progress)
        else:
            found[place] = read(place, EvaluateReport)
    return found


def _in_folder(run: Path, progress: Progress) -> dict[Path, EvaluateReport]:
    """Return the fullest evaluation of each network and T in a folder; tell which are left out."""
    every = run_folder.evaluations(run)
    here = set(run_folder.checkpoints(run)) if every else set()
    current = {file: each for file, each in every.items() if _is_current(each, here)}
    kept = run_folder.fullest(current)
    for file, report in every.items():
        if file not in current:
            progress.say(f"{file}: left out, its checkpoint has been written anew")
        elif file not in kept:
            progress.say(
                f"{file}: left out, of {report.samples} samples; "
                "another evaluation of the same network has more of them, or is newer"
            )
    return kept


def _comparisons(config: ReportConfig) -> dict[Path, CompareReport | CompareTrainingReport]:
    """Return the comparisons of methods in the run folder, if no evaluations are named."""
    if config.evaluations:
        return {}
    methods, trained = (
        config.run / f"{kind.name}.json" for kind in (CompareReport, CompareTrainingReport)
    )
    found: dict[Path, CompareReport | CompareTrainingReport] = {}
    if methods.is_file():
        found[methods] = read(methods, CompareReport)
    if trained.is_file():
        found[trained] = read(trained, CompareTrainingReport)
    return found


def _worth_their_cost(
    methods: Iterable[CompareReport | CompareTrainingReport],
) -> dict[Path, EvaluateReport]:
    """Return the evaluations of the cells that no other cell beats."""
    files = {
        Path(file)
        for found in methods
        for row in found.methods
        for cell in row.cells
        for file in _beaten_by_none(cell)
    }
    return {file: read(file, EvaluateReport) for file in sorted(files) if file.is_file()}


def _beaten_by_none(cell: CellRow | TrainedCellRow) -> list[str]:
    """Return the evaluation of a cell on the front, of the first seed of a training; else None."""
    if isinstance(cell, CellRow):
        return [cell.report] if cell.on_energy_front or cell.on_latency_front else []
    return [cell.seeds[0].report] if cell.on_energy_front or cell.on_step_front else []


def _is_current(evaluation: EvaluateReport, here: Set[str]) -> bool:
    """Whether its checkpoint is in the folder, is unchanged elsewhere, or is gone."""
    if run_folder.subject(evaluation) in here or not evaluation.lineage.inputs:
        return True
    path = Path(evaluation.lineage.inputs[0].path)
    return not path.exists() or sha256(path) == run_folder.subject(evaluation)


def _trainings(folders: list[Path], evaluations: list[EvaluateReport]) -> list[Trained]:
    """Return the reports of ``train`` and ``finetune`` to draw.

    A training is drawn if an evaluated network comes from it. The newest fine-tuning is always
    drawn, because its network may not be evaluated yet.
    """
    found: list[Trained] = []
    for run in folders:
        trains = run_folder.stage_reports(run, TrainReport, ("ann", "calibrated", "trained"))
        tuned = run_folder.stage_reports(run, FinetuneReport, ("finetuned",))
        every: dict[Path, Trained] = {**trains, **tuned}
        newest = run / f"{FinetuneReport.name}.json"
        found += [r for file, r in every.items() if file == newest or behind(r, evaluations)]
    return found


def _searches(folders: list[Path], evaluations: list[EvaluateReport]) -> list[SearchUse]:
    """Return the searches for method and T from which evaluated networks come."""
    return [
        report.search
        for run in folders
        for report in run_folder.stage_reports(run, ConvertReport, ("converted",)).values()
        if report.search and behind(report, evaluations)
    ]


def _traces(folders: list[Path], evaluations: list[EvaluateReport]) -> list[TraceSummary]:
    """Return the newest trace of each evaluated network, from the folders of the evaluations."""
    names, found = labels(evaluations), {}
    for run in folders:
        for file, report in run_folder.traces(run).items():
            of = report.lineage.inputs[0].sha256 if report.lineage.inputs else None
            for k, evaluation in enumerate(evaluations):
                if (
                    run_folder.subject(evaluation) == of
                    and evaluation.timesteps == report.timesteps
                ):
                    found[k] = file
    return [summary(Trace(file), names[k], run_style(k)) for k, file in sorted(found.items())]


def _refuse_figures(folder: Path | None) -> None:
    """Refuse to draw figures if their folder or a library for them is missing.

    Raises:
        UsageError: a file is in place of the folder, or the library that makes PDF is missing.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            "the figures can't be written (--figures)",
            f"{folder}, which is no folder",
            "name a folder: --figures DIR",
        )
    needed()


def run(config: ReportConfig, progress: Progress | None = None) -> ReportReport:
    """Write ``report.html`` and ``report.md``.

    If no evaluations are named, evaluate the networks of the run folder first that need it.

    Raises:
        UsageError: there is no evaluation, and nothing to evaluate.
        CheckpointError: a file is no evaluation.
    """
    progress = progress or Quiet()
    session = Session(config)
    _refuse_figures(config.figures)
    if not config.evaluations:
        _evaluate_the_rest(config, progress)
    found = _evaluations(config, progress)
    methods = _comparisons(config)
    if methods and not found:
        found = _worth_their_cost(methods.values())
    if not found:
        places = ", ".join(str(place) for place in config.evaluations or (config.run,))
        raise UsageError(
            "there is nothing to report", f"no evaluate*.json in {places}", "snnconv evaluate"
        )
    files, evaluations = list(found), list(found.values())
    folders = list(dict.fromkeys(file.parent for file in files))
    trainings = _trainings(folders, evaluations)
    searches = _searches(folders, evaluations)
    traced = _traces(folders, evaluations)
    session.inputs += files
    session.inputs += methods
    names = labels(evaluations)
    out = config.out or config.run / "report.html"
    page = contents(evaluations, trainings, list(methods.values()), searches, traced)
    write_atomically(out, html(page).encode())
    text = out.with_suffix(".md")
    write_atomically(text, markdown(evaluations).encode())
    figures = []
    if config.figures is not None:
        for name, content in papers(page):
            figures.append(config.figures / name)
            write_atomically(figures[-1], content)
    return session.report(
        ReportReport,
        [out.with_suffix(".json")],
        [out, text, *figures],
        html=str(out),
        markdown=str(text),
        figures=[str(file) for file in figures],
        runs=[
            RunSummary(
                label=label,
                file=str(file),
                neuron=evaluation.neuron,
                samples=evaluation.samples,
                timesteps=evaluation.timesteps,
                latency_steps=evaluation.latency_steps,
                task=evaluation.task,
                headline=evaluation.decisive,
                score=score_at(evaluation),
                ann_score=evaluation.of_ann,
                accuracy=accuracy_at(evaluation),
                accuracy_interval=interval(accuracy_at(evaluation), evaluation.samples),
                ann_accuracy=evaluation.ann_accuracy,
                ann_accuracy_interval=interval(evaluation.ann_accuracy, evaluation.samples),
                firing_rate_mean=evaluation.firing_rate_mean,
                sops_per_sample=evaluation.sops_per_sample,
                energy_total_mj=evaluation.energy_total_mj,
                energy_ann_mj=evaluation.energy_ann_mj,
                energy_twin_ratio=evaluation.energy_twin_ratio,
                twin_accuracy=evaluation.twin_accuracy,
                twin_bits=evaluation.twin_bits,
                non_spiking_share=evaluation.non_spiking_share,
                function_share=evaluation.function_share,
            )
            for label, file, evaluation in zip(labels(evaluations), files, evaluations, strict=True)
        ],
        differences=[
            RunDifference(run=names[i], other=names[j], **test.model_dump())
            for i, j, test in tested(evaluations)
        ],
    )

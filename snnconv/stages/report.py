"""``snnconv report``: evaluations as a table, Markdown, and one self-contained HTML file."""

from pathlib import Path

from snnconv.checkpoint import sha256
from snnconv.config import ReportConfig
from snnconv.errors import UsageError
from snnconv.files import write_atomically
from snnconv.progress import Progress, Quiet
from snnconv.render.courses import Trained, behind
from snnconv.render.html import html
from snnconv.render.markdown import markdown
from snnconv.render.naming import labels
from snnconv.render.significance import accuracy_at, tested
from snnconv.reports import (
    EvaluateReport,
    FinetuneReport,
    ReportReport,
    RunDifference,
    RunSummary,
    TrainReport,
    read,
)
from snnconv.stages.common import Session
from snnconv.uncertainty import interval


def evaluation_files(given: tuple[Path, ...], run: Path) -> list[Path]:
    """The evaluations to report on: the files named, and those in the folders named."""
    files: list[Path] = []
    for place in given:
        files += _in_folder(place) if place.is_dir() else [place]
    return files if given else _in_folder(run)


def _in_folder(run: Path) -> list[Path]:
    return sorted(run.glob("evaluate*.json"))


def _is_current(evaluation: EvaluateReport) -> bool:
    """Whether the checkpoint it is of still is what it was, or is gone."""
    checkpoint = evaluation.lineage.inputs[0]
    path = Path(checkpoint.path)
    return not path.exists() or sha256(path) == checkpoint.sha256


def _trainings(folders: list[Path], evaluations: list[EvaluateReport]) -> list[Trained]:
    """What ``train`` and ``finetune`` left beside the evaluations.

    A training is drawn where an evaluated network comes from it; fine-tuning in any case, since its
    network may be waiting to be evaluated.
    """
    found: list[Trained] = []
    for folder in folders:
        if (file := folder / "train.json").exists():
            report = read(file, TrainReport)
            found += [report] if behind(report, evaluations) else []
        if (file := folder / "finetune.json").exists():
            found.append(read(file, FinetuneReport))
    return found


def run(config: ReportConfig, progress: Progress | None = None) -> ReportReport:
    """Write ``report.html`` and ``report.md``.

    Raises:
        UsageError: there is no evaluation.
        CheckpointError: a file that is none.
    """
    session = Session(config)
    files = evaluation_files(config.evaluations, config.run)
    evaluations = [read(file, EvaluateReport) for file in files]
    if not config.evaluations:
        kept = [pair for pair in zip(files, evaluations, strict=True) if _is_current(pair[1])]
        for file in set(files) - {file for file, _ in kept}:
            (progress or Quiet()).say(f"{file}: left out, its checkpoint has been written anew")
        files, evaluations = [file for file, _ in kept], [one for _, one in kept]
    if not files:
        places = ", ".join(str(place) for place in config.evaluations or (config.run,))
        raise UsageError(
            "there is nothing to report", f"no evaluate*.json in {places}", "snnconv evaluate"
        )
    trainings = _trainings(list(dict.fromkeys(file.parent for file in files)), evaluations)
    session.inputs += files
    names = labels(evaluations)
    out = config.out or config.run / "report.html"
    write_atomically(out, html(evaluations, trainings).encode())
    text = out.with_suffix(".md")
    write_atomically(text, markdown(evaluations).encode())
    return session.report(
        ReportReport,
        out.with_suffix(".json"),
        [out, text],
        html=str(out),
        markdown=str(text),
        runs=[
            RunSummary(
                label=evaluation.label,
                file=str(file),
                neuron=evaluation.neuron,
                samples=evaluation.samples,
                timesteps=evaluation.timesteps,
                latency_steps=evaluation.latency_steps,
                accuracy=accuracy_at(evaluation),
                accuracy_interval=interval(accuracy_at(evaluation), evaluation.samples),
                ann_accuracy=evaluation.ann_accuracy,
                ann_accuracy_interval=interval(evaluation.ann_accuracy, evaluation.samples),
                firing_rate_mean=evaluation.firing_rate_mean,
                sops_per_sample=evaluation.sops_per_sample,
                energy_total_mj=evaluation.energy_total_mj,
                energy_ann_mj=evaluation.energy_ann_mj,
                non_spiking_share=evaluation.non_spiking_share,
            )
            for file, evaluation in zip(files, evaluations, strict=True)
        ],
        differences=[
            RunDifference(run=names[i], other=names[j], **test.model_dump())
            for i, j, test in tested(evaluations)
        ],
    )

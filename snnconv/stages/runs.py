"""``snnconv ls runs``: list the checkpoints and evaluations of a run folder."""

from datetime import datetime
from pathlib import Path

from snnconv.checkpoint import load, sha256
from snnconv.core.kinds import READS
from snnconv.errors import SnnconvError, UsageError
from snnconv.reports import CheckpointRow, EvaluateReport, EvaluationRow, RunsReport, read
from snnconv.stages import run_folder


def runs(run: Path) -> RunsReport:
    """Return what is in a run folder, the oldest first. A row of an unreadable file says why.

    Raises:
        UsageError: there is no such folder.
    """
    if not run.is_dir():
        raise UsageError(f"there is no run folder {run}", "no such folder", "name one: --run DIR")
    every = run_folder.checkpoints(run)
    used: dict[str, list[str]] = {}
    for stage, kinds in READS.items():
        if file := run_folder.newest(run, kinds):
            used.setdefault(sha256(file), []).append(stage)
    own = {digest: files[0].name for digest, files in every.items()}
    return RunsReport(
        run=str(run),
        checkpoints=[
            _checkpoint(files, used.get(digest, []), own) for digest, files in every.items()
        ],
        evaluations=_evaluations(run, own),
    )


def _checkpoint(files: list[Path], stages: list[str], own: dict[str, str]) -> CheckpointRow:
    row = CheckpointRow(
        file=files[0].name,
        also=[file.name for file in files[1:]],
        written=_when(files[0]),
        default_of=stages,
    )
    try:
        found = load(files[0])
    except SnnconvError as error:
        return row.model_copy(update={"problem": error.found})
    info, named = found.spiking, run_folder.describe(found)
    parent = found.lineage[-1].parent if found.lineage else None
    return row.model_copy(
        update={
            "kind": found.kind,
            "neuron": info.neuron if info else None,
            "thresholds": named.basis or None,
            "corrections": list(named.corrections),
            "timesteps": info.timesteps if info else None,
            "parent": own.get(parent, parent[:12]) if parent else None,
        }
    )


def _evaluations(run: Path, own: dict[str, str]) -> list[EvaluationRow]:
    reports: dict[Path, EvaluateReport] = {}
    rows: dict[Path, EvaluationRow] = {}
    contents: dict[bytes, Path] = {}
    files = sorted(
        run.glob("evaluate*.json"), key=lambda f: (f.name == run_folder.EVALUATION, f.name)
    )
    for file in files:
        first = contents.setdefault(file.read_bytes(), file)
        if first is not file:
            rows[first].also.append(file.name)
            continue
        rows[file] = EvaluationRow(file=file.name, also=[], written=_when(file))
        try:
            reports[file] = read(file, EvaluateReport)
        except SnnconvError as error:
            rows[file] = rows[file].model_copy(update={"problem": error.found})
    kept = run_folder.fullest(reports)
    for file, report in reports.items():
        digest = run_folder.subject(report)
        rows[file] = rows[file].model_copy(
            update={
                "label": report.label,
                "checkpoint": own.get(digest, digest[:12]),
                "timesteps": report.timesteps,
                "latency_steps": report.latency_steps,
                "samples": report.samples,
                "accuracy": report.accuracy[-1] if report.accuracy else None,
                "ann_accuracy": report.ann_accuracy,
                "headline": report.decisive,
                "score": report.by_step[-1] if report.by_step else None,
                "ann_score": report.of_ann,
                "reported": file in kept,
            }
        )
    oldest = sorted(rows, key=lambda file: (file.stat().st_mtime_ns, file.name))
    return [rows[file] for file in oldest]


def _when(file: Path) -> str:
    moment = datetime.fromtimestamp(file.stat().st_mtime).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds")

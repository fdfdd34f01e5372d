"""Refuse, before any work, to replace files that a stage did not write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnconv.checkpoint import kind_of, sha256
from snnconv.config import COMMANDS, StageConfig, TrainConfig
from snnconv.core.files import refuse_unwritable
from snnconv.core.kinds import Kind
from snnconv.core.names import file_name
from snnconv.core.validation import parsed_json
from snnconv.errors import CheckpointError, UsageError
from snnconv.render import marks
from snnconv.reports import REPORTS, Report, read

_KINDS: dict[str, tuple[Kind, ...]] = {
    "train": ("ann", "calibrated", "trained"),
    "calibrate": ("calibrated",),
    "convert": ("converted",),
    "correct": ("corrected",),
    "finetune": ("finetuned",),
    "reparameterize": ("reparameterized",),
}
"""The kinds of checkpoint that a stage writes."""

_HEAD = 4096  # bytes of a page in which its mark stands
_MARKS = {".html": marks.HTML.encode(), ".md": marks.MARKDOWN.encode()}
"""What only pages of ``report`` have in their heads."""


def refuse_outputs(config: StageConfig) -> None:
    """Refuse to start if an output would replace a file that is not the stage's own.

    A checkpoint that is read and has the plain name of its kind may be replaced, because its
    content stays under a name of its own (:mod:`snnconv.stages.run_folder`).

    Raises:
        UsageError: ``--out`` names a file that the stage reads, a checkpoint or a report of another
            stage, or a file that snnconv did not write.
    """
    if "out" not in type(config).model_fields:
        return
    stage = next(name for name, kind in COMMANDS.items() if isinstance(config, kind))
    out: Path | None = getattr(config, "out", None)
    given = [getattr(config, name, None) for name in ("checkpoint", "model", "weights")]
    inputs = [Path(path) for path in (*given, *getattr(config, "evaluations", ())) if path]
    for file in _outputs(config, stage, out):
        refuse_unwritable(file)
        if not file.exists() or file.stat().st_size == 0:
            continue
        if out and any(path.exists() and path.samefile(file) for path in inputs):
            found = "a file that the stage reads"
        elif other := _foreign(file, stage, named=bool(out)):
            found = other
        else:
            continue
        if out:
            where, remedy = f"--out {out}", "name another file: --out"
        else:
            where, remedy = f"--run {config.run}", "move it, or name another folder: --run DIR"
        raise UsageError(f"{file} would be lost", f"{where}, and {found} there", remedy)


def refuse_lost(files: Sequence[Path], report: Path, kind: type[Report]) -> None:
    """Refuse to replace a file that the stage did not write, or that has changed since.

    Args:
        files: the files that will be written.
        report: the report in which the stage names the files that it wrote.
        kind: the class of that report.

    Raises:
        UsageError: one of the files is such a file.
    """
    try:
        known = {Path(each.path).name: each.sha256 for each in read(report, kind).lineage.outputs}
    except CheckpointError:  # none, or none that can be read
        known = {}
    for file in files:
        if file.exists() and known.get(file.name) != sha256(file):
            stage = kind.name
            was = f"changed since {stage} wrote it" if file.name in known else f"not of {stage}"
            raise UsageError(
                f"{file} would be lost", f"a file that is there, {was}", "name another file: --out"
            )


def _outputs(config: StageConfig, stage: str, out: Path | None) -> list[Path]:
    """Return what a stage writes, without the files that are named after their content."""
    if stage == "report":
        page = out or config.run / "report.html"
        return [page, page.with_suffix(".md"), page.with_suffix(".json")]
    if out:
        return [out, out.with_suffix(".json")]
    kinds = (config.kind,) if isinstance(config, TrainConfig) else _KINDS.get(stage, ())
    files = [config.run / file_name(kind) for kind in kinds]
    return [*files, config.run / f"{stage}.json"]


def _foreign(file: Path, stage: str, named: bool) -> str:
    """Return what a file is if it is not the stage's own; empty if it is.

    Under a default name, a file that can't be read may be the stage's own, damaged since.
    """
    match file.suffix:
        case ".json":
            data = _json(file)
            other = _stage_of(data)
            if other == stage or (not data and not named):
                return ""
            return f"a report of {other}" if other else "a file that is no report"
        case ".safetensors":
            kind = kind_of(file)
            if kind in _KINDS.get(stage, ()):
                return ""
            # a checkpoint under a default name is kept; a damaged file may be the stage's own
            if not named and (kind or _was_written(file, stage)):
                return ""
            return f"a checkpoint of kind {kind}" if kind else "a file that is no checkpoint"
        case suffix if stage == "report":
            with file.open("rb") as stream:
                own = _MARKS.get(suffix, _MARKS[".html"]) in stream.read(_HEAD)
            return "" if own else "a file that is no page of a report"
    return ""


def _was_written(file: Path, stage: str) -> bool:
    """Whether a stage wrote this file, which has been damaged since."""
    try:
        report = read(file.with_name(f"{stage}.json"), REPORTS[stage])
    except CheckpointError:  # none, or none that can be read
        return False
    return any(Path(output.path).name == file.name for output in report.lineage.outputs)


def _stage_of(data: Any) -> str | None:
    """Return the stage whose report this is; None if it is no report."""
    stage = data.get("stage") if isinstance(data, dict) else None
    return stage if isinstance(stage, str) and "schema" in data else None


def _json(file: Path) -> Any:
    """Read a JSON file; None if it can't be read."""
    try:
        return parsed_json(file.read_bytes())
    except ValueError:
        return None

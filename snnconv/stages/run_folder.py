"""The run folder: several checkpoints and evaluations of a kind side by side.

A stage writes a file that is named after its content, and copies it to the plain name of its kind
(``converted.safetensors``, ``evaluate.json``), which is always the newest. Equal work goes to the
same file again, and different work gets another name, so no work is lost. The copy is no link,
because a program that overwrites one name in place must not change the other.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from snnconv.checkpoint import Checkpoint, canonical_json, encoded, load, sha256
from snnconv.config import ModelConfig
from snnconv.core.files import copy_atomically, digest_of, write_atomically
from snnconv.core.kinds import KINDS, WRITTEN_BY, Kind
from snnconv.core.names import (
    RATE,
    NetworkName,
    ann_stem,
    file_name,
    is_last_epoch,
    last_epoch,
    network_name,
    origin,
    patterns,
)
from snnconv.errors import CheckpointError, UsageError
from snnconv.frontends.open import EMBEDDED
from snnconv.reports import EvaluateReport, ReportType, TraceReport, read

SUFFIX = ".safetensors"
EVALUATION = "evaluate.json"
_DECIDES = ("metric", "energy_ac_pj", "energy_mac_pj", "energy_lookup_pj", "engine")
"""Options that change the figures of an evaluation, in addition to T, data and samples."""


def newest(run: Path, kinds: Iterable[Kind]) -> Path | None:
    """Return the newest checkpoint of these kinds, which the next stage reads by default."""
    found = [file for kind in kinds if (file := run / file_name(kind)).exists()]
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


def checkpoint_file(given: Path | None, run: Path, kinds: tuple[Kind, ...], remedy: str) -> Path:
    """Return the checkpoint that a stage reads: the named one, or the newest of these kinds.

    Raises:
        UsageError: none is named, and the run folder has none.
    """
    found = given or newest(run, kinds)
    if found is None:
        raise UsageError(
            f"there is no checkpoint to work on in {run}",
            f"no {' or '.join(file_name(kind) for kind in kinds)}",
            remedy,
        )
    return found


Options = TypeVar("Options", bound=ModelConfig)


def with_network(config: Options) -> Options:
    """Return the options with the network of the run folder: a trained one, or what was calibrated.

    They stay without a network if the run folder has none, or only the embedded one.

    Raises:
        CheckpointError: nothing says what was calibrated in the run folder.
    """
    if config.model is not None:
        return config
    if found := newest(config.run, ("ann",)):
        return config.model_copy(update={"model": str(found)})
    found = newest(config.run, ("calibrated",))
    if found is None or _calibrated_from(found) == sha256(EMBEDDED):
        return config
    # unless the user says more, its functions stay as the first calibration took them
    kept = {} if config.takes_functions else {"non_relu": "analog"}
    return config.model_copy(update={"model": str(found), **kept})


def _calibrated_from(file: Path) -> str | None:
    """Return the hash of the checkpoint that was calibrated first; None for other networks."""
    try:
        steps = load(file, ["calibrated"]).lineage
    except CheckpointError as error:
        raise CheckpointError(
            error.problem, error.found, "name the network (MODEL), or delete that file"
        ) from error
    return next((step.parent for step in steps if step.stage == "calibrate"), None)


def report_beside(checkpoint: Path) -> Path | None:
    """Return the report of the stage that wrote a checkpoint, if it is in the same folder."""
    stem = checkpoint.stem
    stages = {str(kind): stage for kind, stage in WRITTEN_BY.items()}
    file = checkpoint.with_name(f"{stages.get(stem, stem)}.json")
    if stem == "calibrated" and not file.exists():
        file = checkpoint.with_name("train.json")  # with QCFS, training gives thresholds
    return file if file.exists() else None


# Checkpoints


def save(
    checkpoint: Checkpoint, run: Path, out: Path | None, last: Checkpoint | None = None
) -> list[Path]:
    """Write a checkpoint to the named file; or under its own name, and as the newest of its kind.

    Args:
        checkpoint: the checkpoint of the stage.
        run: the run folder.
        out: the file that the user named; None if there is none.
        last: the last epoch of the training whose best epoch this is; it goes to the same folder.

    Returns:
        The written files, with the checkpoint's own first.
    """
    found = out or run / file_name(checkpoint.kind)
    content = encoded(checkpoint, found)
    digest = digest_of(content)
    if out is None:
        _settle(found, digest)  # first, so that it takes the name which is free until then
    files = [found] if out else [_own(checkpoint, digest, run), found]
    beside = [file.with_stem(last_epoch(file.stem)) for file in files] if last else []
    rest = encoded(last, beside[0]) if last else b""
    for file in beside:
        write_atomically(file, rest)
    for file in files:
        write_atomically(file, content)
    return [*files, *beside]


def kept_as(file: Path, digest: str) -> Path:
    """Return the file with this content: this one, or another in its folder if it was replaced."""
    if sha256(file) == digest:
        return file
    beside = sorted(file.parent.glob(f"{file.stem}-*{file.suffix}"))
    return next((each for each in beside if sha256(each) == digest), file)


def describe(checkpoint: Checkpoint) -> NetworkName:
    """Return the name of a checkpoint."""
    info = checkpoint.spiking
    return network_name(
        info.neuron if info else "",
        checkpoint.calibrated.model_dump() if checkpoint.calibrated else {},
        [step.stage for step in checkpoint.lineage],
        bool(info and info.confidence),
        [made.method for made in checkpoint.corrected],
        info.coding if info else RATE,
    )


def _own(checkpoint: Checkpoint, digest: str, run: Path) -> Path:
    """Return the file in a run folder that is named after a checkpoint's content.

    Args:
        checkpoint: what the file holds.
        digest: the SHA-256 of the whole file.
        run: the run folder.
    """
    info = checkpoint.spiking
    if checkpoint.kind == "ann":
        stem = ann_stem(origin(step.config for step in checkpoint.lineage))
    else:
        stem = describe(checkpoint).stem(checkpoint.kind, info.timesteps if info else None)
    return _free(run / f"{stem}{SUFFIX}", digest, lambda file: sha256(file) == digest)


def _free(file: Path, digest: str, same: Callable[[Path], bool]) -> Path:
    """Return this file, or one with a hash in its name if this one holds other work."""
    hashed = [file.with_name(f"{file.stem}-{digest[:n]}{file.suffix}") for n in (6, 64)]
    free = (each for each in (file, *hashed) if not each.exists() or same(each))
    return next(free, hashed[-1])


def _settle(plain: Path, digest: str) -> None:
    """Copy a file that is about to be replaced to a name of its own, if it has none.

    It has none if an earlier version wrote it, or if the user put it there.

    Args:
        plain: the file.
        digest: the SHA-256 of what replaces it.
    """
    if not plain.exists():
        return
    old = sha256(plain)
    if old == digest:
        return
    for file in plain.parent.glob(f"{plain.stem}-*{SUFFIX}"):
        if file.stat().st_size == plain.stat().st_size and sha256(file) == old:
            return
    try:
        own = _own(load(plain), old, plain.parent)
    except CheckpointError:  # nothing that a stage could read
        return
    copy_atomically(plain, own)
    last = plain.with_stem(last_epoch(plain.stem))
    if last.exists():
        copy_atomically(last, own.with_stem(last_epoch(own.stem)))
    if report := report_beside(plain):
        copy_atomically(report, own.with_suffix(".json"))


def checkpoints(run: Path, kinds: Iterable[Kind] = KINDS) -> dict[str, list[Path]]:
    """Return the checkpoints of these kinds in a folder by their hash, the oldest first.

    Each has the files that hold it, its own before the plain one. Last epochs of trainings are left
    out.
    """
    found: dict[str, list[Path]] = {}
    files = {file for pattern in patterns(kinds) for file in run.glob(pattern) if file.is_file()}
    kept = [file for file in files if not is_last_epoch(file.stem)]
    for file in sorted(kept, key=lambda file: (file.stat().st_mtime_ns, file.name)):
        found.setdefault(sha256(file), []).append(file)
    plain = {file_name(kind) for kind in KINDS}
    return {key: sorted(same, key=lambda f: f.name in plain) for key, same in found.items()}


# Evaluations


def place(report: EvaluateReport, run: Path) -> list[Path]:
    """Return the files of an evaluation without ``--out``: its own, and that of the newest."""
    plain = run / EVALUATION
    if plain.exists():
        _settle_evaluation(plain)
    return [_own_evaluation(report, run), plain]


def evaluations(run: Path) -> dict[Path, EvaluateReport]:
    """Return the evaluations in a folder, each once, the oldest first.

    Raises:
        CheckpointError: a file is no evaluation.
    """
    files = sorted(run.glob("evaluate*.json"), key=lambda f: (f.name == EVALUATION, f.name))
    contents: dict[bytes, Path] = {}
    for file in files:
        contents.setdefault(file.read_bytes(), file)
    oldest = sorted(contents.values(), key=lambda f: (f.stat().st_mtime_ns, f.name))
    return {file: read(file, EvaluateReport) for file in oldest}


def fullest(found: dict[Path, EvaluateReport]) -> dict[Path, EvaluateReport]:
    """Choose the evaluation with the most samples among those of one network at one T.

    Among equals, choose the one with the most metrics, and then the newest.
    """
    best: dict[object, Path] = {}

    def says(report: EvaluateReport) -> tuple[int, int]:
        return report.samples, len(report.config.get("metric") or ())

    for file, report in found.items():
        key = _question(report)
        if key not in best or says(report) >= says(found[best[key]]):
            best[key] = file
    return {file: report for file, report in found.items() if file in best.values()}


def subject(report: EvaluateReport) -> str:
    """Return the hash of the evaluated checkpoint."""
    return next((file.sha256 for file in report.lineage.inputs), "")


def fuller(report: EvaluateReport, run: Path) -> Path | None:
    """Return the file of an evaluation of this network and T with more samples, if there is one."""
    found = {file: _read(file, EvaluateReport) for file in run.glob("evaluate*.json")}
    more = {
        file: each.samples
        for file, each in found.items()
        if each and _question(each) == _question(report) and each.samples > report.samples
    }
    return max(more, key=lambda file: (more[file], file.name != EVALUATION), default=None)


def _question(report: EvaluateReport) -> tuple[str, int, str, int]:
    """Return what is equal in evaluations that differ only in their samples."""
    return subject(report), report.timesteps, report.data.spec, report.readout_from


def _read(file: Path, kind: type[ReportType]) -> ReportType | None:
    try:
        return read(file, kind)
    except CheckpointError:
        return None


def stage_reports(run: Path, kind: type[ReportType], of: Iterable[Kind]) -> dict[Path, ReportType]:
    """Return the reports of a stage that writes checkpoints, each once, the newest last.

    Args:
        run: the run folder.
        kind: the class of the report.
        of: the kinds of checkpoint that the stage writes.

    Raises:
        CheckpointError: the newest can't be read.
    """
    plain = run / f"{kind.name}.json"
    content = plain.read_bytes() if plain.exists() else b""
    own = [file for each in of for file in run.glob(f"{each}-*.json")]
    found = {
        file: report
        for file in sorted(own, key=lambda file: (file.stat().st_mtime_ns, file.name))
        if file.read_bytes() != content and (report := _read(file, kind))
    }
    return found | ({plain: read(plain, kind)} if content else {})


def traces(run: Path) -> dict[Path, TraceReport]:
    """Return the unchanged traces in a folder, by their files."""
    found: dict[Path, TraceReport] = {}
    for file in sorted(run.glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name)):
        report, trace = _read(file, TraceReport), file.with_suffix(".npz")
        if report is None or report.form != "npz" or not trace.is_file():
            continue
        if sha256(trace) in {each.sha256 for each in report.lineage.outputs}:
            found[trace] = report
    return found


def _own_evaluation(report: EvaluateReport, run: Path) -> Path:
    named = network_name(
        report.neuron,
        report.calibration,
        [step.stage for step in report.history],
        bool(report.confidence),
        [made.method for made in report.corrections],
        report.coding,
    )
    work = _work(report)

    def same(file: Path) -> bool:
        there = _read(file, EvaluateReport)
        return there is not None and _work(there) == work

    stem = named.stem("evaluate", report.timesteps, report.samples)
    return _free(run / f"{stem}.json", work, same)


def _work(report: EvaluateReport) -> str:
    """Return a hash of everything that decides what an evaluation finds."""
    options = {name: report.config.get(name) for name in _DECIDES}
    # an older report lacks these options; the stage then did what their defaults do
    if report.integer:
        options |= {"integer": report.integer.params}
    if report.readout_from > 1 or report.early_exit:
        options |= {"readout_from": report.readout_from, "exit": report.config.get("exit")}
    inputs = [file.sha256 for file in report.lineage.inputs]
    drawn = report.subset.sha256 if report.subset else None
    of = [inputs, report.timesteps, report.samples, drawn, report.data.spec, options]
    return hashlib.sha256(canonical_json(of).encode()).hexdigest()


def _settle_evaluation(plain: Path) -> None:
    old = plain.read_bytes()
    if any(file.read_bytes() == old for file in plain.parent.glob("evaluate-*.json")):
        return
    report = _read(plain, EvaluateReport)
    if report is None:  # nothing that a stage could read
        return
    own = _own_evaluation(report, plain.parent)
    if not own.exists():
        write_atomically(own, old)

"""What every stage does before and after its own work: find its input, write its report."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint, load, sha256
from snnconv.config import DataConfig, NormalisationConfig, OptimiserConfig, StageConfig
from snnconv.core import distributed, runtime
from snnconv.core.files import sweep, write_atomically
from snnconv.core.kinds import SPIKING, Kind
from snnconv.core.metadata import DataInfo, LineageStep
from snnconv.core.progress import Progress
from snnconv.data.cached import cached
from snnconv.data.dataset import Dataset, Normalisation, load_dataset, recall
from snnconv.data.layout import Form
from snnconv.data.locate import Source, resolve
from snnconv.data.split import Split, count, digest, is_class
from snnconv.errors import CheckFailedError, UnsupportedError
from snnconv.frontends.open import WITH_CLASSES
from snnconv.reports import (
    CorrectionRow,
    DataUse,
    FileHash,
    Lineage,
    NetworkReport,
    Report,
    ReportType,
    SubsetUse,
    canonical,
)
from snnconv.simulation.memory import BatchPlan, bytes_per_sample, plan_batch
from snnconv.simulation.network import SpikingNetwork
from snnconv.stages import run_folder
from snnconv.stages.outputs import refuse_outputs
from snnconv.stages.run_folder import checkpoint_file, report_beside
from snnconv.training.history import TrainingFiles

PATHS = (
    *("run", "out", "checkpoint", "weights", "data_root", "threads", "evaluations", "memory"),
    *("resume", "expect_accuracy", "tensorboard", "step_memory"),
)
"""Options that name places or speed, left out of a checkpoint's lineage: they change no content."""


@dataclass
class Session:
    """A running stage: it starts when it is made, and ends with :meth:`report`."""

    config: StageConfig
    device: torch.device = field(init=False)
    inputs: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    bound: runtime.Bound | None = None
    _read: list[FileHash] | None = None  # hashes of the inputs before outputs were written

    def __post_init__(self) -> None:
        refuse_outputs(self.config)
        sweep(self.config.run)
        runtime.prepare(self.config.seed, self.config.threads)
        self.device = runtime.device(self.config.device)
        distributed.start(self.device)

    def warn(self, progress: Progress, text: str) -> None:
        """Warn now, and in the report."""
        self.warnings.append(text)
        progress.say(f"warning: {text}")

    def open_checkpoint(
        self, given: Path | None, kinds: tuple[Kind, ...] = SPIKING, remedy: str = "snnconv convert"
    ) -> tuple[Path, Checkpoint]:
        """Read the named checkpoint, or the newest of these kinds, and note it as an input."""
        file = checkpoint_file(given, self.config.run, kinds, remedy)
        self.inputs.append(file)
        return file, load(file, kinds)

    def save(
        self, checkpoint: Checkpoint, progress: Progress, last: Checkpoint | None = None
    ) -> list[Path]:
        """Write the checkpoint of the stage, as :func:`run_folder.save` does.

        A new checkpoint takes the plain name of its kind, which may be the name of an input. Then
        the input keeps its own name, and the user is told which.
        """
        self._read = [_hashed(path) for path in self.inputs]
        out = getattr(self.config, "out", None)
        files = run_folder.save(checkpoint, self.config.run, out, last)
        for read in self._read:
            kept = run_folder.kept_as(Path(read.path), read.sha256)
            if kept != Path(read.path):
                progress.say(f"{read.path} is the new checkpoint now; the one it was is {kept}")
        return files

    def report(
        self, kind: type[ReportType], files: list[Path], outputs: list[Path], /, **fields: Any
    ) -> ReportType:
        """Make the report of the stage, write it to its files, if it has any, and return it."""
        report = self.make_report(kind, outputs, **fields)
        self.write(report, files)
        return report

    def make_report(
        self, kind: type[ReportType], outputs: list[Path], /, **fields: Any
    ) -> ReportType:
        """Make the stage's report."""
        distributed.wait()  # until rank 0 has written the files that are hashed here
        count = distributed.size()
        parents = [path for path in self.inputs if path.suffix == ".safetensors"]
        beside = report_beside(parents[0]) if parents else None
        return kind(
            schema_id=f"snnconv.{kind.name}/1",
            stage=kind.stage_name(),
            config=self.config.model_dump(mode="json"),
            lineage=Lineage(
                inputs=self._read or [_hashed(path) for path in self.inputs],
                parent_report_sha256=sha256(beside) if beside else None,
                outputs=[_hashed(path) for path in outputs],
            ),
            environment=runtime.environment(self.device)
            | ({"processes": count} if count > 1 else {}),
            seed=self.config.seed,
            seconds=time.perf_counter() - self.started,
            warnings=self.warnings,
            **_memory(self, kind),
            **fields,
        )

    def write(self, report: Report, files: list[Path]) -> None:
        """Write the stage's report to each of these files, whole or not at all."""
        try:
            content = canonical(report).encode()
        except ValueError as error:  # JSON has no NaN
            raise CheckFailedError(
                f"the report of {report.stage} can't be written",
                f"NaN or Inf among its figures ({error})",
                "look at the weights and the data: snnconv inspect",
            ) from error
        for file in files:
            write_atomically(file, content)
        distributed.wait()  # or the next stage would not find it


def _memory(session: Session, kind: type[Report]) -> dict[str, float | None]:
    """Return the memory bound of a simulation and what it took, for the report."""
    if session.bound is None or not issubclass(kind, NetworkReport):
        return {}
    taken = session.bound.taken()
    return {
        "memory_bound_mib": session.bound.bytes / 2**20,
        "memory_taken_mib": None if taken is None else taken / 2**20,
    }


def _hashed(path: Path) -> FileHash:
    return FileHash(path=str(path), sha256=sha256(path))


def report_file(config: StageConfig, stage: str, out: Path | None) -> Path:
    """Return the file of a report: next to a named checkpoint, or else in the run folder."""
    return config.run / f"{stage}.json" if out is None else out.with_suffix(".json")


def report_files(
    config: StageConfig, stage: str, out: Path | None, outputs: list[Path]
) -> list[Path]:
    """Return the files of a report: one next to its checkpoint, and one in the run folder."""
    own, found = outputs[0].with_suffix(".json"), report_file(config, stage, out)
    return list(dict.fromkeys([own, found]))


def lineage_step(stage: str, parent: Path | None, config: StageConfig) -> LineageStep:
    """Return a stage's record for its checkpoint, without paths: equal work gives equal bytes."""
    left_out = set(PATHS)
    if parent:
        left_out.add("model")  # a checkpoint, which its hash names
    if not isinstance(config, OptimiserConfig):
        left_out.add("batch_size")  # of work that it does not change
    options = config.model_dump(mode="json", exclude=left_out)
    return LineageStep(stage=stage, parent=sha256(parent) if parent else None, config=options)


def training_files(
    session: Session, config: OptimiserConfig, report: Path, *outputs: Path
) -> TrainingFiles:
    """Return where a training writes its log and the file from which it resumes.

    Args:
        session: the session, with the files that it reads.
        config: the options.
        report: the file of the report, next to which both go.
        outputs: the checkpoints that it writes.
    """
    read = [path for path in session.inputs if path.suffix == ".safetensors"]
    setting = config.model_dump(mode="json", exclude=set(PATHS)) | {
        # a stage reads its own files, so other bytes mean another training
        f"content of {path.name}": sha256(path)
        for path in session.inputs
    }
    setting["processes"] = distributed.size()
    return TrainingFiles(
        log=report.with_suffix(".jsonl"),
        resume=report.with_suffix(".resume.safetensors"),
        setting=setting,
        taken_up=config.resume,
        good=tuple(dict.fromkeys(file for file in (*read, *outputs) if file.exists())),
        board=config.tensorboard,
    )


def files_named(spec: str, root: Path | None = None) -> list[Path]:
    """Return the single file that a DATA or MODEL names, if it does: ``npz:FILE``, ``net.onnx``."""
    head, _, rest = spec.partition("?")[0].partition(":")
    if head == "npz":
        return [resolve(Source(rest, root, download=False), rest)]
    return [Path(head)] if head.endswith((".py", ".onnx", ".pt2")) else []


def load_data(
    session: Session, config: DataConfig, info: DataInfo | None, option: str = "--data"
) -> Dataset:
    """Return the data of a stage: the named data, or that for which the network was made.

    A file of the data becomes an input of the session.

    Args:
        session: the session.
        config: the options, which may name the data.
        info: the data for which the network was made; None without a network.
        option: that names the data, for errors.

    Raises:
        UnsupportedError: the samples have another shape, are no texts, or have another number of
            classes.
    """
    spec = config.data or (info.spec if info else "digits")
    words = info.vocabulary if info else ()
    given, shape = normalisation(config), form(config)
    if info and given == Normalisation():
        # mean and std of a checkpoint are for values of its scale
        same = isinstance(config, NormalisationConfig) and spec == info.spec and not words
        given = Normalisation(info.scale, *((info.mean, info.std) if same else ()))
    if info:
        # files of one kind have one layout, and every sample the size that the network takes
        alike = spec.partition(":")[0] == info.spec.partition(":")[0]
        shape = Form(shape.layout or (info.layout if alike else None), shape.size or info.size)
    read = load_dataset if config.data or not info else recall
    # "none" may have come from data without labels, so it holds for the same data only
    usual = info.task if info and (info.task != "none" or spec == info.spec) else None
    dataset = read(spec, config.data_root, config.download, words, given, shape, config.task, usual)
    session.inputs += files_named(spec, config.data_root)
    if info is None:
        return dataset
    labels = dataset.info.task in WITH_CLASSES
    for what, has, needs in (
        ("vocabulary of", len(dataset.info.vocabulary), len(words)),
        ("sample shape", list(dataset.info.shape), list(info.shape)),
        ("number of frames", dataset.info.frames or "none", info.frames or "none"),
        ("number of classes", len(dataset.info.classes), len(info.classes)),
    ):
        if what == "number of classes" and (not labels or _may_lack(dataset.info, info)):
            continue
        if has != needs:
            raise UnsupportedError(
                f"data set '{spec}' does not fit the network",
                f"{what} {has}, where the network has {needs}",
                f"give the data it was made for: {option} {info.spec}",
            )
    return dataset


def form(config: StageConfig) -> Form:
    """Return the layout and size that a stage's options name."""
    given = config if isinstance(config, NormalisationConfig) else None
    return Form(given.layout, given.size) if given else Form()


def _may_lack(dataset: DataInfo, network: DataInfo) -> bool:
    """Whether the data may have fewer classes than the network, because some have no sample."""
    known = len(dataset.classes)
    return not known or (dataset.spec.startswith("python:") and known < len(network.classes))


def say_same_samples(
    session: Session, dataset: Dataset, trained: Iterable[LineageStep], progress: Progress
) -> None:
    """Warn if a network is measured on the samples on which it was trained."""
    spec = dataset.info.spec
    steps = (step for step in trained if step.stage in ("train", "finetune"))
    if dataset.train is dataset.test and any(step.config.get("data") == spec for step in steps):
        session.warn(
            progress,
            f"data set '{spec}' has one split: the accuracy is of samples that the network was "
            'trained on. Give two: data={"train": ..., "test": ...}',
        )


def normalisation(config: StageConfig) -> Normalisation:
    """Return the scale, mean and std that a stage's options name."""
    if isinstance(config, NormalisationConfig):
        return Normalisation(config.scale, config.mean, config.std)
    return Normalisation()


def read_once(session: Session, dataset: Dataset) -> Dataset:
    """Keep decoded training samples, if they fit into a quarter of the memory."""
    memory = runtime.free_memory(session.device) // 4
    return replace(dataset, train=cached(dataset.train, dataset.info, memory))


def plan_batches(
    session: Session,
    snn: SpikingNetwork,
    wanted: BatchPlan,
    memory: int | None = None,
    share: int = 2,
    progress: Progress | None = None,
    traced: bool = False,
    timesteps: int | None = None,
) -> BatchPlan:
    """Return how many samples and steps to compute at once, as far as the memory allows.

    The session remembers the bound, and the memory in use now, for its report.

    Args:
        session: the session, with its device.
        snn: the network.
        wanted: the most samples and steps.
        memory: the bytes that the user gave; None for a share of the free memory.
        share: the share is one of so many parts.
        progress: told if the smallest portion may take more than the bound.
        traced: whether an observer looks into membranes.
        timesteps: the steps of the whole simulation; by default those wanted at once.
    """
    T = wanted.steps if timesteps is None else timesteps
    confident = snn.confidence is not None or snn.draws
    bound = memory or runtime.free_memory(session.device) // share
    found = plan_batch(snn.analysis, wanted, bound, snn.causal, confident, traced, T)
    counted = bytes_per_sample(snn.analysis, found.steps, confident, traced, T)
    if counted > bound and progress is not None:
        progress.say(
            f"memory: {runtime.mib(bound)} are given, and the smallest portion, one sample over "
            f"{found.steps} of the steps, may take up to {runtime.mib(counted)}: it goes on with "
            "that"
        )
    session.bound = runtime.bound(bound, session.device)
    return found


def say_breach(session: Session, progress: Progress, work: str = "simulation") -> None:
    """Tell if some work took more memory than its bound."""
    taken = session.bound.taken() if session.bound else None
    if session.bound and taken and taken > session.bound.bytes:
        progress.say(
            f"the {work} took {runtime.mib(int(taken))} of memory, above its bound of "
            f"{runtime.mib(session.bound.bytes)}: what is counted are its tensors, not compiled "
            "code and what libraries keep"
        )


def correction_rows(checkpoint: Checkpoint) -> list[CorrectionRow]:
    """Return the corrections of a network, for a report."""
    return [CorrectionRow(**made.model_dump()) for made in checkpoint.corrected]


def data_use(dataset: Dataset) -> DataUse:
    """Return the name and the sizes of a data set, for a report."""
    return DataUse(
        spec=dataset.info.spec,
        train_samples=count(dataset.train),
        test_samples=count(dataset.test),
        frames=dataset.info.frames,
        notes=list(dataset.notes),
    )


def subset_use(split: Split, indices: Tensor, seed: int) -> SubsetUse:
    """Return which samples of a split a stage used, for a report."""
    every = len(indices) == count(split)
    return SubsetUse(
        how="all" if every else "stratified" if is_class(split.labels) else "random",
        samples=len(indices),
        of=count(split),
        seed=None if every else seed,
        sha256=digest(indices),
    )

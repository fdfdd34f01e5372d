"""``snnconv train``: an ANN on a data set, from scratch or from a checkpoint.

With QCFS activations it is trained for conversion: what comes out has its thresholds already.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from snnconv.ann.measure import accuracy
from snnconv.ann.source import is_checkpoint, open_model
from snnconv.calibration import Method, calibrate
from snnconv.checkpoint import Checkpoint, load, save
from snnconv.config import TrainConfig
from snnconv.course import follow
from snnconv.dataset import Dataset, batches, first
from snnconv.errors import CheckFailedError, UnsupportedError, UsageError
from snnconv.graph.build import Network
from snnconv.graph.rewrite import averaged, quantized, thresholds
from snnconv.kinds import file_name
from snnconv.objective import Classification
from snnconv.progress import Progress, Quiet
from snnconv.reports import TrainReport
from snnconv.stages.common import (
    Session,
    course_files,
    data_use,
    files_named,
    lineage_step,
    open_data,
    report_file,
)
from snnconv.statistic import ROOM
from snnconv.training import Training, hold_out

VALIDATION_BATCH = 500
CALIBRATION = "percentile"
SAMPLES = 1024  # to calibrate on, as many as `snnconv calibrate` takes
FROM_SCRATCH = 8.0  # theta of QCFS in an untrained network, as in its authors' code


def run(config: TrainConfig, progress: Progress | None = None) -> TrainReport:
    """Train, and write a checkpoint of kind ``ann``, or ``calibrated`` with QCFS.

    The last epoch is kept: a cosine schedule ends where it should, and the best of many epochs on
    few validation samples is mostly luck.
    """
    progress = progress or Quiet()
    session = Session(config)
    source = Path(config.model) if is_checkpoint(config.model) else None
    session.inputs += [source] if source else files_named(config.model)
    given = load(source, ["ann", "calibrated"]) if source else None
    dataset = open_data(session, config, given.data if given else None)
    facts = dataset.facts
    ann = given or open_model(config.model, None, facts, must_be_trained=False)
    # whose normalisation it will have been trained under; new weights have no thresholds
    ann = replace(ann, kind="ann", data=facts, calibrated=None, calibration={})
    parts = hold_out(dataset.train, config.validation, config.limit)
    sample = parts.train[torch.randperm(len(parts.train), generator=_seeded(config))[:SAMPLES]]
    pools: list[str] = []
    if config.activation == "qcfs":
        starts = _start(given, ann, dataset, sample, config, session, progress)
        ann, pools = _for_conversion(ann, starts, config)
    elif thresholds(ann.graph, ann.network):
        raise UsageError(
            f"{config.model} can't be trained with ReLUs",
            "its activations are QCFS",
            "add --activation qcfs, or give the network it was made from",
        )
    network = Network(ann.graph, ann.network).to(session.device)
    if len(facts.shape) == 3:
        network = network.to(memory_format=torch.channels_last)
    measure = partial(
        accuracy,
        network,
        facts=facts,
        batch_size=VALIDATION_BATCH,
        device=session.device,
        progress=progress,
    )
    objective = Classification(
        network,
        config.label_smoothing,
        lambda: measure(dataset.train, order=parts.validation),
    )
    training = Training(objective, dataset.train, facts, config, parts, session.device, progress)
    files = course_files(session, config, report_file(config, "train", config.out))
    course = follow(training, files, from_start=False, progress=progress)
    final = measure(dataset.test, order=first(dataset.test, None))
    step = lineage_step("train", source, config)
    trained = replace(ann, network=network.tensors(), lineage=(*ann.lineage, step))
    found = thresholds(trained.graph, trained.network)
    if found:
        _check(found)
        trained = _calibrated(trained, dataset, sample, session, progress)
    out = config.out or config.run / file_name(config.kind)
    save(trained, out)
    report = session.report(
        TrainReport,
        report_file(config, "train", config.out),
        [out],
        data=data_use(dataset),
        model=config.model,
        parameters=sum(p.numel() for p in network.parameters()),
        activation=config.activation,
        levels=config.levels if found else None,
        thresholds={name: float(theta.mean()) for name, theta in found.items()},
        pools_averaged=pools,
        epochs=course.rows,
        accuracy=final,
    )
    files.resume.unlink(missing_ok=True)
    return report


def _seeded(config: TrainConfig) -> torch.Generator:
    return torch.Generator().manual_seed(config.seed)


def _start(
    given: Checkpoint | None,
    ann: Checkpoint,
    dataset: Dataset,
    sample: Tensor,
    config: TrainConfig,
    session: Session,
    progress: Progress,
) -> dict[str, Tensor]:
    """Thetas to start from: as told, those of the checkpoint, or from its activations."""
    if not ann.graph.sites:
        raise UnsupportedError(
            f"{config.model} can't be trained for conversion",
            "no activation in it",
            "give a network with ReLU activations",
        )
    if config.theta is not None or given is None:
        theta = torch.tensor([config.theta or FROM_SCRATCH])
        return {site.name: theta for site in ann.graph.sites}
    if given.calibration:
        return given.thresholds()
    return _calibrated(ann, dataset, sample, session, progress).thresholds()


def _for_conversion(
    ann: Checkpoint, starts: dict[str, Tensor], config: TrainConfig
) -> tuple[Checkpoint, list[str]]:
    """The network with QCFS and without max pooling, and the names of what was one."""
    graph, tensors = quantized(ann.graph, ann.network, starts, config.levels)
    graph, pools = (graph, []) if config.pool == "keep" else averaged(graph)
    return replace(ann, graph=graph, network=tensors), pools


def _calibrated(
    ann: Checkpoint, dataset: Dataset, sample: Tensor, session: Session, progress: Progress
) -> Checkpoint:
    """Calibrated on training samples; thetas of QCFS stay what they are."""
    statistic = ROOM.load(CALIBRATION)
    method = Method(CALIBRATION, statistic, statistic.params(), "layer")
    drawn = batches(dataset.train, ann.data, sample, VALIDATION_BATCH)
    with progress.task("calibrate", len(sample)) as advance:
        return calibrate(ann, method, drawn, session.device, advance)


def _check(thetas: dict[str, Tensor]) -> None:
    """Refuse thetas that training has driven to 0 or below."""
    if lost := [name for name, theta in thetas.items() if not (theta > 0).all()]:
        raise CheckFailedError(
            "training diverged",
            f"a theta that is not positive at {', '.join(lost)}",
            "lower the learning rate (--lr), or start from a trained network",
        )

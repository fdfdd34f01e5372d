"""``snnconv calibrate``: find a threshold for every activation site on training samples."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from snnconv.calibration.calibrate import Method, Pass, calibrate, calibrating, planned
from snnconv.calibration.histogram import STATISTICS, Histogram, relative_error
from snnconv.calibration.memory import CalibrationPlan, bits_of
from snnconv.checkpoint import Checkpoint, load
from snnconv.config import CalibrateConfig
from snnconv.core import distributed, runtime
from snnconv.core.metadata import DataInfo, SpikingInfo
from snnconv.core.progress import Progress, Quiet, told_of
from snnconv.core.validation import parameters
from snnconv.data.dataset import Dataset, Drawn, Normalisation, batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import strata, subset
from snnconv.engine.event_conv import plan
from snnconv.errors import UsageError
from snnconv.frontends import pretrained
from snnconv.frontends.ann_accuracy import Seen
from snnconv.frontends.open import EMBEDDED, is_checkpoint, open_model, refuse_output
from snnconv.frontends.torch.capture import Verdict
from snnconv.frontends.transfer import with_spiking_functions
from snnconv.graph.obstacles import refuse_obstacles
from snnconv.reports import CalibrateReport, ImportRow, LookRow, NormalisationUse, SiteRow
from snnconv.simulation.build import spiking_network
from snnconv.simulation.confidence import sin_ratios
from snnconv.simulation.memory import BatchPlan
from snnconv.stages.doubts import Watched, look, lost, trained_here, warn
from snnconv.stages.run_folder import with_network
from snnconv.stages.session import (
    Session,
    data_use,
    files_named,
    lineage_step,
    load_data,
    normalisation,
    plan_batches,
    report_files,
    say_breach,
    subset_use,
)
from snnconv.tasks.base import refuse_labels


def run(config: CalibrateConfig, progress: Progress | None = None) -> CalibrateReport:
    """Calibrate a network, and write a checkpoint of kind ``calibrated``."""
    progress = progress or Quiet()
    session = Session(config)
    statistic = STATISTICS.load(config.method)
    params = parameters(statistic.params, config.param, f"statistic '{config.method}'")

    own = with_network(config)
    spec = own.model or str(EMBEDDED)
    ann, verdict, dataset, origin = _opened(session, own, spec, progress)
    refuse_labels(dataset.info, dataset.labels, ann.analysis.outputs)
    _refuse_expected(config, dataset)
    source = _source(session, config, ann, dataset)
    chosen = subset(strata(source.train), config.samples, config.seed)
    session.inputs += files_named(config.method)
    method = Method(config.method, statistic, params, config.granularity)
    network = calibrating(ann, session.device)  # before the bound, which is for what comes next
    plan = _planned(session, config, ann, method)
    config = config.model_copy(update={"batch_size": plan.samples})
    watched = Watched(ann, network, dataset)
    found = look(session, config, watched, progress)
    seen, mine = Seen(), distributed.share_batches(chosen, plan.samples)
    passes = list[Pass]()

    def drawn() -> Iterator[Drawn]:
        every = batches(source.train, ann.data, mine, plan.samples)
        label = f"calibrate, pass {len(passes) + 1}" if passes else "calibrate"
        return told_of(progress, label, len(mine), every, _samples)

    def told(done: Pass) -> None:
        passes.append(done)
        if done.number == 1 and done.waiting:
            progress.say(_of_passes(done, plan))

    calibrated = calibrate(ann, method, drawn, session.device, seen, plan, told, network)
    seen, bound = seen.total(session.device), session.bound
    if config.calibration_data is not None:  # its labels may mean something else
        seen = replace(seen, right=found.right, samples=found.samples if found.classes else 0)
    warn(session, config, watched, chosen, seen, progress)
    if found.near_chance and ann.data.task != "classification":
        session.warn(progress, lost(session, config, watched, found))
    step = lineage_step("calibrate", session.inputs[0] if is_checkpoint(spec) else None, config)
    calibrated = replace(calibrated, lineage=(*ann.lineage, step))
    files = session.save(calibrated, progress)
    say_breach(session, progress, "calibration")
    sin, paths = _simulated(session, config, calibrated, source, progress)
    session.bound = bound  # what was taken is of both
    info, thresholds = calibrated.calibrated, calibrated.thresholds()
    assert info is not None
    exact = statistic.exact or info.method != config.method
    return session.report(
        CalibrateReport,
        report_files(config, "calibrate", config.out, files),
        files,
        data=data_use(dataset),
        calibration_data=None if source is dataset else data_use(source),
        subset=subset_use(source.train, chosen, config.seed),
        look=LookRow(**found._asdict()),
        normalisation=NormalisationUse(
            scale=dataset.scale, mean=list(ann.data.mean), std=list(ann.data.std), origin=origin
        ),
        ann_accuracy=seen.accuracy,
        ann_samples=seen.samples or None,
        imported=ImportRow(**verdict._asdict()) if verdict else None,
        method=info.method,
        params=info.params,
        granularity=info.granularity,
        samples=info.samples,
        samples_at_once=plan.samples,
        passes=len(passes),
        histograms_mib=passes[0].histograms / 2**20,
        **calibrated.analysis.shares,
        relative_error_bound=0.0
        if exact
        else relative_error(bits_of(info.granularity == "channel")),
        sites=[
            SiteRow(
                name=name,
                channels=len(thresholds[name]),
                sin_ratio=sin.get(name),
                **site.model_dump(),
            )
            for name, site in info.sites.items()
        ],
        sin_steps=config.sin,
        sin_samples=min(config.sin_samples, len(chosen)) if config.sin else None,
        engine=paths,
    )


def _planned(
    session: Session, config: CalibrateConfig, ann: Checkpoint, method: Method
) -> CalibrationPlan:
    """Plan how much to do at once, alike in all processes; the session remembers the bound.

    The bound is for what comes after the libraries and the network.
    """
    Histogram(1, bits_of(by_channel=False)).update(torch.ones(1, 1))  # loads the compiled code
    memory = config.memory_bytes() or runtime.free_memory(session.device) // 2
    least = -int(distributed.largest(torch.tensor([-memory]), session.device)[0])
    session.bound = runtime.bound(least, session.device)
    return planned(ann, method, config.batch_size, least)


def _of_passes(first: Pass, plan: CalibrationPlan) -> str:
    """Say why the samples are read several times."""
    given, histograms = runtime.mib(plan.memory), runtime.mib(first.histograms)
    every = len(first.counted) + first.waiting
    return (
        f"memory: {given} are given, and the histograms of all {every} sites take {histograms}. "
        f"This pass over the samples was for {len(first.counted)} of them, and {first.waiting} "
        "wait for further passes, which change no result"
    )


def _refuse_expected(config: CalibrateConfig, dataset: Dataset) -> None:
    """Refuse to expect an accuracy of a task that has none."""
    if config.expect_accuracy is not None and dataset.info.task != "classification":
        raise UsageError(
            f"the task '{dataset.info.task}' has no --expect-accuracy",
            f"data set '{dataset.info.spec}', and an accuracy is of classification alone",
            "drop --expect-accuracy, and read look.ann_score in the report: --json",
        )


def _opened(
    session: Session, config: CalibrateConfig, spec: str, progress: Progress
) -> tuple[Checkpoint, Verdict | None, Dataset, str]:
    """Return the network, its import check, its data, and the origin of mean and std.

    Options override the normalisation of a checkpoint. Weights of torchvision bring their own,
    unless the user gave one with the data.
    """
    analog = config.takes_functions
    if is_checkpoint(spec):
        refuse_output(spec, config.output)
        ann = load(Path(spec), ["ann", "calibrated"])
        session.inputs.append(Path(spec))
        ann = _with_transfer_sites(ann, config)
        refuse_obstacles(ann.graph, spec, analog)
        dataset = load_data(session, config, ann.data)
        ann = replace(ann, data=ann.data.model_copy(update={"task": dataset.info.task}))
        if normalisation(config) != Normalisation():
            return replace(ann, data=_normalised(ann.data, dataset.info)), None, dataset, "given"
        return ann, None, dataset, "checkpoint" if trained_here(ann) else dataset.origin
    dataset = load_data(session, config, None)
    info, origin = dataset.info, str(dataset.origin)
    own = pretrained.normalisation(spec)
    if own and origin == "given":
        _compare(session, progress, own, dataset)
    elif own:
        info = info.model_copy(update=pretrained.of_values(own, dataset.info.scale))
        origin = "weights"
    if pretrained.random(spec, config.weights):
        session.warn(progress, pretrained.RANDOM)
    opened = open_model(
        spec, config.weights, info, analog=analog, download=config.download, chosen=config.output
    )
    session.inputs += files_named(spec)
    if config.weights:
        session.inputs.append(config.weights)
    ann = _with_transfer_sites(opened.network, config)
    refuse_obstacles(ann.graph, spec, analog)
    return ann, opened.verdict, dataset, origin


def _source(
    session: Session, config: CalibrateConfig, ann: Checkpoint, dataset: Dataset
) -> Dataset:
    """Return the data on whose training samples to calibrate."""
    if config.calibration_data is None:
        return dataset
    # its labels are not used, and may mean something else
    other = config.model_copy(update={"data": config.calibration_data, "task": "none"})
    return load_data(session, other, ann.data, "--calibration-data")


def _with_transfer_sites(ann: Checkpoint, config: CalibrateConfig) -> Checkpoint:
    """Return the network, with transfer sites if the options want them."""
    if not config.transfers:
        return ann
    given = (config.spike_everything, config.spike_input)
    return with_spiking_functions(ann, *given)


def _normalised(info: DataInfo, other: DataInfo) -> DataInfo:
    """Return what a network knows of its data, with the normalisation of other data."""
    same = {name: getattr(other, name) for name in ("scale", "mean", "std")}
    return info.model_copy(update=same)


def _compare(session: Session, progress: Progress, own: Normalisation, dataset: Dataset) -> None:
    """Warn if torchvision trained the weights with another mean and std than the given ones."""
    wanted = pretrained.of_values(own, dataset.info.scale)
    given = {"mean": dataset.info.mean, "std": dataset.info.std}
    if all(
        torch.allclose(torch.tensor(given[name]), torch.tensor(value), rtol=0.01)
        for name, value in wanted.items()
    ):
        return
    mean, std = (",".join(f"{v:.4g}" for v in wanted[name]) for name in ("mean", "std"))
    session.warn(
        progress,
        "torchvision's weights were trained under another normalisation than is given. Try "
        f"--mean {mean} --std {std}",
    )


def _simulated(
    session: Session,
    config: CalibrateConfig,
    calibrated: Checkpoint,
    dataset: Dataset,
    progress: Progress,
) -> tuple[dict[str, float], dict[str, plan.Path]]:
    """Return the share of SIN neurons by site, and the path of each layer; empty without --sin."""
    if config.sin is None:
        return {}, {}
    spiking = SpikingInfo(neuron="if", params={}, timesteps=config.sin, seed=config.seed)
    converted = replace(calibrated, kind="converted", spiking=spiking)
    snn = spiking_network(converted, engine=config.engine)
    wanted = BatchPlan(config.batch_size, config.sin)
    at_once = plan_batches(session, snn, wanted, config.memory_bytes(), progress=progress)
    shown = frames_per_run(calibrated.data.frames, config.sin, 1)
    # they are among those that were calibrated on, because subsets are nested
    samples = min(config.samples, config.sin_samples)
    mine = distributed.share(subset(strata(dataset.train), samples, config.seed))
    drawn = batches(dataset.train, calibrated.data, mine, at_once.samples, frames_per_run=shown)
    with progress.task("SIN", len(mine)) as advance:
        given = (converted, config.sin, drawn, session.device, advance, at_once.steps)
        found = sin_ratios(*given, config.engine)
    say_breach(session, progress)
    return found, snn.paths()


def _samples(batch: Drawn) -> int:
    return len(batch.indices)

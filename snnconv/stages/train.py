"""``snnconv train``: train a network on a data set, from scratch or from a checkpoint.

With QCFS activations, the network is trained for its conversion, and has its thresholds afterwards.
With neurons at its sites, it is a spiking network from the start, and trains as in ``finetune``.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconv.calibration.calibrate import Method, calibrate
from snnconv.calibration.histogram import STATISTICS
from snnconv.checkpoint import Checkpoint, load
from snnconv.config import TrainConfig
from snnconv.core import distributed, runtime
from snnconv.core.metadata import CalibrationInfo, SiteStats, SpikingInfo
from snnconv.core.names import file_name
from snnconv.core.progress import Progress, Quiet, told_of
from snnconv.core.uncertainty import interval
from snnconv.core.validation import parameters
from snnconv.data.dataset import Dataset, Drawn, batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import Split, count, strata, subset
from snnconv.errors import CheckFailedError, UnsupportedError, UsageError
from snnconv.frontends.hard_gates import with_hard_gates
from snnconv.frontends.open import is_checkpoint, open_model
from snnconv.graph.network import Network
from snnconv.graph.rewrite import qcfs_thresholds, with_average_pools, with_gates, with_qcfs
from snnconv.neurons.base import NEURONS
from snnconv.reports import TrainReport
from snnconv.simulation.build import learned, spiking_network
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.network import SpikingNetwork
from snnconv.stages.session import (
    Session,
    data_use,
    files_named,
    lineage_step,
    load_data,
    plan_batches,
    read_once,
    report_file,
    report_files,
    say_same_samples,
    subset_use,
    training_files,
)
from snnconv.training.held_out_score import ACCURACY_OF, ann_score
from snnconv.training.history import fit
from snnconv.training.loop import Training, hold_out
from snnconv.training.losses.base import Loss, named_loss
from snnconv.training.norm import named_norm, with_norm
from snnconv.training.objective import (
    AnnLoss,
    Objective,
    SpikingLoss,
    ValidationSet,
    slice_of,
)
from snnconv.training.surrogate import named_surrogate
from snnconv.training.task import trained_task

VALIDATION_BATCH = 500
CALIBRATION = "percentile"
SAMPLES = 1024  # number of samples to calibrate on, the same as of `snnconv calibrate`
THETA_QCFS = 8.0  # in an untrained network, as in its authors' code
THETA_NEURON = 1.0  # the mean and variance that BatchNorm gives pre-activations, and so currents


def run(config: TrainConfig, progress: Progress | None = None) -> TrainReport:
    """Train a network, and write it: as ``ann``, ``calibrated`` (QCFS) or ``trained`` (neurons).

    Functions that no neuron computes are trained, too; ``calibrate`` refuses them later.

    The last epoch is kept, because a cosine schedule ends there, and because the best of many
    epochs on few validation samples is mostly luck.
    """
    progress = progress or Quiet()
    params = _neuron_params(config)
    session = Session(config)
    source = Path(config.model) if is_checkpoint(config.model) else None
    session.inputs += [source] if source else files_named(config.model)
    for code in (config.neuron, config.surrogate, config.norm):
        session.inputs += files_named(code or "")
    given = load(source, ["ann", "calibrated"]) if source else None
    dataset = load_data(session, config, given.data if given else None)
    say_same_samples(session, dataset, [lineage_step("train", None, config)], progress)
    dataset = read_once(session, dataset)
    info = dataset.info
    made = given
    if made is None:
        made, _ = open_model(
            config.model,
            None,
            info,
            must_be_trained=False,
            analog=True,
            download=config.download,
            chosen=config.output,
        )
    if config.recurrent == "hard":
        made = with_hard_gates(made)
    task, score = trained_task(config, dataset, made)
    loss = _loss(config)
    # it is trained under this normalisation; new weights have no thresholds
    info = info.model_copy(update={"classes": made.data.classes})
    made = replace(made, kind="ann", data=info, calibrated=None, calibration={})
    parts = hold_out(dataset.train, config.validation, config.limit, config.seed)
    sample = parts.train[subset(strata(dataset.train)[parts.train], SAMPLES, config.seed)]
    made, pools = _prepared(given, made, dataset, sample, params, config, session, progress)
    module = _module(made).to(session.device)

    def objective(split: Split, order: Tensor) -> Objective:
        if isinstance(module, SpikingNetwork):
            T, smoothing = config.timesteps, config.label_smoothing
            shown = frames_per_run(info.frames, T, hold=1)
            k = slice_of(module, T, config.slice)
            at_once = plan_batches(session, module, BatchPlan(config.batch_size, k))
            held = ValidationSet(split, info, order, at_once, shown)
            device = session.device
            return SpikingLoss(
                *(module, task, T, k, loss, smoothing, held, device, progress),
                release=config.release,
                updates=config.update == "slice",
                sampled=config.sample_slices,
            )

        def validate() -> float:
            device = session.device
            return ann_score(module, split, info, order, VALIDATION_BATCH, device, progress)

        return AnnLoss(module, task, config.label_smoothing, validate)

    aim = objective(dataset.train, parts.validation)
    training = Training(aim, dataset.train, info, config, parts, session.device, progress)
    out = config.out or config.run / file_name(config.kind)
    traces = training_files(session, config, report_file(config, "train", config.out), out)
    history = fit(training, traces, from_start=False, progress=progress, score=score)
    module.eval()
    final = objective(dataset.test, torch.arange(count(dataset.test))).measure()
    made = _holding(made, module)
    if config.kind == "calibrated":
        _refuse_lost(qcfs_thresholds(made.graph, made.network))
        made = _calibrated(made, dataset, sample, session, progress)
    step = lineage_step("train", source, config)
    files = session.save(replace(made, lineage=(*made.lineage, step)), progress)
    done = session.report(
        TrainReport,
        report_files(config, "train", config.out, files),
        files,
        data=data_use(dataset),
        subset=subset_use(dataset.train, parts.train, config.seed),
        held_out=subset_use(dataset.train, parts.validation, config.seed),
        model=config.model,
        **made.analysis.shares,
        parameters=sum(p.numel() for p in module.parameters()),
        activation=config.activation,
        levels=config.levels if config.kind == "calibrated" else None,
        thresholds={name: float(theta.mean()) for name, theta in made.thresholds().items()},
        neuron=config.neuron,
        params=params,
        norm=config.norm,
        timesteps=config.timesteps if config.neuron else None,
        latency_steps=module.latency(config.timesteps)
        if isinstance(module, SpikingNetwork)
        else None,
        pools_averaged=pools,
        epochs=history.rows,
        peak_memory_mib=runtime.peak_memory_mib(session.device),
        task=info.task,
        headline=score,
        score=final.score,
        accuracy=final.score if info.task == ACCURACY_OF else None,
        accuracy_interval=interval(final.score, count(dataset.test))
        if info.task == ACCURACY_OF
        else None,
        firing_rate=final.firing_rate,
    )
    traces.resume.unlink(missing_ok=True)
    return done


def _prepared(
    given: Checkpoint | None,
    made: Checkpoint,
    dataset: Dataset,
    sample: Tensor,
    params: dict[str, Any],
    config: TrainConfig,
    session: Session,
    progress: Progress,
) -> tuple[Checkpoint, list[str]]:
    """Return the network with its new sites, and the max poolings that became average poolings."""
    if config.kind == "ann":
        _refuse_quantized(made, config)
        return made, []
    _refuse_without_sites(made, config)
    if config.kind == "calibrated":
        starts = _start(given, made, dataset, sample, config, session, progress)
        graph, tensors = with_qcfs(made.graph, made.network, starts, config.levels)
        made = replace(made, graph=graph, network=tensors)
    else:
        made = _with_neurons(made, params, config)
        made = with_norm(made, named_norm(config), config.timesteps, trained=False)
    graph, pools = (made.graph, []) if config.pool == "keep" else with_average_pools(made.graph)
    return replace(made, graph=graph), pools


def _neuron_params(config: TrainConfig) -> dict[str, Any]:
    """Return the neuron's parameters; refuse options that exclude each other."""
    if config.neuron is None:
        given = {
            "--param": config.param,
            "--slice": config.slice,
            "--loss": config.loss != "mean",
            "--loss-param": config.loss_param,
            "--release": config.release,
            "--surrogate": config.surrogate,
            "--surrogate-param": config.surrogate_param,
            "--norm": config.norm,
            "--norm-param": config.norm_param,
            "--neuron-lr": config.neuron_lr,
        }
        if found := [option for option, value in given.items() if value]:
            raise UsageError(
                "no neuron is named for the training",
                found[0],
                "name one: --neuron if (snnconv ls neurons)",
            )
        return {}
    if config.activation != "relu":
        raise UsageError(
            "a network has neurons or activations, not both",
            f"--neuron {config.neuron} and --activation {config.activation}",
            "drop one of them",
        )
    if is_checkpoint(config.model):
        raise UsageError(
            "training with neurons starts from scratch",
            f"the checkpoint {config.model}",
            f"calibrate it, snnconv convert --neuron {config.neuron}, snnconv finetune",
        )
    kind = NEURONS.load(config.neuron).params_type
    return parameters(kind, config.param, f"neuron '{config.neuron}'").model_dump()


def _loss(config: TrainConfig) -> Loss:
    """Return the loss of a spiking network; refuse one that needs an ANN."""
    loss = named_loss(config.loss, config.loss_param)
    if loss.taught:
        raise UsageError(
            "there is no ANN to learn from",
            f"--loss {config.loss} in train",
            f"train an ANN, calibrate and convert it, and snnconv finetune --loss {config.loss}",
        )
    return loss


def _refuse_quantized(made: Checkpoint, config: TrainConfig) -> None:
    if qcfs_thresholds(made.graph, made.network):
        raise UsageError(
            f"{config.model} can't be trained with ReLUs",
            "its activations are QCFS",
            "add --activation qcfs, or give the network it was made from",
        )


def _refuse_without_sites(made: Checkpoint, config: TrainConfig) -> None:
    if not made.graph.sites:
        raise UnsupportedError(
            f"{config.model} can't be trained for spikes",
            "no activation in it",
            "give a network with ReLU activations",
        )


def _refuse_lost(thetas: dict[str, Tensor]) -> None:
    """Refuse thetas that are 0 or below after the training."""
    if lost := [name for name, theta in thetas.items() if not (theta > 0).all()]:
        raise CheckFailedError(
            "training diverged",
            f"a theta that is not positive at {', '.join(lost)}",
            "lower the learning rate (--lr), or start from a trained network",
        )


def _start(
    given: Checkpoint | None,
    made: Checkpoint,
    dataset: Dataset,
    sample: Tensor,
    config: TrainConfig,
    session: Session,
    progress: Progress,
) -> dict[str, Tensor]:
    """Return the first thetas: the given one, those of the checkpoint, or from its activations."""
    if config.theta is not None or given is None:
        theta = torch.tensor([config.theta or THETA_QCFS])
        return {site.name: theta for site in made.graph.sites}
    if given.calibration:
        return given.thresholds()
    return _calibrated(made, dataset, sample, session, progress).thresholds()


def _calibrated(
    made: Checkpoint, dataset: Dataset, sample: Tensor, session: Session, progress: Progress
) -> Checkpoint:
    """Return the checkpoint, calibrated on training samples, with the thetas of QCFS unchanged."""
    statistic = STATISTICS.load(CALIBRATION)
    method = Method(CALIBRATION, statistic, statistic.params(), "layer")

    def drawn() -> Iterator[Drawn]:
        every = batches(dataset.train, made.data, distributed.share(sample), VALIDATION_BATCH)
        return told_of(progress, "calibrate", len(sample), every, _samples)

    return calibrate(made, method, drawn, session.device)


def _with_neurons(made: Checkpoint, params: dict[str, Any], config: TrainConfig) -> Checkpoint:
    """Return an untrained network with neurons, all of one theta."""
    assert config.neuron is not None
    theta, by_channel = config.theta or THETA_NEURON, NEURONS.load(config.neuron).by_channel
    graph, tensors = with_gates(made.graph, made.network, theta)
    made = replace(made, graph=graph, network=tensors)
    sizes = {s.name: made.analysis.shapes[s.name][0] if by_channel else 1 for s in made.graph.sites}
    return replace(
        made,
        kind="trained",
        calibrated=CalibrationInfo(
            method="given",
            params={"theta": theta},
            granularity="channel" if by_channel else "layer",
            samples=0,
            sites={site.name: SiteStats(threshold=theta) for site in made.graph.sites},
        ),
        calibration={f"{name}/threshold": torch.full((n,), theta) for name, n in sizes.items()},
        spiking=SpikingInfo(
            neuron=config.neuron,
            params=params,
            timesteps=config.timesteps,
            seed=config.seed,
            surrogate=named_surrogate(config, [site.name for site in made.graph.sites]),
        ),
    )


def _module(made: Checkpoint) -> Network | SpikingNetwork:
    """Return the module that is trained, with live BatchNorm."""
    if made.kind == "trained":
        return spiking_network(made, folded=False)
    return Network(made.graph, made.network).laid_out()


def _holding(made: Checkpoint, module: Network | SpikingNetwork) -> Checkpoint:
    """Return the checkpoint with what the network has learned."""
    if isinstance(module, SpikingNetwork):
        return replace(made, network=module.network.tensors(), neurons=learned(module))
    return replace(made, network=module.tensors())


def _samples(batch: Drawn) -> int:
    return len(batch.indices)

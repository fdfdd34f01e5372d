"""``snnconv evaluate``: measure accuracy, spikes, energy and errors in one simulation."""

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from snnconv.checkpoint import Checkpoint
from snnconv.checkpoint.contents import neuron_params
from snnconv.config import EvaluateConfig
from snnconv.core import distributed, runtime
from snnconv.core.metadata import DataInfo
from snnconv.core.names import origin
from snnconv.core.progress import Progress, Quiet
from snnconv.data.dataset import Dataset, batches
from snnconv.data.frames import frames_per_run, mean_frame
from snnconv.data.split import count, strata, subset
from snnconv.errors import UsageError
from snnconv.exports.parts.integer_measure import IntegerMeasure
from snnconv.frontends.ann_accuracy import ClassesGiven, one_class
from snnconv.graph.ir import SITES
from snnconv.metrics.base import METRICS, Batch, Figures, Metric, MetricContext, Watch
from snnconv.reports import EvaluateReport, Histogram, LayerRow, LineageRow
from snnconv.simulation.build import metric_context, spiking_network, timesteps
from snnconv.simulation.corrected import beside, compared
from snnconv.simulation.memory import BatchPlan
from snnconv.simulation.network import SpikingNetwork
from snnconv.simulation.simulate import refuse_not_finite, simulate
from snnconv.simulation.twin import QuantizedTwin
from snnconv.stages.run_folder import describe, fuller, place
from snnconv.stages.samples import training_samples
from snnconv.stages.session import (
    Session,
    correction_rows,
    data_use,
    files_named,
    load_data,
    plan_batches,
    say_breach,
    say_same_samples,
    subset_use,
)
from snnconv.tasks.base import TASKS, refuse_labels

CPU_BATCH, GPU_BATCH = 20, 200  # a CPU is fastest while a layer's states fit into its cache


def run(config: EvaluateConfig, progress: Progress | None = None) -> EvaluateReport:
    """Evaluate a spiking network on the test split, and write the report.

    Its ANN runs on the same samples, unless the network was trained with its neurons and has none.
    """
    progress = progress or Quiet()
    session = Session(config)
    kinds = _wanted_metrics(config)
    file, checkpoint = session.open_checkpoint(config.checkpoint)
    info, calibrated = checkpoint.conversion, checkpoint.calibrated
    assert calibrated is not None
    session.inputs += _code(info.neuron, info.coding, *config.metric)
    T = timesteps(checkpoint, config.timesteps)
    shown = frames_per_run(checkpoint.data.frames, T, info.hold)
    dataset = _dataset(session, config, checkpoint, progress)

    snn = spiking_network(checkpoint, engine=config.engine).to(session.device).eval()
    alone = checkpoint.trained_directly
    kinds = _metrics_of_task(kinds, dataset.info.task, config, alone)
    ann, reference = compared(checkpoint, snn.network, session.device)
    context = _context(checkpoint, snn, T, config, dataset, kinds)
    metrics = {name: kind(context) for name, kind in kinds.items()}

    whole = _in_whole_numbers(session, checkpoint, file, T, config, dataset)
    twin = QuantizedTwin.of(context, ann) if any(m.twinned for m in metrics.values()) else None
    watch = Watch(metrics.values(), session.device)
    everyone = subset(strata(dataset.test), config.limit, config.seed)
    order = distributed.share(everyone)
    wanted = BatchPlan(
        config.batch_size or (CPU_BATCH if session.device.type == "cpu" else GPU_BATCH),
        min(config.chunk, T) if snn.causal else T,
    )
    at_once = plan_batches(
        session, snn, wanted, config.memory_bytes(), progress=progress, timesteps=T
    )
    if len(order):
        _warm_up(snn, dataset, checkpoint.data, order[:1], (T, at_once.steps, shown), watch)
    labelled = TASKS.load(dataset.info.task).supervised
    simulated, given = 0.0, None if alone or labelled else ClassesGiven(_outputs(snn))
    with progress.task("evaluate", len(order)) as advance:
        drawn = batches(dataset.test, checkpoint.data, order, at_once.samples, frames_per_run=shown)
        for indices, x, labels in drawn:
            x, samples = x.to(session.device), indices.to(session.device)
            labels = None if labels is None else labels.to(session.device)
            still = mean_frame(x)
            logits, inputs = (None, {}) if alone else beside(ann, reference, still)
            if logits is not None and given is not None:
                given.add(logits)
            batch = Batch(labels, logits, inputs, samples, twin(still) if twin else None)
            for metric in metrics.values():
                metric.begin(batch)
            started = runtime.clock(session.device)
            average = simulate(
                snn, x, samples, T, at_once.steps, watch, watch.needs, config.readout_from
            )
            refuse_not_finite(file, average, logits, whose="its logits or the ANN's")
            for metric in metrics.values():
                metric.finish(average)
            simulated += runtime.clock(session.device) - started
            if whole is not None:
                whole.add(x, average, labels)
            advance(len(indices))
    say_breach(session, progress)

    found = _figures(metrics.values(), session.device)
    report = session.make_report(
        EvaluateReport,
        [],
        data=data_use(dataset),
        subset=subset_use(dataset.test, everyone, config.seed),
        model=origin(step.config for step in checkpoint.lineage),
        history=[LineageRow(**step.model_dump()) for step in checkpoint.lineage],
        label=_label(checkpoint, config),
        trained_directly=alone,
        neuron=info.neuron,
        params=neuron_params(info).model_dump(),
        coding=info.coding,
        calibration={
            "method": calibrated.method,
            "params": calibrated.params,
            "granularity": calibrated.granularity,
            "samples": calibrated.samples,
        },
        corrections=correction_rows(checkpoint),
        confidence=info.confidence.keep if info.confidence else {},
        early=info.confidence.early if info.confidence else None,
        samples=len(everyone),
        samples_at_once=at_once.samples,
        steps_at_once=at_once.steps,
        timesteps=T,
        latency_steps=snn.latency(T),
        ann_largest_class_share=_largest_class(given, len(everyone), session, progress),
        first_answer_step=context.answers[0] if context.answers else None,
        readout_from=config.readout_from,
        integer=whole and whole.use(lambda sums: distributed.summed(sums, session.device)),
        **snn.analysis.shares,
        layers=[
            LayerRow(
                name=node.name,
                neurons=math.prod(snn.analysis.shapes[node.name]),
                threshold=calibrated.sites[node.name].threshold if node.op in SITES else None,
                **found.layers.get(node.name, {}),
            )
            for node in snn.analysis.emitters
        ],
        engine=snn.paths(),
        histograms=_histograms(checkpoint),
        seconds_per_sample=simulated / max(1, len(order)),
        peak_memory_mib=runtime.peak_memory_mib(session.device),
        **found.totals,
    )
    return _written(report, session, config, progress)


def _in_whole_numbers(
    session: Session,
    checkpoint: Checkpoint,
    file: Path,
    T: int,
    config: EvaluateConfig,
    dataset: Dataset,
) -> IntegerMeasure | None:
    """Return the network in whole numbers, if the options want it measured, too."""
    if not config.integer:
        return None

    def draw(network: SpikingNetwork, count: int) -> Tensor | None:
        given = config.seed, config.memory_bytes()
        return training_samples(session, checkpoint, network, dataset, count, *given)

    return IntegerMeasure(checkpoint, file, config.integer, T, config.readout_from, draw)


def _outputs(snn: SpikingNetwork) -> int:
    return (*snn.analysis.shapes[snn.analysis.graph.output], 1)[0]


def _largest_class(
    given: ClassesGiven | None, samples: int, session: Session, progress: Progress
) -> float | None:
    """Return the share of the ANN's most frequent class; warn if it is nearly the only one."""
    share = None if given is None else given.largest_share(session.device)
    if share is not None and (warning := one_class(share, samples)):
        session.warn(progress, warning)
    return share


def _dataset(
    session: Session, config: EvaluateConfig, checkpoint: Checkpoint, progress: Progress
) -> Dataset:
    """Return the data, checked against what the network was made for and trained on."""
    dataset = load_data(session, config, checkpoint.data)
    say_same_samples(session, dataset, checkpoint.lineage, progress)
    refuse_labels(dataset.info, dataset.labels, checkpoint.analysis.outputs)
    return dataset


def _figures(metrics: Iterable[Metric], device: torch.device) -> Figures:
    """Return what the metrics of all processes measured."""
    found = Figures()
    for metric in metrics:
        metric.reduce(lambda sums: distributed.summed(sums, device))
        found.add(metric.figures(found))
    return found


def _context(
    checkpoint: Checkpoint,
    snn: SpikingNetwork,
    T: int,
    config: EvaluateConfig,
    dataset: Dataset,
    kinds: Collection[str],
) -> MetricContext:
    """Return what metrics know of the network and its simulation.

    Raises:
        UsageError: the network can't be read at that step, or has no early exit.
    """
    _refuse_readout(checkpoint, snn.answers(T), T, config)
    if "early-exit" in kinds:
        _refuse_exit(dataset.info.task, snn)
    context = metric_context(checkpoint, snn, T, population=count(dataset.test))
    return replace(
        context,
        task=dataset.info.task,
        energy_ac_pj=config.energy_ac_pj,
        energy_mac_pj=config.energy_mac_pj,
        energy_lookup_pj=config.energy_lookup_pj,
        answers=tuple(t for t in snn.answers(T) if t >= config.readout_from),
        exit_margin=config.exit.get("margin", context.exit_margin),
    )


def _refuse_readout(
    checkpoint: Checkpoint, answers: tuple[int, ...], T: int, config: EvaluateConfig
) -> None:
    """Refuse to read a network at a step at which it has no answer."""
    if config.readout_from > T:
        raise UsageError(
            f"currents can't count from step {config.readout_from} on",
            f"the network runs for T = {T}",
            f"give --readout-from {T} or less, or a larger --timesteps",
        )
    if len(answers) < T and (config.readout_from > 1 or config.exit):
        option = "--exit" if config.exit else "--readout-from"
        raise UsageError(
            f"{checkpoint.conversion.neuron} neurons can't be read before all their steps are done",
            f"{option}, and their first answer comes after step {answers[0]} of {T}",
            f"drop {option}, or take neurons that stream: snnconv convert --neuron signed",
        )


def _refuse_exit(task: str, snn: SpikingNetwork) -> None:
    """Refuse an early exit for outputs that do not say how sure the network is."""
    outputs = snn.analysis.outputs
    if TASKS.load(task).confidence(torch.zeros(1, 1, *outputs)) is None:
        raise UsageError(
            f"the task '{task}' has no early exit",
            f"--exit, and outputs of shape {list(outputs)} without a probability: nothing says how "
            "sure the network is of a number",
            "drop --exit. Fewer steps for all samples: give --timesteps, or search for them with "
            "snnconv convert --within",
        )


def _label(checkpoint: Checkpoint, config: EvaluateConfig) -> str:
    """Return the name of the network in legends."""
    label = describe(checkpoint).label
    late = config.readout_from > 1
    return f"{label}, read from step {config.readout_from}" if late else label


def _code(*methods: str) -> list[Path]:
    """Return the files of methods whose code is the user's."""
    return [file for name in methods for file in files_named(name)]


def _written(
    report: EvaluateReport, session: Session, config: EvaluateConfig, progress: Progress
) -> EvaluateReport:
    """Write the report; warn if the accuracy is too low, and name a fuller evaluation if any."""
    if report.code():
        found = report.accuracy[-1] if report.accuracy else None
        session.warn(
            progress,
            f"the accuracy at T = {report.timesteps} is {found or 0:.2%} of {report.samples} "
            f"samples, and {config.expect_accuracy:.2%} were expected",
        )
        report = report.model_copy(update={"warnings": session.warnings})
    if config.out is None and (file := fuller(report, config.run)):
        progress.say(
            f"evaluate.json is the newest evaluation, of {report.samples} samples; "
            f"the one with more samples stays in {file}, and report takes it"
        )
    session.write(report, [config.out] if config.out else place(report, config.run))
    return report


def _warm_up(
    snn: SpikingNetwork,
    dataset: Dataset,
    info: DataInfo,
    order: Tensor,
    steps: tuple[int, int, int],
    watch: Watch,
) -> None:
    """Compile everything before the clock starts.

    What is compiled depends on types, not on sizes. The second chunk continues from a state.
    """
    T, chunk, frames_per_run = steps
    needs, device = watch.needs, next(snn.parameters()).device
    for indices, x, _ in batches(
        dataset.test, info, order, len(order), frames_per_run=frames_per_run
    ):
        few = min(T, 2 * chunk)
        simulate(snn, x.to(device), indices.to(device), few, chunk, lambda *_: None, needs)


def _wanted_metrics(config: EvaluateConfig) -> dict[str, type[Metric]]:
    """Return the metrics that the options name, each behind those that it needs.

    Raises:
        UsageError: an unknown metric, or one without the metrics that it needs.
    """
    wanted = (*config.metric, *(["early-exit"] if config.exit else []))
    kinds = {name: METRICS.load(name) for name in wanted}
    if config.expect_accuracy is not None and "accuracy" not in kinds:
        raise UsageError(
            "the expected accuracy is not measured",
            "no metric 'accuracy'",
            "add --metric accuracy",
        )
    for name, kind in kinds.items():
        if lacking := [need for need in kind.needs if need not in kinds]:
            raise UsageError(
                f"{name} can't be measured",
                f"no {' and no '.join(lacking)}",
                f"add {' '.join(f'--metric {need}' for need in lacking)}",
            )
    return dict(sorted(kinds.items(), key=lambda item: len(item[1].needs)))


def _metrics_of_task(
    kinds: dict[str, type[Metric]], task: str, config: EvaluateConfig, alone: bool
) -> dict[str, type[Metric]]:
    """Return the metrics that have a meaning for the task, and for a network without an ANN.

    Raises:
        UsageError: the user named one without a meaning, or no metric is left.
    """
    if not TASKS.load(task).supervised and alone:
        raise UsageError(
            "the network can't be measured without labels",
            "it was trained with its neurons, so there is no ANN to compare it with",
            "give data with labels: --data",
        )
    fitting = {name: kind for name, kind in kinds.items() if not kind.tasks or task in kind.tasks}
    lost = [name for name in kinds if name not in fitting]
    meant = [] if "scores" in kinds else [f"--metric {name}" for name in lost]
    if config.expect_accuracy is not None and "accuracy" in lost:
        meant.append("--expect-accuracy")
    if meant:
        raise UsageError(
            f"the task '{task}' has no {' and no '.join(meant)}",
            f"those are of {', '.join(kinds[lost[0]].tasks)} alone",
            f"drop {' and '.join(meant)}, and measure --metric scores",
        )
    return {name: kind for name, kind in fitting.items() if not (alone and kind.of_conversion)}


def _histograms(checkpoint: Checkpoint) -> list[Histogram]:
    assert checkpoint.calibrated is not None

    def listed(tensor: Tensor) -> list[float]:
        return [float(value) for value in tensor.tolist()]

    return [
        Histogram(
            name=name,
            threshold=site.threshold,
            edges=listed(checkpoint.calibration[f"{name}/edges"]),
            counts=listed(checkpoint.calibration[f"{name}/counts"]),
        )
        for name, site in checkpoint.calibrated.sites.items()
        if f"{name}/edges" in checkpoint.calibration  # none if neurons were trained
    ]

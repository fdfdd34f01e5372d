"""``snnconv convert``: put a spiking neuron at every activation site."""

from dataclasses import replace

import torch

from snnconv.calibration.layers import by_layer
from snnconv.calibration.refit import refitted
from snnconv.config import ConvertConfig
from snnconv.core.kinds import READS
from snnconv.core.metadata import SpikingInfo
from snnconv.core.progress import Progress, Quiet
from snnconv.core.validation import parameters
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run
from snnconv.data.split import strata, subset
from snnconv.errors import UsageError
from snnconv.graph.network import attributes
from snnconv.graph.operations.wiring import Identity
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.base import NEURONS
from snnconv.reports import ConvertReport
from snnconv.simulation.build import check_transfers, spiking_network
from snnconv.simulation.codings.base import CODINGS
from snnconv.simulation.confidence import confident_sites, measure_confidence
from snnconv.simulation.memory import BatchPlan
from snnconv.stages.session import (
    Session,
    files_named,
    lineage_step,
    load_data,
    plan_batches,
    report_files,
    say_breach,
    subset_use,
)
from snnconv.tasks.base import TASKS

_LACKS = (
    "the thresholds are those of the calibration, not of this T and neuron: the checkpoint is of "
    "an older version, and keeps nothing to find them again. Calibrate again: snnconv calibrate"
)


def run(config: ConvertConfig, progress: Progress | None = None) -> ConvertReport:
    """Convert a network, and write a checkpoint of kind ``converted`` with the same weights."""
    progress = progress or Quiet()
    session = Session(config)
    file, calibrated = session.open_checkpoint(
        config.checkpoint, READS["convert"], "snnconv calibrate"
    )
    session.inputs += [*files_named(config.neuron), *files_named(config.coding)]
    neuron = NEURONS.load(config.neuron)
    params = parameters(neuron.params_type, config.param, f"neuron '{config.neuron}'")
    coding = CODINGS.load(config.coding)()
    # refuse a T that it can't be made for, and neurons that the coding has no place for
    made = coding.neuron(neuron(params, torch.ones(()), config.timesteps))
    check_transfers(config.neuron, made, calibrated.graph)
    if params.fixed and config.confidence != "off":
        raise UsageError(
            f"spike confidence can't act on {config.neuron} neurons",
            f"it is measured over early steps, and they run for T = {config.timesteps} only",
            "drop --confidence",
        )
    grid = coding.fit(params.fit(config.timesteps), config.timesteps)
    kept = calibrated
    calibrated, how, lacks = refitted(
        calibrated, grid, config.thresholds == "derived", config.granularity
    )
    if lacks:
        session.warn(progress, _LACKS)
    shown = frames_per_run(calibrated.data.frames, config.timesteps, 1)
    converted = replace(
        calibrated,
        kind="converted",
        lineage=(*calibrated.lineage, lineage_step("convert", file, config)),
        spiking=SpikingInfo(
            neuron=config.neuron,
            params=params.model_dump(),
            coding=config.coding,
            timesteps=config.timesteps,
            seed=config.seed,
        ),
    )
    converted = replace(converted, neurons=by_layer(converted, kept, neuron, params))
    confidence, drawn = None, None
    if sites := confident_sites(converted.graph, config.confidence):
        if not TASKS.recall(converted.data.task).decides:
            raise UsageError(
                f"spike confidence has no meaning for the task '{converted.data.task}'",
                "it drops spikes at random, and every one of them changes the outputs' values",
                "drop --confidence",
            )
        dataset = load_data(session, config, converted.data)
        chosen = subset(strata(dataset.train), config.confidence_samples, config.seed)
        drawn = subset_use(dataset.train, chosen, config.seed)
        snn = spiking_network(converted)
        wanted = BatchPlan(config.batch_size, config.early)
        at_once = plan_batches(session, snn, wanted, config.memory_bytes(), progress=progress)
        with progress.task("spike confidence", len(chosen)) as advance:
            confidence = measure_confidence(
                converted,
                sites,
                config.early,
                batches(
                    dataset.train, converted.data, chosen, at_once.samples, frames_per_run=shown
                ),
                session.device,
                advance,
                at_once.steps,
                config.engine,
            )
        say_breach(session, progress)
        converted = replace(
            converted, spiking=converted.conversion.model_copy(update={"confidence": confidence})
        )
    files = session.save(converted, progress)

    snn = spiking_network(converted, engine=config.engine)
    graph, found = converted.graph, converted.calibrated
    assert found is not None
    return session.report(
        ConvertReport,
        report_files(config, "convert", config.out, files),
        files,
        neuron=config.neuron,
        params=params.model_dump(),
        params_by_site={name: float(of) for name, of in converted.neurons.items()},
        coding=config.coding,
        timesteps=config.timesteps,
        latency_steps=snn.latency(config.timesteps),
        thresholds=how,
        threshold_method=found.method,
        threshold_params=found.params,
        granularity=found.granularity,
        threshold_by_site={name: site.threshold for name, site in found.sites.items()},
        sites_converted=len(graph.sites),
        **converted.analysis.shares,
        cumulative_pools=[
            node.name for node in converted.analysis.cumulative if OPS[node.op].role is Role.MAX
        ],
        analog=[node.name for node in graph.nodes if OPS[node.op].role is Role.ANALOG],
        dropped=[
            f"{attrs.dropped} at {node.name}"
            for node in graph.nodes
            if node.op == "identity" and (attrs := attributes(node, Identity)).dropped
        ],
        confidence=confidence.keep if confidence else {},
        early=confidence.early if confidence else None,
        confidence_subset=drawn,
        engine=snn.paths(),
    )

"""``snnconv calibrate``: a threshold for every activation site, from activation statistics."""

from dataclasses import replace
from pathlib import Path

import torch

from snnconv.ann.source import EMBEDDED, is_checkpoint, open_model
from snnconv.calibration import Collector, describe, find_thresholds, site_tensors
from snnconv.checkpoint import load, save
from snnconv.config import CalibrateConfig
from snnconv.dataset import batches
from snnconv.errors import UnsupportedError
from snnconv.facts import CalibrationFacts
from snnconv.graph.build import Network, shapes
from snnconv.graph.fold import fold
from snnconv.graph.ir import Graph
from snnconv.graph.ops import OPS, Role
from snnconv.graph.recurrent import GATES
from snnconv.progress import Progress, Quiet
from snnconv.reports import CalibrateReport, SiteRow
from snnconv.stages.common import (
    Session,
    data_use,
    files_named,
    lineage_step,
    newest,
    open_data,
    report_file,
)
from snnconv.statistic import ROOM
from snnconv.validated import parameters

_NAMED = 20  # obstacles in an error: a recurrence of hard gates has hundreds of products


def run(config: CalibrateConfig, progress: Progress | None = None) -> CalibrateReport:
    """Calibrate, and write a checkpoint of kind ``calibrated``."""
    progress = progress or Quiet()
    session = Session(config)
    statistic = ROOM.load(config.method)
    params = parameters(statistic.params, config.param, f"statistic '{config.method}'")

    spec = config.model or str(newest(config.run, ("ann",)) or EMBEDDED)
    if is_checkpoint(spec):
        ann = load(Path(spec), ["ann"])
        session.inputs.append(Path(spec))
        if config.non_relu == "refuse":
            _refuse_analog(ann.graph, spec)
        dataset = open_data(session, config, ann.data)
    else:
        dataset = open_data(session, config, None)
        ann = open_model(spec, config.weights, dataset.facts, analog=config.non_relu == "analog")
        session.inputs += files_named(spec)
        if config.weights:
            session.inputs.append(config.weights)
    if not ann.graph.sites:
        raise UnsupportedError(
            f"{spec} can't be calibrated", "no ReLU in it", "give a network with ReLU activations"
        )

    graph, tensors = fold(ann.graph, ann.network)
    network = Network(graph, tensors).to(session.device).eval()
    collector = Collector(graph, shapes(graph, tensors), config.granularity)
    chosen = torch.randperm(
        len(dataset.train.labels), generator=torch.Generator().manual_seed(config.seed)
    )[: config.samples]
    with progress.task("calibrate", len(chosen)) as advance:
        for _, x, labels in batches(dataset.train, ann.data, chosen, config.batch_size):
            collector.collect(network, x.to(session.device))
            advance(len(labels))

    thresholds = find_thresholds(graph, collector, statistic, params)
    histograms = collector.histograms
    sites = {name: describe(histograms[name], theta) for name, theta in thresholds.items()}
    calibrated = replace(
        ann,
        kind="calibrated",
        lineage=(
            *ann.lineage,
            lineage_step("calibrate", session.inputs[0] if is_checkpoint(spec) else None, config),
        ),
        calibrated=CalibrationFacts(
            method=config.method,
            params=params.model_dump(),
            granularity=config.granularity,
            samples=len(chosen),
            sites=sites,
        ),
        calibration={
            key: tensor
            for name, theta in thresholds.items()
            for key, tensor in site_tensors(name, histograms[name], theta).items()
        },
    )
    out = config.out or config.run / "calibrated.safetensors"
    save(calibrated, out)
    return session.report(
        CalibrateReport,
        report_file(config, "calibrate", config.out),
        [out],
        data=data_use(dataset),
        method=config.method,
        params=params.model_dump(),
        granularity=config.granularity,
        samples=len(chosen),
        relative_error_bound=0.0
        if statistic.exact
        else next(iter(histograms.values())).relative_error,
        sites=[
            SiteRow(name=name, channels=len(thresholds[name]), **facts.model_dump())
            for name, facts in sites.items()
        ],
    )


def _refuse_analog(graph: Graph, spec: str) -> None:
    """Refuse what no neuron stands for, all of it, before any data is read.

    Raises:
        UnsupportedError: there is some.
    """
    found = [node for node in graph.nodes if OPS[node.op].role is Role.ANALOG]
    if not found:
        return
    named = [f"{node.name}: {node.op}" for node in found[:_NAMED]]
    if len(found) > _NAMED:
        named.append(f"and {len(found) - _NAMED} more")
    hard = ", or for its gates snnconv train --recurrent hard first"
    recurrent = any(node.op in GATES for node in found)
    raise UnsupportedError(
        f"{len(found)} operation(s) of {spec} can't be converted",
        "; ".join(named),
        f"compute them beside the spikes: --non-relu analog{hard if recurrent else ''}",
    )

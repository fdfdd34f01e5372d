"""``snnconv calibrate``: a threshold for every activation site, from activation statistics."""

from dataclasses import replace
from pathlib import Path

from snnconv import distributed
from snnconv.ann.source import EMBEDDED, is_checkpoint, open_model
from snnconv.calibration import CHANNEL_BITS, LAYER_BITS, Method, calibrate
from snnconv.checkpoint import Checkpoint, load
from snnconv.config import CalibrateConfig
from snnconv.conversion import sin_ratios, spiking_network
from snnconv.dataset import Dataset, batches, subset
from snnconv.engine import synapse
from snnconv.engine.memory import Portion
from snnconv.facts import SpikingFacts
from snnconv.folder import newest, save
from snnconv.frames import showings
from snnconv.graph.check import refuse_obstacles
from snnconv.progress import Progress, Quiet
from snnconv.reports import CalibrateReport, ImportRow, SiteRow
from snnconv.stages.common import (
    Session,
    data_use,
    files_named,
    fitting,
    lineage_step,
    non_spiking_share,
    open_data,
    report_files,
    subset_use,
)
from snnconv.statistic import ROOM, relative_error
from snnconv.validated import parameters


def run(config: CalibrateConfig, progress: Progress | None = None) -> CalibrateReport:
    """Calibrate, and write a checkpoint of kind ``calibrated``."""
    progress = progress or Quiet()
    session = Session(config)
    statistic = ROOM.load(config.method)
    params = parameters(statistic.params, config.param, f"statistic '{config.method}'")

    analog = config.non_relu == "analog"
    spec = config.model or str(newest(config.run, ("ann",)) or EMBEDDED)
    if is_checkpoint(spec):
        ann, verdict = load(Path(spec), ["ann", "calibrated"]), None
        session.inputs.append(Path(spec))
        refuse_obstacles(ann.graph, spec, analog)
        dataset = open_data(session, config, ann.data)
    else:
        dataset = open_data(session, config, None)
        ann, verdict = open_model(spec, config.weights, dataset.facts, analog=analog)
        session.inputs += files_named(spec)
        if config.weights:
            session.inputs.append(config.weights)
        refuse_obstacles(ann.graph, spec, analog)

    chosen = subset(dataset.train.labels, config.samples, config.seed)
    with progress.task("calibrate", len(chosen)) as advance:
        calibrated = calibrate(
            ann,
            Method(config.method, statistic, params, config.granularity),
            batches(dataset.train, ann.data, distributed.share(chosen), config.batch_size),
            session.device,
            advance,
        )
    step = lineage_step("calibrate", session.inputs[0] if is_checkpoint(spec) else None, config)
    calibrated = replace(calibrated, lineage=(*ann.lineage, step))
    files = save(calibrated, config.run, config.out)
    sin, paths = _simulated(session, config, calibrated, dataset, progress)
    facts, thresholds = calibrated.calibrated, calibrated.thresholds()
    assert facts is not None
    exact = statistic.exact or facts.method != config.method
    bits = LAYER_BITS if facts.granularity == "layer" else CHANNEL_BITS
    return session.report(
        CalibrateReport,
        report_files(config, "calibrate", config.out, files),
        files,
        data=data_use(dataset),
        subset=subset_use(dataset.train, chosen, config.seed),
        imported=ImportRow(**verdict._asdict()) if verdict else None,
        method=facts.method,
        params=facts.params,
        granularity=facts.granularity,
        samples=facts.samples,
        non_spiking_share=non_spiking_share(calibrated),
        relative_error_bound=0.0 if exact else relative_error(bits),
        sites=[
            SiteRow(
                name=name,
                channels=len(thresholds[name]),
                sin_ratio=sin.get(name),
                **site.model_dump(),
            )
            for name, site in facts.sites.items()
        ],
        sin_steps=config.sin,
        sin_samples=min(config.sin_samples, len(chosen)) if config.sin else None,
        engine=paths,
    )


def _simulated(
    session: Session,
    config: CalibrateConfig,
    calibrated: Checkpoint,
    dataset: Dataset,
    progress: Progress,
) -> tuple[dict[str, float], dict[str, synapse.Path]]:
    """Each site's share of SIN neurons, and which ways layers went; nothing if not asked for."""
    if config.sin is None:
        return {}, {}
    spiking = SpikingFacts(neuron="if", params={}, timesteps=config.sin, seed=config.seed)
    converted = replace(calibrated, kind="converted", spiking=spiking)
    snn = spiking_network(converted, engine=config.engine)
    wanted = Portion(config.batch_size, config.sin)
    at_once = fitting(session, snn, wanted, config.memory_bytes())
    shown = showings(calibrated.data.frames, config.sin, 1)
    # part of those that were calibrated on: subsets are nested
    samples = min(config.samples, config.sin_samples)
    mine = distributed.share(subset(dataset.train.labels, samples, config.seed))
    drawn = batches(dataset.train, calibrated.data, mine, at_once.samples, showings=shown)
    with progress.task("SIN", len(mine)) as advance:
        given = (converted, config.sin, drawn, session.device, advance, at_once.steps)
        return sin_ratios(*given, config.engine), snn.paths()

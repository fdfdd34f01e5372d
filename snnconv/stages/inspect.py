"""``snnconv inspect``: show what is in a checkpoint or a network, node by node."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from snnconv.checkpoint import Checkpoint
from snnconv.config import InspectConfig
from snnconv.core.kinds import KINDS
from snnconv.core.progress import Progress, Quiet
from snnconv.errors import Obstacle, ObstaclesError, SnnconvError
from snnconv.frontends.open import (
    OPEN_SIZE,
    ImportedModel,
    is_checkpoint,
    open_model,
    own_input,
    refuse_output,
)
from snnconv.frontends.transfer import with_spiking_functions
from snnconv.graph import obstacles as check
from snnconv.graph.operations.work import Work
from snnconv.graph.ops import OPS, Role
from snnconv.reports import ImportRow, InspectReport, LineageRow, NodeRow, ObstacleRow
from snnconv.simulation.build import spiking_network
from snnconv.stages.session import (
    Session,
    correction_rows,
    files_named,
    load_data,
)


class _Seen(NamedTuple):
    """What there is to show; without a network if an operation prevents its graph."""

    opened: ImportedModel | None
    obstacles: Sequence[Obstacle]


def run(config: InspectConfig, progress: Progress | None = None) -> InspectReport:
    """Read a checkpoint of any kind, or import a network; nothing is written.

    The report's :meth:`~snnconv.reports.InspectReport.code` is 3 if there are obstacles.
    """
    session = Session(config)
    if config.model is None or is_checkpoint(config.model):
        refuse_output(config.model or str(config.run), config.output)
        given = None if config.model is None else Path(config.model)
        _, checkpoint = session.open_checkpoint(given, KINDS, "snnconv calibrate")
        seen = _Seen(ImportedModel(_as_asked(checkpoint, config), None), ())
    else:
        session.inputs += files_named(config.model)
        seen = _import(config.model, session, config, progress or Quiet())
    network = seen.opened.network if seen.opened else None
    obstacles = list(seen.obstacles)
    if network:
        # the user has accepted the functions of a calibrated network before
        named = network.kind != "ann" or config.takes_functions or bool(obstacles)
        obstacles += check.obstacles(network.graph, named)
    verdict = seen.opened.verdict if seen.opened else None
    spiking = network.spiking if network else None
    return session.report(
        InspectReport,
        [],
        [],
        kind=network.kind if network else "ann",
        data=network.data.model_dump(mode="json") if network else None,
        spiking=spiking.model_dump(mode="json") if spiking else None,
        latency_steps=_latency(network) if network else None,
        corrections=correction_rows(network) if network else [],
        parameters=sum(t.numel() for t in network.network.values()) if network else None,
        macs=int(network.analysis.work_count.total.products) if network else None,
        **(network.analysis.shares if network else {}),
        nodes=_nodes(network) if network else [],
        past=[LineageRow(**step.model_dump()) for step in network.lineage] if network else [],
        converts=not obstacles,
        obstacles=[ObstacleRow(**vars(obstacle)) for obstacle in obstacles],
        imported=ImportRow(**verdict._asdict()) if verdict else None,
    )


def _import(model: str, session: Session, config: InspectConfig, progress: Progress) -> _Seen:
    """Import a network; functions that calibrate would refuse are shown, too."""
    without = config.data is None and model.partition("?")[0].endswith(".onnx")
    info = own_input(model, config.output) if without else None
    if info:
        progress.say(
            f"no --data: the input is taken as {list(info.shape)}, as the file declares it; "
            f"open channels as 3, other open sizes as {OPEN_SIZE}"
        )
    info = info or load_data(session, config, None).info
    refused: Sequence[Obstacle] = ()
    for analog in (True,) if config.takes_functions else (False, True):
        try:
            opened = open_model(
                model,
                config.weights,
                info,
                must_be_trained=False,
                analog=analog,
                download=config.download,
                chosen=config.output,
            )
            return _Seen(opened._replace(network=_as_asked(opened.network, config)), refused)
        except ObstaclesError as error:
            refused = refused or error.obstacles
    return _Seen(None, refused)


def _as_asked(network: Checkpoint, config: InspectConfig) -> Checkpoint:
    """Return an ANN with the transfer sites that calibrate would add; others as they are."""
    if network.kind != "ann" or not config.transfers:
        return network
    return with_spiking_functions(network, config.spike_everything, config.spike_input)


def _latency(network: Checkpoint) -> int | None:
    """Return the steps until the answer; None without neurons, or if they can't be made here."""
    if network.spiking is None:
        return None
    try:
        return spiking_network(network).latency(network.spiking.timesteps)
    except SnnconvError:
        return None


def _nodes(network: Checkpoint) -> list[NodeRow]:
    tensors, analysis = network.network, network.analysis
    calibrated, spiking = network.calibrated, network.spiking

    def threshold(name: str) -> float | None:
        site = calibrated.sites.get(name) if calibrated else None
        return site.threshold if site else None

    return [
        NodeRow(
            name=node.name,
            op=node.op,
            role=OPS[node.op].role,
            inputs=list(node.inputs),
            shape=list(analysis.shapes[node.name]),
            parameters=sum(tensors[name].numel() for name in node.tensors.values()),
            macs=analysis.macs.get(node.name),
            lookups=int(analysis.work.get(node.name, Work()).lookups) or None,
            additions=int(analysis.work.get(node.name, Work()).additions) or None,
            carries=analysis.signals[node.name],
            threshold=threshold(node.name),
            neuron=spiking.neuron if spiking and OPS[node.op].role is Role.SITE else None,
        )
        for node in network.graph.nodes
    ]

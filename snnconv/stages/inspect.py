"""``snnconv inspect``: what is in a checkpoint, node by node."""

from typing import get_args

from snnconv.checkpoint import load
from snnconv.config import InspectConfig
from snnconv.graph.build import shapes
from snnconv.graph.ir import SITES
from snnconv.graph.roles import carried, macs
from snnconv.kinds import Kind
from snnconv.progress import Progress
from snnconv.reports import InspectReport, LineageRow, NodeRow
from snnconv.stages.common import Session, checkpoint_file


def run(config: InspectConfig, progress: Progress | None = None) -> InspectReport:
    """Read a checkpoint of any kind; writes nothing."""
    session = Session(config)
    file = checkpoint_file(config.checkpoint, config.run, get_args(Kind), "snnconv calibrate")
    checkpoint = load(file)
    session.inputs.append(file)
    graph, tensors = checkpoint.graph, checkpoint.network
    sizes, kinds, work = shapes(graph, tensors), carried(graph), macs(graph, tensors)
    calibrated, spiking = checkpoint.calibrated, checkpoint.spiking

    def threshold(name: str) -> float | None:
        site = calibrated.sites.get(name) if calibrated else None
        return site.threshold if site else None

    nodes = [
        NodeRow(
            name=node.name,
            op=node.op,
            inputs=list(node.inputs),
            shape=list(sizes[node.name]),
            parameters=sum(tensors[name].numel() for name in node.tensors.values()),
            macs=work[node.name][0] if node.name in work else None,
            carries=kinds[node.name],
            threshold=threshold(node.name),
            neuron=spiking.neuron if spiking and node.op in SITES else None,
        )
        for node in graph.nodes
    ]
    return session.report(
        InspectReport,
        None,
        [],
        kind=checkpoint.kind,
        data=checkpoint.data.model_dump(mode="json"),
        spiking=spiking.model_dump(mode="json") if spiking else None,
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        macs=sum(total for total, _ in work.values()),
        nodes=nodes,
        past=[LineageRow(**step.model_dump()) for step in checkpoint.lineage],
    )

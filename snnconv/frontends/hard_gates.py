"""Recurrent networks with gates that spiking neurons run."""

from dataclasses import replace

from snnconv.checkpoint import Checkpoint
from snnconv.errors import UnsupportedError
from snnconv.graph.operations.sequence import GATES
from snnconv.graph.unroll import unroll


def with_hard_gates(ann: Checkpoint) -> Checkpoint:
    """Replace every LSTM and GRU of an ANN by clipped-linear gates; it has to be trained again.

    Raises:
        UnsupportedError: it has none.
    """
    if not any(node.op in GATES for node in ann.graph.nodes):
        raise UnsupportedError(
            "there are no gates to make hard", "no LSTM or GRU in the network", "drop --recurrent"
        )
    graph, tensors = unroll(ann.graph, ann.network)
    return replace(ann, graph=graph, network=tensors)

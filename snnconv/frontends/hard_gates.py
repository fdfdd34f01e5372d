"""Recurrent networks with gates that spiking neurons run."""

from dataclasses import replace

from snnconv.checkpoint import Checkpoint
from snnconv.errors import UnsupportedError
from snnconv.graph.operations.sequence import GATES
from snnconv.graph.unroll import unroll


def with_hard_gates(ann: Checkpoint) -> Checkpoint:
    """An ANN with every LSTM and GRU as clipped-linear gates, from which it is to be trained on.

    Raises:
        UnsupportedError: it has none.
    """
    if not any(node.op in GATES for node in ann.graph.nodes):
        raise UnsupportedError(
            "there are no gates to make hard", "no LSTM or GRU in the network", "drop --recurrent"
        )
    graph, tensors = unroll(ann.graph, ann.network)
    return replace(ann, graph=graph, network=tensors)

"""Networks whose functions signed spikes carry to the matrices."""

from dataclasses import replace

from snnconv.checkpoint import Checkpoint
from snnconv.graph.own_gates import with_own_gates
from snnconv.graph.transfer import with_transfer_sites


def with_spiking_functions(
    ann: Checkpoint, everything: bool = False, of_input: bool = False
) -> Checkpoint:
    """Return the same ANN with transfer sites, also in its recurrences, which are written out.

    Args:
        ann: a network.
        everything: also where a matrix reads currents that no function gives.
        of_input: also where a matrix reads the input.
    """
    graph, tensors = with_own_gates(ann.graph, ann.network)
    placed = with_transfer_sites(graph, tensors, everything, of_input)
    return replace(ann, graph=placed, network=tensors)

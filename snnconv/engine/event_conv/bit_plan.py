"""Decide where spikes are bits: behind a site all of whose readers take bits.

Convolutions by events, additions to their currents and average pools take bits, and so does a
concatenation all of whose readers do. Every other reader is given float32.

Shape:
    ``[T, B, C, H, W]``.
"""

from collections.abc import Sequence, Set

from torch import Tensor

from snnconv.core.shapes import unfold_time
from snnconv.engine.event_conv.bit_spikes import Packed, concatenated
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.network import attributes
from snnconv.graph.operations.base import Along
from snnconv.graph.operations.pooling import AvgPool
from snnconv.graph.ops import OPS, Role


def bit_sites(analysis: Analysis, deferred: Set[str], by_events: Set[str]) -> frozenset[str]:
    """The sites whose spikes are wanted as bits.

    Args:
        analysis: of the network.
        deferred: what may wait until neurons ask for it; see
        :func:`snnconv.engine.event_conv.deferred.deferrable`.
        by_events: those convolutions of images among it that go by events.
    """
    graph = analysis.graph
    sites = {site.name for site in graph.sites}
    takes: set[str] = set()
    found: set[str] = set()
    for node in reversed(graph.nodes):
        readers = [reader.name for reader in analysis.readers[node.name]]
        taken = node.name != graph.output and bool(readers) and takes.issuperset(readers)
        if OPS[node.op].role is Role.SITE:
            if taken:
                found.add(node.name)
        elif (
            node.name in by_events
            or (node.name in deferred and _adds_any(node, by_events))
            or (node.op == "concat" and taken and joins(node) and sites.issuperset(node.inputs))
            or (node.op == "avg_pool" and pools(node))
        ):
            takes.add(node.name)
    return frozenset(found)


def _adds_any(node: Node, terms: Set[str]) -> bool:
    """Whether a node adds one of these to something."""
    return node.op == "add" and not terms.isdisjoint(node.inputs)


def of_bits(node: Node, inputs: Sequence[Tensor | Packed]) -> Tensor | Packed | None:
    """The value of an operation on bits; none if it needs float32."""
    bits = [value for value in inputs if isinstance(value, Packed)]
    if not bits or len(bits) < len(inputs):
        return None
    if node.op == "concat" and joins(node):
        return concatenated(bits)
    if node.op == "avg_pool" and pools(node):
        from snnconv.engine.event_conv.pool import Pool

        pool = Pool.of(attributes(node, AvgPool))
        return unfold_time(pool(bits[0]), bits[0].shape[0])
    return None


def joins(node: Node) -> bool:
    """Whether a concatenation is one of channels."""
    return attributes(node, Along).dim == 1


def pools(node: Node) -> bool:
    """Whether an average pool is one of images."""
    return len(attributes(node, AvgPool).kernel) == 2

"""How much memory a calibration takes: samples at once, histograms, and what a checkpoint keeps.

A batch takes the values of the network that exist at one time, counted from the graph as for a
simulation. The histograms take what is left, in as many passes as that asks for
(:mod:`snnconv.calibration.collector`).

Shape:
    Bytes; values of one sample ``[*N]`` in float32.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from snnconv.calibration.bins import MOST
from snnconv.calibration.counts import bytes_of, most_bytes
from snnconv.calibration.span import Span
from snnconv.core import runtime
from snnconv.errors import UsageError
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import SITES, Graph, Node
from snnconv.graph.network import COPIES, is_fixed, most_alive

LAYER_BITS, CHANNEL_BITS = 10, 8
"""Relative errors of 0.05 and 0.2 % at most; 12 kB a layer, 3 kB a channel, an octave."""

_NUMBER = 4  # bytes
_WATCHED = 2  # copies of a site's value: its magnitude, and its rows
_WORKING = 2**24  # what is computed from some channels' bins takes at most this
_BIN = 12 * 8  # numbers for a bin while something is computed from it
_DRAWN = 2**11  # what is kept of a site to be drawn
_SHARE = 2  # one part of so many of what is free is for a batch
_RESERVE, _MOST_RESERVED = 8, 2**27
"""One part of so many, at most so many bytes, is for compiled code and for gaps in the heap."""


def bits_of(by_channel: bool) -> int:
    """Return how precise histograms are at least; see :class:`.Counts`."""
    return CHANNEL_BITS if by_channel else LAYER_BITS


def linked_sites(graph: Graph) -> Iterator[tuple[str, ...]]:
    """Return the sites by the value that they read, perhaps through a line that training keeps.

    Those that are named together are the sides of a bend, such as a LeakyReLU's. A side that was
    never reached takes the threshold of another, so they are counted in the same pass.
    """
    lines = {n.name: n.inputs[0] for n in graph.nodes if is_fixed(n)}
    by_value: dict[str, list[str]] = {}
    for site in graph.sites:
        source = site.inputs[0]
        by_value.setdefault(lines.get(source, source), []).append(site.name)
    yield from map(tuple, by_value.values())


@dataclass(frozen=True)
class Room:
    """What the histograms of one pass may take.

    Attributes:
        bytes: they.
        memory: of the whole calibration.
    """

    bytes: int
    memory: int


@dataclass(frozen=True)
class CalibrationPlan:
    """How much a calibration does at once.

    Attributes:
        memory: bytes of all.
        samples: at once.
        beside: bytes that a batch takes or, after it, what is computed from histograms; and a
            reserve for what is not counted.
    """

    memory: int
    samples: int
    beside: int

    def room(self, kept: int) -> Room:
        """Return the room for histograms if the checkpoint keeps so many bytes already."""
        return Room(self.memory - self.beside - kept, self.memory)


def plan_calibration(
    analysis: Analysis, by_channel: bool, refits: bool, samples: int, memory: int
) -> CalibrationPlan:
    """Return how many samples to take at once.

    Args:
        analysis: the analysis of the network.
        by_channel: whether each channel has a histogram.
        refits: whether the checkpoint keeps bins to find thresholds again.
        samples: at most.
        memory: bytes.

    Raises:
        UsageError: one sample, or the histogram of one site, does not fit.
    """
    channels = {
        site.name: analysis.shapes[site.name][0] if by_channel else 1
        for site in analysis.graph.sites
    }
    groups, bits = list(linked_sites(analysis.graph)), bits_of(by_channel)
    least = {name: bytes_of(Span.none(n), bits) for name, n in channels.items()}
    largest = max(groups, key=lambda group: sum(least[name] for name in group))
    one, kept = bytes_per_sample(analysis), sum(kept_bytes(n, refits) for n in channels.values())
    working = min(_WORKING, max(least.values()) * _BIN // 12)
    needed = sum(least[name] for name in largest)
    reserve = min(memory // _RESERVE, _MOST_RESERVED)
    plan = CalibrationPlan(memory, 1, reserve + max(one, working))
    if needed > plan.room(kept).bytes:
        of_largest = {name: channels[name] for name in largest}
        raise no_room(of_largest, needed, plan.room(kept), bits)
    free = plan.room(kept).bytes + max(one, working) - needed
    at_once = max(1, min(samples, free // _SHARE // one))
    return CalibrationPlan(memory, at_once, reserve + max(at_once * one, working))


def bytes_per_sample(analysis: Analysis) -> int:
    """Return the most bytes that one sample takes while its sites are watched."""
    sizes = {name: math.prod(shape) for name, shape in analysis.shapes.items()}

    def taken(node: Node) -> int:
        copies = COPIES + _WATCHED * (node.op in SITES)
        return copies * sizes[node.name] + max((sizes[name] for name in node.inputs), default=0)

    return _NUMBER * most_alive(analysis.graph, sizes.__getitem__, taken)


def kept_bytes(channels: int, refits: bool) -> int:
    """Return about what the checkpoint keeps of a site."""
    each = _NUMBER * (1 + refits * (4 * MOST + 1))
    return _DRAWN + channels * each


def no_room(channels: Mapping[str, int], needed: int, room: Room, bits: int) -> UsageError:
    """Return the error for sites whose histograms do not fit, even if nothing else is counted.

    Args:
        channels: how many the sites have, by name.
        needed: bytes of their histograms.
        room: what there is for them.
        bits: of their bins.
    """
    which = f"site{'s' * (len(channels) > 1)} {', '.join(map(repr, channels))}"
    beside = room.memory - room.bytes
    enough = beside + sum(map(partial(most_bytes, bits=bits), channels.values()))
    enough += enough // (_RESERVE - 1)  # with more memory, more is reserved
    by_layer = ", or one threshold for each layer: --granularity layer"
    return UsageError(
        "the calibration does not fit into its memory",
        f"{runtime.mib(room.memory)}, where the histograms of {which} take {runtime.mib(needed)}, "
        f"and one batch, what the checkpoint keeps, and a reserve {runtime.mib(beside)}",
        f"give more: --memory {runtime.mib(enough)}{by_layer * (bits == CHANNEL_BITS)}",
    )

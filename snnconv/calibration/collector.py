"""Histograms of a network's sites, filled batch by batch within a bound of memory.

What a histogram takes depends on the range of its site's activations, which shows as they come. If
the histograms of all sites do not fit, sites are postponed, those at the front of the network
first, and counted in another pass over the data, which ends at the last of them. The first pass
finds the range of every site, so a later one has the bins that it needs from its beginning. A site
is counted in one pass, whole: how many passes there are changes no histogram.
"""

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.calibration.counts import bytes_of
from snnconv.calibration.histogram import Histogram
from snnconv.calibration.memory import Room, bits_of, linked_sites, no_room
from snnconv.calibration.span import Span
from snnconv.core import distributed
from snnconv.errors import UnsupportedError
from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import SITES, Node
from snnconv.graph.network import Network, Walk

_SAME = 1e-3  # of a site's largest activation: rounding moves it less from one pass to the next


class Collector:
    """Histograms of sites, as many as fit.

    Args:
        analysis: the analysis of the network, folded.
        granularity: ``layer`` or ``channel``.
        room: for all histograms; without, there is no bound.
        known: the ranges of all sites, if a pass has found them. Sites without one are not watched.

    Attributes:
        histograms: by site.
        spans: the ranges of what this pass has seen, by site; the first pass sees all sites.
    """

    def __init__(
        self,
        analysis: Analysis,
        granularity: str,
        room: Room | None = None,
        known: Mapping[str, Span] | None = None,
    ) -> None:
        self.by_channel = granularity == "channel"
        self._bits = bits_of(self.by_channel)
        self.histograms: dict[str, Histogram] = {}
        sites = {
            site.name: Span.none(analysis.shapes[site.name][0] if self.by_channel else 1)
            for site in analysis.graph.sites
        }
        expected = sites if known is None else known
        self.spans = {name: span for name, span in sites.items() if name in expected}
        self._whole, self._room = known is None, room
        self._groups = [
            group for group in linked_sites(analysis.graph) if set(group) <= expected.keys()
        ]
        self._bytes = {name: self.bytes_of(span) for name, span in expected.items()}
        self._counted = [name for group in self._groups for name in group]
        self._make_room()
        for name in self._counted:
            span = expected[name]
            self.histograms[name] = made = Histogram(len(span.minimum), self._bits)
            made.widen(span.minimum, span.maximum)
        names = [site.name for site in analysis.graph.sites]
        self._last = max(self._counted, key=names.index)

    def bytes_of(self, span: Span) -> int:
        """Return the memory of a site's histogram."""
        return bytes_of(span, self._bits)

    @torch.no_grad()
    def collect(self, network: Network, x: Tensor) -> Tensor | None:
        """Watch one batch ``[B, C, ...]``.

        Returns:
            The network's logits for it, ``[B, classes]``; None if this pass ends before them.

        Raises:
            UnsupportedError: NaN or Inf at a site, by name.
            UsageError: the histogram of one site does not fit into the room that there is.
        """
        values = Walk(network.graph, x)
        for node, inputs in values:
            value = network.compute(node, inputs)
            if node.op in SITES and (self._whole or node.name in self.histograms):
                self._add(node.name, _magnitude(node, value, inputs[0]))
            if node.name == self._last and not self._whole:
                return None
            values[node] = value
        return values.output

    def _add(self, name: str, value: Tensor) -> None:
        rows = value.movedim(1, -1).reshape(-1, value.shape[1] if self.by_channel else 1)
        rows = rows.cpu().float().contiguous()
        if rows.numel() == 0:
            return
        span = self.spans[name] = self.spans[name].extended(rows)
        if not span.finite:
            raise UnsupportedError(
                f"site '{name}' can't be calibrated",
                "NaN or Inf among its activations",
                "look for NaN or huge values in the weights and the data",
            )
        if (histogram := self.histograms.get(name)) is None:
            return
        needed = self.bytes_of(span)
        if needed > self._bytes[name]:
            # while its bins become more, there are both
            self._make_room(self._bytes[name], {name: needed})
            if name not in self.histograms:
                return
        histogram.widen(
            torch.minimum(span.minimum, histogram.minimum),
            torch.maximum(span.maximum, histogram.maximum),
        )
        histogram.count(rows)

    def _make_room(self, beside: int = 0, grown: Mapping[str, int] | None = None) -> None:
        """Postpone sites at the front until the others fit, with so many bytes beside them."""
        self._bytes |= grown or {}
        while self._room is not None:
            needed = sum(self._bytes[name] for name in self._counted) + beside
            if needed <= self._room.bytes:
                return
            first, *others = [group for group in self._groups if group[0] in self._counted]
            if not others:
                channels = {name: len(self.spans[name].minimum) for name in first}
                raise no_room(channels, needed, self._room, self._bits)
            self.postpone(first)

    def postpone(self, names: Collection[str]) -> None:
        """Leave sites to another pass."""
        self._counted = [name for name in self._counted if name not in names]
        for name in names:
            self.histograms.pop(name, None)

    def gather(self, device: torch.device) -> None:
        """Take the ranges of all processes, and postpone what one of them has postponed."""
        if distributed.size() == 1:
            return
        here = torch.tensor([name in self.histograms for name in self.spans])
        everywhere = -distributed.largest(-here.int(), device)
        self.postpone([n for n, kept in zip(self.spans, everywhere, strict=True) if not kept])
        for name, span in self.spans.items():
            minimum = -distributed.largest(-span.minimum, device)
            maximum = distributed.largest(span.maximum, device)
            rows = int(distributed.total([span.rows], device)[0])
            self.spans[name] = Span(minimum, maximum, rows)

    def refuse_other_data(self, known: Mapping[str, Span]) -> None:
        """Refuse data that give other values than in the first pass.

        Raises:
            UnsupportedError: the largest activation of a site is another than it was.
        """
        for name in self.histograms:
            now, before = (float(of[name].maximum.max()) for of in (self.spans, known))
            if abs(now - before) > _SAME * before:
                raise UnsupportedError(
                    "the samples can't be read in several passes",
                    f"the largest activation of site '{name}' is {now:.6g} now and was "
                    f"{before:.6g}: the data give other values whenever they are read",
                    "read the data without random changes, or give more memory, so that one pass "
                    "is enough: --memory",
                )


def _magnitude(site: Node, value: Tensor, before: Tensor) -> Tensor:
    """Return what the histogram of a site counts, never negative.

    Of QCFS it is what a ReLU would let through, so that the share above theta shows. Of a transfer
    site it is the absolute value: spikes of both signs round and clip both sides alike.
    """
    match site.op:
        case "qcfs":
            return F.relu(before)
        case "transfer":
            return before.abs()
    return value

"""Run the ANN, watch every activation site, find its threshold."""

import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconv.calibration.histogram import Histogram, Statistic
from snnconv.checkpoint import Checkpoint
from snnconv.core import distributed
from snnconv.core.metadata import CalibrationInfo, Record, SiteStats
from snnconv.data.dataset import Drawn
from snnconv.errors import UnsupportedError
from snnconv.frontends.ann_accuracy import Seen
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.ir import SITES, Graph, Node
from snnconv.graph.network import Network, attributes, ceiling, is_fixed, walk
from snnconv.graph.operations.activation import Qcfs
from snnconv.graph.rewrite import qcfs_thresholds

LAYER_BITS, CHANNEL_BITS = 10, 8
"""Relative errors of 0.05 and 0.2 % at most; 12 kB a layer, 3 kB a channel, an octave."""
_DRAWN = 100  # bins of the histogram that the checkpoint keeps for reports


class Collector:
    """Histograms of all sites, filled batch by batch.

    Args:
        analysis: the analysis of the network, folded.
        granularity: ``layer`` or ``channel``.
    """

    def __init__(self, analysis: Analysis, granularity: str) -> None:
        self.by_channel = granularity == "channel"
        self.histograms = {
            site.name: Histogram(channels, bits_of(self.by_channel))
            for site in analysis.graph.sites
            for channels in [analysis.shapes[site.name][0] if self.by_channel else 1]
        }

    @torch.no_grad()
    def collect(self, network: Network, x: Tensor) -> Tensor:
        """Watch one batch ``[B, C, ...]``; the network's logits for it, ``[B, classes]``.

        Raises:
            UnsupportedError: NaN or Inf at a site, by name.
        """

        def evaluate(node: Node, inputs: list[Tensor]) -> Tensor:
            value = network.compute(node, inputs)
            if node.op in SITES:
                self._add(node.name, _magnitude(node, value, inputs[0]))
            return value

        return walk(network.graph, x, evaluate)

    def _add(self, name: str, value: Tensor) -> None:
        rows = value.movedim(1, -1).reshape(-1, value.shape[1] if self.by_channel else 1)
        histogram = self.histograms[name]
        histogram.update(rows.cpu())
        if not math.isfinite(histogram.maximum.max()):
            raise UnsupportedError(
                f"site '{name}' can't be calibrated",
                "NaN or Inf among its activations",
                "look for NaN or huge values in the weights and the data",
            )


def _magnitude(site: Node, value: Tensor, before: Tensor) -> Tensor:
    """What the histogram of a site counts, never negative.

    Of QCFS it is what a ReLU would let through, so that the share above theta shows. Of a transfer
    site it is the absolute value: spikes of both signs round and clip both sides alike.
    """
    match site.op:
        case "qcfs":
            return F.relu(before)
        case "transfer":
            return before.abs()
    return value


def bits_of(by_channel: bool) -> int:
    """Return how precise histograms are at least; see :class:`Histogram`."""
    return CHANNEL_BITS if by_channel else LAYER_BITS


def find_thresholds(
    graph: Graph,
    collector: Collector,
    statistic: Statistic,
    params: Record,
    known: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return theta by site, ``[1]`` or ``[C]`` float32, all positive and finite.

    Args:
        graph: the network, folded.
        collector: has seen the activations of its sites.
        statistic: the statistic that finds a threshold.
        params: its parameters.
        known: thetas that are not to be found: those of QCFS.

    A channel without any activation takes the largest threshold of its site: its own is unknown,
    and it must not spike early. For the same reason, a side of a bend that was never reached (a
    LeakyReLU's below 0, for example) takes the threshold of the other side. A clip caps theta.

    Raises:
        UnsupportedError: sites whose activations are all zero, by name.
    """
    known = known or {}
    histograms = {name: h for name, h in collector.histograms.items() if name not in known}
    silent = {name for name, h in histograms.items() if not h.maximum.any()}

    def search(name: str) -> Tensor:
        return scaled(statistic.threshold(histograms[name], params), params)

    return settled(graph, search, silent, known)


def scaled(theta: Tensor, params: Record) -> Tensor:
    """Return what a statistic has found, by the scale among its parameters, if there is one."""
    found: Tensor = theta * getattr(params, "scale", 1.0)
    return found


def settled(
    graph: Graph,
    search: Callable[[str], Tensor],
    silent: Set[str],
    known: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return theta by site from what a statistic finds; see :func:`find_thresholds`.

    Args:
        graph: the network, folded.
        search: what the statistic finds for a site, 0 for a channel without any activation.
        silent: sites without any activation.
        known: thetas that are not to be found.
    """
    others = {name: _other_side(graph, name, silent) for name in silent}
    if dead := [s.name for s in graph.sites if others.get(s.name, s.name) is None]:
        raise UnsupportedError(
            f"{len(dead)} site(s) can't be calibrated",
            f"activations that are all zero at {', '.join(dead)}",
            "calibrate on more or other samples (--samples, --data), or take the dead layer out",
        )
    found = {}
    for site in graph.sites:
        if site.name in known:
            found[site.name] = known[site.name].detach().cpu().float()
            continue
        theta = search(others.get(site.name) or site.name)
        theta = torch.where(theta > 0, theta, theta.max())
        if (highest := ceiling(site)) is not None:
            theta = theta.clamp(max=highest)
        found[site.name] = theta.float()
    return found


def _other_side(graph: Graph, name: str, silent: Set[str]) -> str | None:
    """Return a site that reads the same value through a line which training leaves alone."""
    lines = {n.name: n.inputs[0] for n in graph.nodes if is_fixed(n)}
    sources = {site.name: site.inputs[0] for site in graph.sites}
    values = {site: lines.get(source, source) for site, source in sources.items()}
    found = (site for site, value in values.items() if value == values[name])
    return next((site for site in found if site not in silent), None)


def describe(histogram: Histogram, theta: Tensor) -> SiteStats:
    """Return a site's figures for the checkpoint and the report."""
    total = histogram.totals().double()
    weight = total / total.sum()
    return SiteStats(
        threshold=float(theta.double().mean()),
        max=float(histogram.maximum.max()),
        # further digits are float32's rounding, which another batch or process changes
        mean=float(f"{float((histogram.mean() * weight).sum()):.6g}"),
        zero_share=float(histogram.zeros.sum() / total.sum()),
        clipped_share=float((histogram.share_above(theta) * weight).sum()),
    )


def site_tensors(
    name: str, histogram: Histogram, theta: Tensor, refits: bool = False
) -> dict[str, Tensor]:
    """Return what a checkpoint keeps of a site.

    The threshold, and a histogram to draw; if the statistic refits its threshold to a conversion,
    bins for that, too.
    """
    edges, counts = histogram.drawn(_DRAWN)
    kept = {f"{name}/threshold": theta, f"{name}/edges": edges, f"{name}/counts": counts}
    if not refits:
        return kept
    bins = histogram.bins()
    return kept | {f"{name}/bins": bins.rows, f"{name}/lengths": bins.lengths}


@dataclass(frozen=True)
class Method:
    """How thresholds are to be found.

    Attributes:
        name: the name of the statistic.
        statistic: itself.
        params: its parameters.
        granularity: ``layer`` or ``channel``.
    """

    name: str
    statistic: Statistic
    params: Record
    granularity: str


def _gather(histogram: Histogram, device: torch.device) -> None:
    """Add what other processes have seen of a site."""
    minimum = -distributed.largest(-histogram.minimum, device)
    histogram.widen(minimum, distributed.largest(histogram.maximum, device))
    signs = torch.tensor([-1, 1], dtype=torch.int32)
    histogram.replace(
        distributed.add(histogram.counts, device),
        distributed.add(histogram.rests, device),
        distributed.largest(histogram.extremes * signs, device) * signs,
    )
    histogram.zeros = distributed.add(histogram.zeros, device)


def calibrating(ann: Checkpoint, device: torch.device) -> Network:
    """Return the network that is watched: folded, and in its fastest memory layout."""
    graph, tensors = fold(ann.graph, ann.network)
    return Network(graph, tensors).to(device).eval().laid_out()


def calibrate(
    ann: Checkpoint,
    method: Method,
    samples: Iterable[Drawn],
    device: torch.device,
    advance: Callable[[int], None],
    seen: Seen | None = None,
) -> Checkpoint:
    """Return the checkpoint with thresholds, of kind ``calibrated``.

    A network whose sites are QCFS has thresholds already. They stay as they are, and the samples
    only give figures.

    Args:
        ann: the checkpoint of the network.
        method: the statistic for sites whose theta is not known.
        samples: batches of indices, normalised inputs and labels; this process's share.
        device: the device to run on.
        advance: told of samples done.
        seen: adds up what the network did on these samples.
    """
    network = calibrating(ann, device)
    graph, tensors = network.graph, network.views()
    known = qcfs_thresholds(graph, tensors)
    granularity = method.granularity
    if known:
        granularity = "channel" if any(len(theta) > 1 for theta in known.values()) else "layer"
    collector, count = Collector(Analysis.of(graph, tensors), granularity), 0
    for _, x, labels in samples:
        logits = collector.collect(network, x.to(device))
        if seen is not None:
            seen.add(x, logits, labels, ann.data)
        count += len(x)
        advance(len(x))
    for histogram in collector.histograms.values() if distributed.size() > 1 else ():
        _gather(histogram, device)
    count = int(distributed.total([count], device)[0])
    found = find_thresholds(graph, collector, method.statistic, method.params, known)
    histograms = collector.histograms
    refits = method.statistic.refit is not None and not known
    name, params = method.name, method.params.model_dump()
    if known:
        name, params = (
            "qcfs",
            {"levels": max(attributes(site, Qcfs).levels for site in graph.sites)},
        )
    sites, kept = dict[str, SiteStats](), dict[str, Tensor]()
    for site, theta in found.items():
        histogram = histograms.pop(site)  # its memory is free for the next one's tensors
        sites[site] = describe(histogram, theta)
        kept |= site_tensors(site, histogram, theta, refits)
    return replace(
        ann,
        kind="calibrated",
        calibrated=CalibrationInfo(
            method=name,
            params=params,
            granularity=granularity,
            samples=count,
            sites=sites,
        ),
        calibration=kept,
    )

"""Run the ANN, watch every activation site, find its threshold."""

from collections.abc import Callable, Container, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from snnconv.calibration.collector import Collector
from snnconv.calibration.histogram import Histogram, Statistic
from snnconv.calibration.memory import CalibrationPlan, linked_sites, plan_calibration
from snnconv.calibration.span import Span
from snnconv.checkpoint import Checkpoint
from snnconv.core import distributed, runtime
from snnconv.core.metadata import CalibrationInfo, Record, SiteStats
from snnconv.data.dataset import Drawn
from snnconv.errors import UnsupportedError
from snnconv.frontends.ann_accuracy import Seen
from snnconv.graph.analysis import Analysis
from snnconv.graph.fold import fold
from snnconv.graph.ir import Graph
from snnconv.graph.network import Network, attributes, ceiling
from snnconv.graph.operations.activation import Qcfs
from snnconv.graph.rewrite import qcfs_thresholds

_DRAWN = 100  # bins of the histogram that the checkpoint keeps for reports


def find_thresholds(
    graph: Graph,
    histograms: Mapping[str, Histogram],
    statistic: Statistic,
    params: Record,
    known: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return theta by site, ``[1]`` or ``[C]`` float32, all positive and finite.

    Args:
        graph: the network, folded.
        histograms: of the activations of some of its sites, or all.
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
    silent = {name for name, h in histograms.items() if name not in known and not h.maximum.any()}

    def search(name: str) -> Tensor:
        return scaled(statistic.threshold(histograms[name], params), params)

    return settled(graph, search, silent, known, histograms)


def scaled(theta: Tensor, params: Record) -> Tensor:
    """Return what a statistic has found, by the scale among its parameters, if there is one."""
    found: Tensor = theta * getattr(params, "scale", 1.0)
    return found


def settled(
    graph: Graph,
    search: Callable[[str], Tensor],
    silent: Set[str],
    known: Mapping[str, Tensor],
    among: Container[str] | None = None,
) -> dict[str, Tensor]:
    """Return theta by site from what a statistic finds; see :func:`find_thresholds`.

    Args:
        graph: the network, folded.
        search: what the statistic finds for a site, 0 for a channel without any activation.
        silent: sites without any activation.
        known: thetas that are not to be found.
        among: only of these sites.
    """
    others, found = other_sides(graph, silent), {}
    for site in graph.sites:
        if among is not None and site.name not in among:
            continue
        if site.name in known:
            found[site.name] = known[site.name].detach().cpu().float()
            continue
        theta = search(others.get(site.name, site.name))
        theta = torch.where(theta > 0, theta, theta.max())
        if (highest := ceiling(site)) is not None:
            theta = theta.clamp(max=highest)
        found[site.name] = theta.float()
    return found


def other_sides(graph: Graph, silent: Set[str]) -> dict[str, str]:
    """Return the site whose threshold a silent one takes: that of another side of its bend.

    Raises:
        UnsupportedError: sites that have no such side, by name.
    """
    found, dead = dict[str, str](), list[str]()
    for group in linked_sites(graph):
        alive = next((name for name in group if name not in silent), None)
        if alive is None:
            dead += group
        else:
            found |= {name: alive for name in group if name in silent}
    if dead:
        raise UnsupportedError(
            f"{len(dead)} site(s) can't be calibrated",
            f"activations that are all zero at {', '.join(dead)}",
            "calibrate on more or other samples (--samples, --data), or take the dead layer out",
        )
    return found


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
    if distributed.size() == 1:
        return
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


class Pass(NamedTuple):
    """One pass over the data.

    Attributes:
        number: from 1.
        counted: the sites whose thresholds are found.
        waiting: how many wait for further passes.
        histograms: bytes that the histograms of all sites take together.
    """

    number: int
    counted: list[str]
    waiting: int
    histograms: int


def planned(ann: Checkpoint, method: Method, samples: int, memory: int) -> CalibrationPlan:
    """Return how much of a calibration to do at once; see :func:`.plan_calibration`."""
    known = qcfs_thresholds(ann.graph, ann.network)
    by_channel = _granularity(method, known) == "channel"
    return plan_calibration(ann.analysis, by_channel, _refits(method, known), samples, memory)


def _granularity(method: Method, known: Mapping[str, Tensor]) -> str:
    if known:
        return "channel" if any(len(theta) > 1 for theta in known.values()) else "layer"
    return method.granularity


def _refits(method: Method, known: Mapping[str, Tensor]) -> bool:
    return method.statistic.refit is not None and not known


def calibrate(
    ann: Checkpoint,
    method: Method,
    samples: Callable[[], Iterable[Drawn]],
    device: torch.device,
    seen: Seen | None = None,
    plan: CalibrationPlan | None = None,
    told: Callable[[Pass], None] = lambda done: None,
    network: Network | None = None,
) -> Checkpoint:
    """Return the checkpoint with thresholds, of kind ``calibrated``.

    A network whose sites are QCFS has thresholds already. They stay as they are, and the samples
    only give figures.

    Args:
        ann: the checkpoint of the network.
        method: the statistic for sites whose theta is not known.
        samples: gives batches of indices, normalised inputs and labels, this process's share; the
            same ones for each pass.
        device: the device to run on.
        seen: adds up what the network did on these samples.
        plan: what memory there is; without, all sites are counted in one pass.
        told: of each pass, when it is done.
        network: the network that is watched, if there is one already; see :func:`calibrating`.

    Raises:
        UnsupportedError: dead sites, NaN or Inf, or other samples in a later pass.
        UsageError: the histogram of one site does not fit into the memory.
    """
    network = network or calibrating(ann, device)
    graph, tensors = network.graph, network.views()
    known, analysis = qcfs_thresholds(graph, tensors), Analysis.of(graph, tensors)
    granularity, refits = _granularity(method, known), _refits(method, known)
    sites, kept = dict[str, SiteStats](), dict[str, Tensor]()
    ranges: dict[str, Span] | None = None
    count = number = histograms = 0
    while ranges is None or ranges:
        room = plan.room(sum(tensor.nbytes for tensor in kept.values())) if plan else None
        collector, number = Collector(analysis, granularity, room, ranges), number + 1
        for _, x, labels in samples():
            logits = collector.collect(network, x.to(device))
            if logits is not None:
                count += len(x)
                if seen is not None:
                    seen.add(x, logits, labels, ann.data)
        collector.gather(device)
        if ranges is None:
            ranges = dict(collector.spans)
            silent = {name for name, span in ranges.items() if span.silent}
            other_sides(graph, silent - known.keys())
            histograms = sum(collector.bytes_of(span) for span in ranges.values())
        collector.refuse_other_data(ranges)
        counted = list(collector.histograms)
        for group in linked_sites(graph):
            if group[0] in counted:
                of_group = {name: collector.histograms.pop(name) for name in group}
                for histogram in of_group.values():
                    _gather(histogram, device)
                found = find_thresholds(graph, of_group, method.statistic, method.params, known)
                for site, theta in found.items():
                    sites[site] = describe(of_group[site], theta)
                    kept |= site_tensors(site, of_group[site], theta, refits)
                runtime.return_freed_memory()  # the next site needs as much for itself
        ranges = {name: span for name, span in ranges.items() if name not in counted}
        told(Pass(number, counted, len(ranges), histograms))
    name, params = method.name, method.params.model_dump()
    if known:
        name, params = (
            "qcfs",
            {"levels": max(attributes(site, Qcfs).levels for site in graph.sites)},
        )
    return replace(
        ann,
        kind="calibrated",
        calibrated=CalibrationInfo(
            method=name,
            params=params,
            granularity=granularity,
            samples=int(distributed.total([count], device)[0]),
            sites={site.name: sites[site.name] for site in graph.sites},
        ),
        calibration=kept,
    )

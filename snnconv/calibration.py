"""Run the ANN, watch every activation site, find its threshold."""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconv.errors import UnsupportedError
from snnconv.facts import Facts, SiteFacts
from snnconv.graph.build import Network, walk
from snnconv.graph.ir import Graph, Node
from snnconv.statistic import Histogram, Statistic

LAYER_BITS, CHANNEL_BITS = (
    10,
    6,
)  # 0.05 % and 0.8 % relative error, 0.5 MB a layer or 32 kB a channel
_DRAWN = 100  # bins of the histogram that the checkpoint keeps for reports


class Collector:
    """Histograms of all sites, filled batch by batch.

    Args:
        graph: the network, folded.
        shapes: a sample's shape at every node.
        granularity: ``layer`` or ``channel``.
    """

    def __init__(
        self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], granularity: str
    ) -> None:
        self.by_channel = granularity == "channel"
        self.histograms = {
            site.name: Histogram(shapes[site.name][0], CHANNEL_BITS)
            if self.by_channel
            else Histogram(1, LAYER_BITS)
            for site in graph.sites
        }

    @torch.no_grad()
    def collect(self, network: Network, x: Tensor) -> None:
        """Watch one batch ``[B, C, ...]``.

        Raises:
            UnsupportedError: NaN or Inf at a site, by name.
        """

        def evaluate(node: Node, inputs: list[Tensor]) -> Tensor:
            value = network.compute(node, inputs)
            if node.op == "relu":
                self._add(node.name, value)
            return value

        walk(network.graph, x, evaluate)

    def _add(self, name: str, value: Tensor) -> None:
        if not torch.isfinite(value.amax()):  # which is NaN where one value is
            raise UnsupportedError(
                f"site '{name}' can't be calibrated",
                "NaN or Inf among its activations",
                "look for NaN or huge values in the weights and the data",
            )
        rows = value.movedim(1, -1).reshape(-1, value.shape[1] if self.by_channel else 1)
        self.histograms[name].update(rows.cpu())


def find_thresholds(
    graph: Graph, collector: Collector, statistic: Statistic, params: Facts
) -> dict[str, Tensor]:
    """Theta by site, ``[1]`` or ``[C]`` float32, all positive and finite.

    A channel without any activation takes the largest threshold of its site: it can't be known, and
    it must not spike early. A clip of the activation caps theta.

    Raises:
        UnsupportedError: sites whose activations are all zero, by name.
    """
    histograms = collector.histograms
    if dead := [name for name, h in histograms.items() if not h.counts.any()]:
        raise UnsupportedError(
            f"{len(dead)} site(s) can't be calibrated",
            f"activations that are all zero at {', '.join(dead)}",
            "calibrate on more or other samples (--samples, --data), or take the dead layer out",
        )
    thresholds = {}
    for site in graph.sites:
        theta = statistic.threshold(histograms[site.name], params)
        theta = torch.where(theta > 0, theta, theta.max())
        if site.attrs["ceiling"] is not None:
            theta = theta.clamp(max=site.attrs["ceiling"])
        thresholds[site.name] = theta.float()
    return thresholds


def describe(histogram: Histogram, theta: Tensor) -> SiteFacts:
    """A site's figures for the checkpoint and the report."""
    total = (histogram.counts.sum(1) + histogram.zeros).double()
    weight = total / total.sum()
    return SiteFacts(
        threshold=float(theta.double().mean()),
        max=float(histogram.maximum.max()),
        mean=float((histogram.mean() * weight).sum()),
        zero_share=float(histogram.zeros.sum() / total.sum()),
        clipped_share=float((histogram.share_above(theta) * weight).sum()),
    )


def site_tensors(name: str, histogram: Histogram, theta: Tensor) -> dict[str, Tensor]:
    """What a checkpoint keeps of a site: the threshold, and a histogram to draw."""
    edges, counts = histogram.drawn(_DRAWN)
    return {f"{name}/threshold": theta, f"{name}/edges": edges, f"{name}/counts": counts}

"""Measure the share of SIN neurons of a network, and its spike confidence.

A SIN neuron (spikes of inactivated neurons) fires although the ANN's activation is 0.

Shape:
    Inputs ``[f, B, *input]``; a share for each site.

Reference:
    MSAT, section 4.2: spike confidence.

Deviations:
    None.
"""

from collections.abc import Callable, Iterable

import torch

from snnconv.checkpoint.contents import Checkpoint
from snnconv.config.base import Engine
from snnconv.core import distributed
from snnconv.core.metadata import ConfidenceInfo
from snnconv.data.dataset import Drawn
from snnconv.data.frames import mean_frame
from snnconv.engine.layer_output import ObserverNeeds
from snnconv.errors import UsageError, did_you_mean
from snnconv.graph.ir import Graph
from snnconv.graph.network import ann_inputs
from snnconv.metrics.base import Batch, Figures
from snnconv.metrics.sin import Sin
from snnconv.simulation.build import metric_context, spiking_network
from snnconv.simulation.simulate import simulate


def confident_sites(graph: Graph, wanted: str) -> list[str]:
    """Return the sites at which spike confidence acts.

    Args:
        graph: the network.
        wanted: ``off``, ``last``, ``all``, or names with commas between them.

    Raises:
        UsageError: a name is no site.
    """
    names = [site.name for site in graph.sites]
    match wanted:
        case "off":
            return []
        case "last":
            return names[-1:]
        case "all":
            return names
    chosen = wanted.split(",")
    for name in chosen:
        if name not in names:
            raise UsageError(
                "spike confidence can't be used there", f"'{name}'", did_you_mean(name, names)
            )
    return chosen


def sin_ratios(
    checkpoint: Checkpoint,
    steps: int,
    samples: Iterable[Drawn],
    device: torch.device,
    advance: Callable[[int], None],
    chunk: int | None = None,
    engine: Engine = "auto",
) -> dict[str, float]:
    """Return the share of SIN neurons of each site after some steps.

    Args:
        checkpoint: a converted checkpoint without confidence.
        steps: how many steps to simulate.
        samples: batches of indices, normalised inputs ``[f, B, *input]`` and labels; each process
            has its own.
        device: the device of the simulation.
        advance: called with the number of samples that are done.
        chunk: how many steps to compute at once; all by default.
        engine: when to compute convolutions by events.
    """
    network = spiking_network(checkpoint, engine=engine).to(device).eval()
    metric = Sin(metric_context(checkpoint, network, steps))
    needs = ObserverNeeds(values=False)
    for indices, x, labels in samples:
        x = x.to(device)
        logits, inputs = ann_inputs(network.network, mean_frame(x))
        metric.begin(Batch(labels, logits, inputs, indices))
        simulate(network, x, indices.to(device), steps, chunk or steps, metric.observe, needs)
        advance(len(indices))
    metric.reduce(lambda sums: distributed.summed(sums, device))
    layers = metric.figures(Figures()).layers
    return {name: row["sin_ratio"][-1] for name, row in layers.items()}


def measure_confidence(
    checkpoint: Checkpoint,
    sites: Iterable[str],
    early: int,
    samples: Iterable[Drawn],
    device: torch.device,
    advance: Callable[[int], None],
    chunk: int | None = None,
    engine: Engine = "auto",
) -> ConfidenceInfo:
    """Return ``p = 1 - SIN ratio`` of each site after ``early`` steps without confidence.

    Args:
        checkpoint: a converted checkpoint without confidence.
        sites: the sites at which confidence will act.
        early: E.
        samples: calibration samples, as for :func:`sin_ratios`.
        device: the device of the simulation.
        advance: called with the number of samples that are done.
        chunk: how many steps to compute at once.
        engine: when to compute convolutions by events.
    """
    ratios = sin_ratios(checkpoint, early, samples, device, advance, chunk, engine)
    return ConfidenceInfo(early=early, keep={site: 1 - ratios[site] for site in sites})

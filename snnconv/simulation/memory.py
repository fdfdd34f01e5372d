"""Plan a simulation that fits into memory: the samples and the steps to compute at once.

The values that exist at one time are counted from the graph: each value lives from the node that
makes it to its last reader, and each node needs some copies of its own. Averages of the output up
to each step are kept for all steps, even if only some are computed at once. The counts are upper
bounds, so that every plan fits.

Shape:
    Bytes of one sample, for values ``[T, B, *N]`` in float32 and averages ``[T, B, *out]`` in
    float64.
"""

import math
from dataclasses import dataclass

from snnconv.graph.analysis import Analysis
from snnconv.graph.ir import Node
from snnconv.graph.network import COPIES, most_alive
from snnconv.graph.ops import OPS, Role
from snnconv.graph.signals import Signal

_BYTES = 4
_KEPT = 12  # for a neuron: states between chunks, the ANN's input, and what metrics keep of it
_SUMMED = 8  # for an input of what needs sums: its sum, its mean, the last output, and metrics'
_SITE = 10  # mixed currents, counts and values as lists and stacked, and metrics' copies of them
_CONFIDENT = 8  # hashes and their numbers, in 64 bits, and the mask
_TRACED = 10  # what neurons hold at each step, as lists and stacked, and in the order of a file
_SUMS = 6  # running sums as a list and stacked, the operation's result, and its increase
_LEVELS = 8  # the same for numbers of spikes, and in addition the sums' increase and its levels
_AVERAGES = 2 * 2  # in float64: the average up to each step, and a metric's copy of it


@dataclass(frozen=True)
class BatchPlan:
    """How much to simulate at once."""

    samples: int
    steps: int


def plan_batch(
    analysis: Analysis,
    wanted: BatchPlan,
    memory: int,
    causal: bool = True,
    confident: bool = False,
    traced: bool = False,
    timesteps: int = 0,
) -> BatchPlan:
    """Return the largest plan that fits: fewer samples first, then fewer steps of one sample.

    Args:
        analysis: the analysis of the simulated network.
        wanted: the largest plan.
        memory: bytes. If even the smallest plan takes more, the smallest plan is returned.
        causal: whether the simulation may run in chunks of steps.
        confident: whether spikes are random, by spike confidence or by the neurons.
        traced: whether an observer needs the membranes.
        timesteps: the steps of the whole simulation, whose averages are kept; 0 if none are.
    """

    def needed(steps: int) -> int:
        return bytes_per_sample(analysis, steps, confident, traced, timesteps)

    samples = memory // needed(wanted.steps)
    if samples >= 1 or not causal:
        return BatchPlan(max(1, min(wanted.samples, samples)), wanted.steps)
    fitting = (steps for steps in range(wanted.steps, 1, -1) if needed(steps) <= memory)
    return BatchPlan(1, next(fitting, 1))


def bytes_per_sample(
    analysis: Analysis,
    steps: int,
    confident: bool = False,
    traced: bool = False,
    timesteps: int = 0,
) -> int:
    """Return the most bytes that one sample takes if ``steps`` steps are computed at once."""
    nodes, signals, sizes = analysis.graph.nodes, analysis.signals, analysis.shapes
    sums = {node.name for node in analysis.cumulative}
    pools = analysis.spiking_pools
    # numbers of spikes are kept with these values
    numbered = analysis.on_the_way_to(pools).keys() | pools

    def floats(name: str) -> int:
        return math.prod(sizes[name]) * (1 if signals[name] is Signal.CONSTANT else steps)

    def held(name: str) -> int:
        return floats(name) * (2 if name in numbered else 1)

    def taken(node: Node) -> int:
        copies = COPIES
        if OPS[node.op].role is Role.SITE:
            copies = _SITE + confident * _CONFIDENT + traced * _TRACED
        elif node.name in sums:
            copies = _LEVELS if node.name in numbered else _SUMS
        # an operation with inputs of both kinds copies the constant one to all steps
        expanded = 1 if signals[node.name] is Signal.CONSTANT else steps
        given = max((math.prod(sizes[name]) * expanded for name in node.inputs), default=0)
        return copies * floats(node.name) + given

    most = most_alive(analysis.graph, held, taken)
    kept = _KEPT * sum(math.prod(sizes[n.name]) for n in nodes if OPS[n.op].role is Role.SITE)
    kept += _SUMMED * sum(
        (2 if n.name in numbered else 1) * math.prod(sizes[x])
        for n in nodes
        if n.name in sums
        for x in n.inputs
    )
    averages = _AVERAGES * timesteps * math.prod(sizes[analysis.graph.output])
    return _BYTES * (kept + most + averages)

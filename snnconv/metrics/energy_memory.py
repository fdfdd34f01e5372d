"""Energy with memory: what operations, their addresses, and reading and writing take.

``energy`` counts arithmetic, which is the smaller part of a chip's energy. This convention adds the
computation of addresses and the words that are moved. A word of 4 bytes holds a value, a
weight, a potential, or an event with its level. With ``n`` events, ``s`` spikes, ``o`` operations
and ``r`` reads (synapses that events reach) of a source in t steps, ``N`` its neurons, and ``p(M)``
the energy of a byte in a memory of ``M`` bytes::

    operations = add * (o + t*N + s)                  an update for each neuron and step, a reset a
    spike addressing = add * r + (mul + add) * axes * n     axes: of the convolutions that read it
    inout      = 4 * n * (1 + readers) * p(4*N)       written once, read by each reader
    weights    = 4 * r * p(weights behind it)
    potentials = 8 * t*N * p(4*N)                     read and written once a step

A source with events at more than half of its places and steps is moved as a whole map: then its
readers address it as a dense layer does, and read each weight once a step. A dense layer, which is
a layer of the ANN or one that no spike feeds, takes ``(mul + add)`` for a MAC and an address for
each value and tap. It reads its input and weights once, and writes its output once. So does a
function that no neuron stands for; its additions take ``add``, and a look-up reads a word of a
table of 8 KiB, which is counted with the weights.

``energy_memory_by_synapse_mj`` reads and writes a potential for every read, as the paper does.

Shape:
    None: it reads the figures of ``synops`` and ``events``.

Reference:
    Lemaire, Cordone, Castagnetti, Novac, Courtois, Miramond 2022, Eq. 1 to 17, and SpikingJelly's
    counter of it; Horowitz 2014: 45 nm, 32-bit integers, 0.1 pJ an addition and 3.1 pJ a product;
    10, 20 and 100 pJ a word in memories of 8 KiB, 32 KiB and 1 MiB.

Deviations:
    A dense layer reads its operands once, as in SpikingJelly; in the paper it reads an input and a
    weight for each MAC. A memory is as large as its content, as in the paper. Synapses with the
    padding do not count. Biases are kept with the neurons, because they are part of their update.
    The comparisons of a max pooling of spikes are left out in both networks. The paper has no
    functions.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from snnconv.graph.ir import Node
from snnconv.graph.operations.work import Work
from snnconv.graph.ops import OPS, Role
from snnconv.metrics.base import Figures, Metric, MetricContext

ADD, MUL = 0.1, 3.1  # pJ
WORD = 4  # bytes
TABLE = 2048  # words of the table of a function
DENSE = 0.5  # the share of places and steps with events above which a map is moved as a whole
_KIB = 1024
_MEMORIES = ((0, 0.0), (8 * _KIB, 2.5), (32 * _KIB, 5.0), (1024 * _KIB, 25.0))  # bytes, pJ a byte
_MJ_PER_PJ = 1e-9

Terms = dict[str, Tensor]
"""Energy in pJ by purpose, up to each step ``[T]``."""

TERMS = ("operations", "addressing", "inout", "weights", "potentials")


def per_byte(memory: float) -> float:
    """Return the energy in pJ of a byte in a memory of this size: linear between known sizes."""
    for (low, cheap), (high, dear) in pairwise(_MEMORIES):
        if memory <= high:
            return cheap + (dear - cheap) * (memory - low) / (high - low)
    return _MEMORIES[-1][1]


def moved(words: float, held: float) -> float:
    """Return the energy in pJ of moving words to or from a memory that holds ``held`` words."""
    return words * WORD * per_byte(held * WORD)


class EnergyMemory(Metric):
    """Multiplies counts by their energies."""

    needs = ("synops", "events")
    counted = False
    valued = False

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.readers = context.analysis.event_readers

    def _size(self, name: str) -> int:
        return math.prod(self.context.shapes[name])

    def _weights(self, node: Node) -> int:
        shapes = self.context.analysis.tensor_shapes
        return sum(math.prod(shapes[name]) for name in node.tensors.values())

    def _taps(self, node: Node) -> tuple[int, ...]:
        """Return the places of a convolution's kernel, by axis; empty if it is no convolution."""
        return tuple(self.context.analysis.tensor_shapes[node.tensors["weight"]][2:])

    def _addresses(self, node: Node) -> int:
        """Return the addresses of a dense layer: its input, its output, and its kernel's places."""
        taps = self._taps(node) if "weight" in node.tensors else ()
        kernel = self.context.shapes[node.name][0] * math.prod(taps) if taps else 0
        return sum(map(self._size, node.inputs)) + self._size(node.name) + kernel

    def _dense(self, nodes: Sequence[Node], over_time: bool = False) -> dict[str, float]:
        """Return the energy of layers and functions that are computed once.

        Args:
            nodes: the layers and functions.
            over_time: whether functions see running means.
        """
        analysis = self.context.analysis
        found = dict.fromkeys(TERMS, 0.0)
        for node in nodes:
            work = analysis.work[node.name]
            if over_time:
                work += analysis.running.get(node.name, Work())
            found["operations"] += (MUL + ADD) * work.products + ADD * work.additions
            found["weights"] += moved(work.lookups, TABLE)
            found["addressing"] += ADD * self._addresses(node)
            for name in (*node.inputs, node.name):
                found["inout"] += moved(self._size(name), self._size(name))
            found["weights"] += moved(self._weights(node), self._weights(node))
        return found

    def _source(self, node: Node, counts: Mapping[str, Tensor], t: Tensor) -> tuple[Terms, Tensor]:
        """Return a source's energy of spikes up to each step, and of its potentials by synapse."""
        size, behind = self._size(node.name), self.readers[node.name]
        spiking = OPS[node.op].role is Role.SITE
        events, spikes, operations, reads = (
            counts[key] for key in ("events", "spikes", "operations", "reads")
        )
        synapses = [each for each in behind if OPS[each.op].role is Role.SYNAPSE]
        weights = sum(map(self._weights, synapses))
        axes = sum(len(self._taps(each)) for each in synapses)
        whole = events > DENSE * size * t  # moved as a map
        words = torch.where(whole, size * t, events)
        sparse = ADD * reads + (MUL + ADD) * axes * events
        neurons = size if spiking else 0
        terms = {
            "operations": ADD * (operations + neurons * t + (spikes if spiking else 0)),
            "addressing": torch.where(whole, ADD * sum(map(self._addresses, behind)) * t, sparse),
            "inout": moved(1, size) * (1 + len(behind)) * words,
            "weights": moved(1, weights) * torch.where(whole, weights * t, reads),
            "potentials": 2 * moved(1, size) * neurons * t,
        }
        membranes = sum(self._size(each.name) for each in behind)
        return terms, 2 * moved(1, membranes) * reads

    def figures(self, found: Figures) -> Figures:
        """Return millijoules per sample."""
        context, analysis = self.context, self.context.analysis
        steps = range(1, context.timesteps + 1)
        t = context.lead + torch.tensor(steps, dtype=torch.float64)
        passes = torch.tensor([context.passes(n) for n in steps], dtype=torch.float64)
        first, later = self._dense(analysis.first_layer), self._dense(analysis.analog, True)
        total = {key: first[key] * passes + later[key] * t for key in TERMS}
        layers, at_synapses = {}, torch.zeros_like(t)
        for node in analysis.emitters:
            counts = {key: rows[node.name].cumsum(0) for key, rows in found.by_step.items()}
            terms, potentials = self._source(node, counts, t)
            layers[node.name] = {
                "energy_memory_mj": _total(terms),
                "energy_memory_terms_mj": _at_end(terms),
            }
            total = {key: total[key] + terms[key] for key in TERMS}
            at_synapses = at_synapses + potentials
        nodes = [node for node in analysis.graph.nodes if node.name in analysis.work]
        ann = {key: torch.tensor([value]) for key, value in self._dense(nodes).items()}
        by_step = sum(total.values()) * _MJ_PER_PJ
        assert isinstance(by_step, Tensor)
        totals = {
            "energy_memory_mj": float(by_step[-1]),
            "energy_memory_terms_mj": _at_end(total),
            "energy_memory_by_synapse_mj": float(by_step[-1] + at_synapses[-1] * _MJ_PER_PJ),
            "energy_memory_mj_steps": context.at_answers(by_step.tolist()),
            "energy_memory_ann_mj": _total(ann),
            "energy_memory_ann_terms_mj": _at_end(ann),
            "energy_memory_ratio": float(by_step[-1]) / _total(ann),
        }
        return Figures(totals, layers)


def _at_end(terms: Terms) -> dict[str, float]:
    return {key: float(value[-1]) * _MJ_PER_PJ for key, value in terms.items()}


def _total(terms: Terms) -> float:
    return sum(_at_end(terms).values())


METRIC = EnergyMemory

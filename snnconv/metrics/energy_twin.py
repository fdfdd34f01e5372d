"""Energy against the quantized twin: the network that needs no steps, at the same capacity.

In T steps a neuron's mean output takes one of T + 1 values (more if it has levels), and so does an
activation of ``b = ceil(log2(T + 1))`` bits. So a spiking network competes with the same network
with activations of b bits, computed once (:mod:`snnconv.simulation.twin`). The twin's accuracy is
measured on the same samples; :mod:`~snnconv.metrics.accuracy` reports it. Both take, in pJ::

    spiking = ACC*o + CMP*t*N + SUB*s + HOPS*min(SPARSE*n, DENSE*t*N)*e*readers
    twin    = MAC(8, b)*a             + HOPS*DENSE*N*b*readers

by source, with ``o`` operations, ``s`` spikes, ``n`` events of ``e`` bits in t steps, ``N``
neurons, and ``a`` the synapses behind the twin's nonzero values, because it skips zeros, too. In
both networks, layers and functions that no spike feeds take ``MAC(8, 8)`` for a MAC, ``ACC`` for an
addition and ``LOOKUP`` for a look-up: at each pass and step in the spiking network, once in the
twin.

``break_even_rate`` of a row is the spikes per neuron and step at which both are equal.

Shape:
    None: it reads the figures of ``synops`` and ``events``, and what the twin drives.

Reference:
    Yan, Bai, Wong 2024, arXiv:2409.08290: 0.05448 pJ (22 nm) to accumulate, compare and subtract;
    0.25 pJ a bit and hop where maps are moved whole, 3 pJ where events are routed (Loihi).
    Horowitz 2014: 0.23 pJ for a product and sum of 8 bits, 2.5 pJ for a byte out of 8 KiB (45 nm).

Deviations:
    ``MAC(w, b)`` is Horowitz' value times ``w*b/64``; weights have 8 bits. Reading weights is left
    out, because both networks read the weights on the chip once, at the same cost. A chip that
    reads a weight for each event pays more: see ``energy-memory``. There is one hop. A source in
    the twin needs no comparison. The comparisons of a max pooling of spikes are left out in both.
"""

import math

import torch

from snnconv.graph.ir import TRANSFER, Node
from snnconv.graph.operations.work import Work
from snnconv.graph.ops import OPS, Role
from snnconv.metrics.base import Batch, Figures, Metric, MetricContext

ACC = CMP = SUB = 0.05448  # pJ
MAC_8 = 0.23  # pJ, of 8 by 8 bits
LOOKUP = 2.5  # pJ, a byte out of a memory of 8 KiB
DENSE, SPARSE = 0.25, 3.0  # pJ a bit and hop
HOPS = 1.0
WEIGHT_BITS = 8
_MJ_PER_PJ = 1e-9


def bits_for(levels: int) -> int:
    """Return how many bits hold ``levels + 1`` values."""
    return math.ceil(math.log2(levels + 1))


def mac(bits: int) -> float:
    """Return the energy in pJ of a multiply-accumulate of a weight with so many bits."""
    return MAC_8 * WEIGHT_BITS * bits / 64


def _dense(work: Work) -> float:
    """Return the energy in pJ of layers and functions that no spike feeds."""
    return mac(8) * work.products + ACC * work.additions + LOOKUP * work.lookups


class EnergyTwin(Metric):
    """Multiplies counts by their energies, and adds up the synapses that the twin drives."""

    needs = ("synops", "events")
    of_conversion = True
    twinned = True
    counted = False
    valued = False
    added = ("reads",)

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.readers = context.analysis.event_readers
        two_sided = any(site.op == TRANSFER for site in context.graph.sites)
        self.bits = bits_for(context.grid.levels) + two_sided
        self.event_bits = bits_for(context.levels) + context.signed
        self.reads = {
            node.name: torch.zeros((), dtype=torch.float64) for node in context.analysis.emitters
        }

    def begin(self, batch: Batch) -> None:
        """Add up the synapses that the twin drives."""
        super().begin(batch)
        assert batch.twin is not None  # the class asks for it
        for name, reads in batch.twin.reads.items():
            self.reads[name] += reads

    def _source(self, node: Node, found: Figures) -> dict[str, float | None]:
        """Return a source's energy in both networks, in pJ, and at which bits they are equal."""
        T = self.context.lead + self.context.timesteps
        size = math.prod(self.context.shapes[node.name])
        copies = HOPS * len(self.readers[node.name])
        spikes, events, operations = (
            float(found.by_step[key][node.name].sum()) for key in ("spikes", "events", "operations")
        )
        neurons = size if OPS[node.op].role is Role.SITE else 0
        resting, reset = CMP * T * neurons, SUB if neurons else 0.0
        whole = DENSE * T * size * self.event_bits * copies
        sparse = SPARSE * events * self.event_bits * copies
        spiking = ACC * operations + resting + reset * spikes + min(sparse, whole)
        twin = mac(self.bits) * float(self.reads[node.name]) / self.samples
        twin += DENSE * size * self.bits * copies
        rate = None
        if neurons and spikes:  # spikes that cost as these do on average
            each = ACC * operations / spikes + reset
            left = twin - resting
            routed = left / (each + sparse / spikes)
            rate = max(0.0, routed, (left - whole) / each) / (T * size)
        return {"snn": spiking, "twin": twin, "rate": rate}

    def figures(self, found: Figures) -> Figures:
        """Return millijoules per sample."""
        context, analysis = self.context, self.context.analysis
        snn = _dense(context.work_until(context.timesteps, context.passes(context.timesteps)))
        nodes = (*analysis.first_layer, *analysis.analog)
        twin = _dense(sum((analysis.work[node.name] for node in nodes), Work()))
        layers = {}
        for node in analysis.emitters:
            row = self._source(node, found)
            snn, twin = snn + (row["snn"] or 0.0), twin + (row["twin"] or 0.0)
            layers[node.name] = {
                "energy_twin_snn_mj": (row["snn"] or 0.0) * _MJ_PER_PJ,
                "energy_twin_mj": (row["twin"] or 0.0) * _MJ_PER_PJ,
                "break_even_rate": row["rate"],
            }
        totals = {
            "twin_bits": self.bits,
            "energy_twin_snn_mj": snn * _MJ_PER_PJ,
            "energy_twin_mj": twin * _MJ_PER_PJ,
            "energy_twin_ratio": snn / twin,
        }
        return Figures(totals, layers)


METRIC = EnergyTwin

"""The neurons that have a compiled scan: their parameters and states, laid out for it.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.core.jit import Pieces, parallel_for
from snnconv.engine.event_conv.bit_spikes import Packed
from snnconv.engine.layer_output import LayerOutput, Wants, WeightedSum
from snnconv.engine.memory_layout import Flat
from snnconv.engine.neurons.scan import BLOCK, LEAST, scan_if, scan_levels, scan_lm_h
from snnconv.engine.neurons.scan_msat import scan_msat
from snnconv.engine.simd import LANES
from snnconv.neurons import if_, lm_h, lm_ht, msat
from snnconv.neurons.base import Neuron

Floats = NDArray[np.float32]

_NO_WEIGHTS: Floats = np.empty((0, 1), np.float32)


@dataclass(frozen=True)
class Run:
    """A layer of neurons, about to take some steps.

    Attributes:
        flat: the order of memory.
        steps: to take.
        keep: of spike confidence, ``[T, B, *N]``.
        wants: what is wanted of the spikes.
    """

    flat: Flat
    steps: int
    keep: Tensor | None
    wants: Wants

    def outputs(self, amplitude: Tensor | None, mean: bool = False) -> "Outputs":
        """Memory for what comes out.

        Args:
            amplitude: of the neurons; see :meth:`snnconv.neurons.base.Neuron.amplitude`.
            mean: whether the mean of the values comes out, and nothing else of them.
        """
        flat, wants, weighted = self.flat, self.wants, self.wants.sums
        counts = flat.memory(self.steps * wants.counts)
        packed = None
        if wants.packed and amplitude is not None and packable(flat):
            packed = Packed.empty(self.steps, flat.shape, amplitude)
        values = flat.memory(0 if packed else 1 if mean else self.steps)
        rows = 0 if weighted is None else len(weighted.weights)
        sums = torch.zeros(self.steps if rows else 0, rows, dtype=torch.int64)
        output = LayerOutput(
            values=None if packed or mean else values.tensor,
            counts=counts.tensor if wants.counts else None,
            sums=None if weighted is None else sums,
            mean=values.tensor if mean else None,
            packed=packed,
        )
        weights, piece = _NO_WEIGHTS, BLOCK
        if weighted is not None:
            weights, piece = flat.array(weighted.weights[:, None]), _piece(weighted)
        return Outputs(output, counts.array, values.array, weights, piece, sums.numpy())

    def kept(self) -> Floats | None:
        """Keep as an array."""
        return None if self.keep is None else self.flat.steps(self.keep, self.steps)


@dataclass(frozen=True)
class Outputs:
    """Where a scan puts what comes out of it.

    Attributes:
        output: for whoever reads it.
        counts: its counts as an array, ``[T, n]``, or ``[0, n]`` if there are none.
        values: its values, ``[T, n]``, or their mean, ``[1, n]``; ``[0, n]`` if they are bits.
        weights: of the sums, ``[k, neurons of a sample]``.
        piece: neurons whose weighted spikes are added up in float32.
        sums: ``[T, k]``, or ``[0, 0]``.
    """

    output: LayerOutput
    counts: Floats
    values: Floats
    weights: Floats
    piece: int
    sums: NDArray[np.int64]
    _lock: Lock = field(default_factory=Lock)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """The values as bits, ``[T, n/8]`` or ``[0, 0]``."""
        packed = self.output.packed
        return np.empty((0, 0), np.uint8) if packed is None else packed.bits

    def fill(self, scan: Callable[..., None], *given: Any) -> None:
        """By a scan of some neurons; others may be scanned in other threads."""
        if not self.sums.size:
            scan(*given, self.counts, self.values, self.weights, self.piece, self.sums)
            return
        sums = np.zeros_like(self.sums)
        scan(*given, self.counts, self.values, self.weights, self.piece, sums)
        with self._lock:
            self.sums[:] += sums

    def add(self, loop: Callable[..., None], *given: Any) -> None:
        """The same, by the loop of a kernel."""
        if not self.sums.size:
            loop(*given, self.counts, self.values, self.weights, self.sums)
            return
        sums = np.zeros_like(self.sums)
        loop(*given, self.counts, self.values, self.weights, sums)
        with self._lock:
            self.sums[:] += sums


def packable(flat: Flat) -> bool:
    """Whether a layer's spikes can be bits: whole vectors of channels, images in channels-last."""
    _, channels, *places = flat.shape
    last = flat.channels_last or math.prod(places) == 1
    return last and len(places) == 2 and channels % LANES == 0


def summable(wanted: WeightedSum) -> bool:
    """Whether a scan can add it up exactly."""
    return wanted.at_once >= LEAST


def _piece(wanted: WeightedSum) -> int:
    """The most neurons at once that a block can be divided into."""
    return min(BLOCK, 1 << (wanted.at_once.bit_length() - 1))


@dataclass(frozen=True)
class Scan:
    """A scan whose operands are laid out: neurons ``[start, stop)`` can go in any order.

    Attributes:
        run: ``(start, stop, currents, first)``, with currents of the neurons from ``first`` on; of
            packed spikes, of whole vectors of neurons.
        out: complete when all neurons have gone.
        state: at the end, then, of the currents seen: neurons may remember them.
        sees: the rows of currents that a run wants, from those of these steps.
    """

    run: Callable[[int, int, Floats, int], None]
    out: Outputs
    state: Callable[[Tensor | None], Any]
    sees: Callable[[Tensor], Tensor] = lambda currents: currents

    def whole(self, layer: Run, currents: Tensor) -> tuple[LayerOutput, Any]:
        """All neurons."""
        seen = self.sees(currents)
        rows = layer.flat.rows(seen)
        unit = 1 if self.out.output.packed is None else LANES

        def go(pieces: Pieces) -> None:
            for start, stop in pieces:
                self.run(start * unit, stop * unit, rows, 0)

        parallel_for(go, rows.shape[1] // unit, layer.steps * unit)
        return self.out.output, self.state(seen)


def prepare_if(neuron: if_.IF, layer: Run, state: if_.State) -> Scan:
    """IF neurons."""
    flat = layer.flat
    out = layer.outputs(neuron.amplitude())
    keep, theta = layer.kept(), flat.neurons(neuron.theta(state.potential))
    potential = flat.own(state.potential)

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        out.fill(scan_if, start, stop, currents, first, keep, theta, potential.array, out.bits)

    return Scan(run, out, lambda _: if_.State(potential.tensor))


def prepare_msat(
    neuron: msat.MSAT, layer: Run, state: msat.State, thresholds: Tensor | None = None
) -> Scan:
    """MSAT neurons; thresholds ``[T, B, *N]`` are written where they are wanted."""
    p, flat = neuron.params, layer.flat
    out = layer.outputs(neuron.amplitude())
    keep, theta = layer.kept(), flat.neurons(neuron.theta(state.before))
    states = [flat.own(x) for x in state[:3]]
    dtt = (1 / p.k_i, p.tau_mp * p.k_a, p.tau_mp * p.alpha, p.tau_mp * p.v_t)
    constants = (
        _constants(*dtt) if p.dtt else None,
        _constants(-1 / p.c, p.tau_rd) if p.det else None,
        p.depolarization == "input",
        flat.array(flat.empty(0) if thresholds is None else thresholds),
    )

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        arrays = (currents, first, keep, theta, *(x.array for x in states))
        out.fill(scan_msat, start, stop, *arrays, state.steps, *constants)

    def end(_: Tensor | None) -> msat.State:
        before, after, mean = (x.tensor for x in states)
        return msat.State(before, after, mean, state.steps + layer.steps)

    return Scan(run, out, end)


def prepare_lm_ht(neuron: lm_ht.LMHT, layer: Run, state: lm_ht.State) -> Scan:
    """LM-HT neurons."""
    done, steps = len(state.past), layer.steps
    retention = neuron.retention()[done : done + steps]
    scan = prepare_levels(neuron, layer, neuron.rows(done, steps), retention, state.potential)

    def end(seen: Tensor | None) -> lm_ht.State:
        past = state.past if seen is None else neuron.past(seen, state)
        return lm_ht.State(scan.state(None), past)

    return replace(scan, state=end, sees=lambda currents: neuron.seen(currents, state))


def prepare_levels(
    neuron: lm_ht.LMHT, layer: Run, omega: Tensor, retention: Tensor, potential: Tensor
) -> Scan:
    """The same by Omega ``[T, S]`` and lambda ``[T]``; the state is a potential."""
    flat = layer.flat
    out = layer.outputs(neuron.amplitude(), layer.wants.mean)
    keep, unit = layer.kept(), flat.neurons(neuron.unit(potential))
    after = flat.own(potential)
    constants = (small(omega), small(retention), *_constants(neuron.params.levels), out.bits)

    def run(start: int, stop: int, seen: Floats, first: int) -> None:
        out.fill(scan_levels, start, stop, seen, first, keep, unit, after.array, *constants)

    return Scan(run, out, lambda _: after.tensor)


def prepare_lm_h(neuron: lm_h.LMH, layer: Run, state: lm_h.State) -> Scan:
    """LM-H neurons."""
    flat = layer.flat
    out = layer.outputs(neuron.amplitude())
    keep, theta = layer.kept(), flat.neurons(neuron.theta(state.soma))
    dendrite, soma = flat.own(state.dendrite), flat.own(state.soma)
    scalars = small(neuron.acting(state.steps, layer.steps))

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        arrays = (currents, first, keep, theta, dendrite.array, soma.array)
        out.fill(scan_lm_h, start, stop, *arrays, scalars, out.bits)

    def end(_: Tensor | None) -> lm_h.State:
        return lm_h.State(dendrite.tensor, soma.tensor, state.steps + layer.steps)

    return Scan(run, out, end)


PREPARE: Mapping[type[Neuron[Any]], Callable[[Any, Run, Any], Scan]] = {
    if_.IF: prepare_if,
    msat.MSAT: prepare_msat,
    lm_ht.LMHT: prepare_lm_ht,
    lm_h.LMH: prepare_lm_h,
}


def small(learned: Tensor) -> Floats:
    """What a layer has few of, contiguous."""
    found: Floats = learned.detach().contiguous().numpy()
    return found


def _constants(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)

"""The neurons that have a compiled scan: their parameters and states, laid out for it.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from snnconv.engine.flat import Flat
from snnconv.engine.scan import scan_if, scan_levels, scan_lm_h, scan_msat
from snnconv.neuron import Neuron, Spikes
from snnconv.neurons import if_, lm_h, lm_ht, msat

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """A layer of neurons, about to take some steps.

    Attributes:
        flat: the order of memory.
        steps: to take.
        keep: of spike confidence, ``[T, B, *N]``.
        counted: whether anybody wants the counts.
    """

    flat: Flat
    steps: int
    keep: Tensor | None
    counted: bool

    def outputs(self) -> tuple[Spikes, Floats, Floats]:
        """Memory for spikes, and the same as arrays."""
        spikes = Spikes(self.flat.empty(self.steps * self.counted), self.flat.empty(self.steps))
        return spikes, self.flat.array(spikes.counts), self.flat.array(spikes.values)

    def kept(self) -> Floats | None:
        """Keep as an array."""
        return None if self.keep is None else self.flat.array(self.keep)

    def threshold(self, theta: Tensor) -> Floats:
        """``[1]`` where all neurons have the same, else ``[n]``."""
        return theta.reshape(1).numpy() if theta.numel() == 1 else self.flat.own(theta)


@dataclass(frozen=True)
class Scan:
    """A scan whose operands are laid out: neurons ``[start, stop)`` can go in any order.

    Attributes:
        run: ``(start, stop, currents, first)``, with currents of the neurons from ``first`` on.
        spikes: complete when all neurons have gone.
        state: at the end, then, from the currents: for neurons that remember them.
    """

    run: Callable[[int, int, Floats, int], None]
    spikes: Spikes
    state: Callable[[Tensor | None], Any]


def prepare_if(neuron: if_.IF, layer: Run, state: if_.State) -> Scan:
    """IF neurons."""
    flat = layer.flat
    spikes, counts, values = layer.outputs()
    keep, theta = layer.kept(), layer.threshold(neuron.theta(state.potential))
    potential = flat.own(state.potential)

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        scan_if(start, stop, currents, first, keep, theta, potential, counts, values)

    return Scan(run, spikes, lambda _: if_.State(flat.back(potential)))


def prepare_msat(neuron: msat.MSAT, layer: Run, state: msat.State) -> Scan:
    """MSAT neurons."""
    p, flat = neuron.params, layer.flat
    spikes, counts, values = layer.outputs()
    keep, theta = layer.kept(), layer.threshold(neuron.theta(state.before))
    before, after, mean = map(flat.own, state[:3])
    dtt = (1 / p.k_i, p.tau_mp * p.k_a, p.tau_mp * p.alpha, p.tau_mp * p.v_t)
    constants = (
        _constants(*dtt) if p.dtt else None,
        _constants(-1 / p.c, p.tau_rd) if p.det else None,
        p.depolarization == "input",
    )

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        arrays = (currents, first, keep, theta, before, after, mean, counts, values)
        scan_msat(start, stop, *arrays, state.steps, *constants)

    def end(_: Tensor | None) -> msat.State:
        return msat.State(*map(flat.back, (before, after, mean)), state.steps + layer.steps)

    return Scan(run, spikes, end)


def prepare_lm_ht(neuron: lm_ht.LMHT, layer: Run, state: lm_ht.State) -> Scan:
    """LM-HT neurons."""
    flat, steps, done = layer.flat, layer.steps, len(state.past)
    spikes, counts, values = layer.outputs()
    keep, unit = layer.kept(), layer.threshold(neuron.unit(state.potential))
    potential = flat.own(state.potential)
    omega = neuron.matrix()[done : done + steps]
    constants = (
        omega[:, done : done + steps].contiguous().numpy(),
        flat.array(neuron.of_past(state, steps)),
        neuron.retention()[done : done + steps].contiguous().numpy(),
        *_constants(neuron.params.levels),
    )

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        arrays = (currents, first, keep, unit, potential, counts, values)
        scan_levels(start, stop, *arrays, *constants)

    def end(currents: Tensor | None) -> lm_ht.State:
        past = state.past if currents is None else neuron.seen(currents, state)
        return lm_ht.State(flat.back(potential), past)

    return Scan(run, spikes, end)


def prepare_lm_h(neuron: lm_h.LMH, layer: Run, state: lm_h.State) -> Scan:
    """LM-H neurons."""
    flat = layer.flat
    spikes, counts, values = layer.outputs()
    keep, theta = layer.kept(), layer.threshold(neuron.theta(state.soma))
    dendrite, soma = flat.own(state.dendrite), flat.own(state.soma)
    rows = [neuron.row(state.steps + t) for t in range(layer.steps)]
    scalars = neuron.scalars()[rows].numpy()

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        arrays = (currents, first, keep, theta, dendrite, soma, counts, values)
        scan_lm_h(start, stop, *arrays, scalars)

    def end(_: Tensor | None) -> lm_h.State:
        return lm_h.State(flat.back(dendrite), flat.back(soma), state.steps + layer.steps)

    return Scan(run, spikes, end)


PREPARE: Mapping[type[Neuron[Any]], Callable[[Any, Run, Any], Scan]] = {
    if_.IF: prepare_if,
    msat.MSAT: prepare_msat,
    lm_ht.LMHT: prepare_lm_ht,
    lm_h.LMH: prepare_lm_h,
}


def _constants(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)

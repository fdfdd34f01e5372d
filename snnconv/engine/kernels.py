"""The neurons that have a compiled scan: their parameters and states, laid out for it.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from snnconv.compiled import split
from snnconv.engine.flat import Flat
from snnconv.engine.scan import scan_if, scan_levels, scan_lm_h, scan_msat
from snnconv.neuron import Neuron, Spikes
from snnconv.neurons import if_, lm_h, lm_ht, msat


def run_if(
    neuron: if_.IF, currents: Tensor, state: if_.State, keep: Tensor | None
) -> tuple[Spikes, if_.State]:
    """IF neurons."""
    flat, steps = Flat.of(currents), len(currents)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    potential = flat.own(state.potential)
    split(
        scan_if,
        potential.size,
        steps,
        flat.array(_rows(currents)),
        None if keep is None else flat.array(keep),
        flat.own(neuron.theta(currents[0])),
        potential,
        *map(flat.array, spikes),
    )
    return spikes, if_.State(flat.back(potential))


def run_msat(
    neuron: msat.MSAT, currents: Tensor, state: msat.State, keep: Tensor | None
) -> tuple[Spikes, msat.State]:
    """MSAT neurons."""
    p, flat, steps = neuron.params, Flat.of(currents), len(currents)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    before, after, mean = map(flat.own, state[:3])
    split(
        scan_msat,
        before.size,
        steps,
        flat.array(_rows(currents)),
        None if keep is None else flat.array(keep),
        flat.own(neuron.theta(currents[0])),
        before,
        after,
        mean,
        *map(flat.array, spikes),
        state.steps,
        _constants(1 / p.k_i, p.tau_mp * p.k_a, p.tau_mp * p.alpha, p.tau_mp * p.v_t)
        if p.dtt
        else None,
        _constants(-1 / p.c, p.tau_rd) if p.det else None,
        p.depolarization == "input",
    )
    back = flat.back
    return spikes, msat.State(back(before), back(after), back(mean), state.steps + steps)


def run_lm_ht(
    neuron: lm_ht.LMHT, currents: Tensor, state: lm_ht.State, keep: Tensor | None
) -> tuple[Spikes, lm_ht.State]:
    """LM-HT neurons."""
    mixed, past = neuron.mix(currents, state)
    flat, steps = Flat.of(mixed), len(mixed)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    potential = flat.own(state.potential)
    split(
        scan_levels,
        potential.size,
        steps,
        flat.array(mixed),
        None if keep is None else flat.array(keep),
        flat.own(neuron.unit(currents[0])),
        potential,
        *map(flat.array, spikes),
        neuron.retention()[len(state.past) :].contiguous().numpy(),
        *_constants(neuron.params.levels),
    )
    return spikes, lm_ht.State(flat.back(potential), past)


def run_lm_h(
    neuron: lm_h.LMH, currents: Tensor, state: lm_h.State, keep: Tensor | None
) -> tuple[Spikes, lm_h.State]:
    """LM-H neurons."""
    flat, steps = Flat.of(currents), len(currents)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    dendrite, soma = flat.own(state.dendrite), flat.own(state.soma)
    rows = [neuron.row(state.steps + t) for t in range(steps)]
    split(
        scan_lm_h,
        soma.size,
        steps,
        flat.array(_rows(currents)),
        None if keep is None else flat.array(keep),
        flat.own(neuron.theta(currents[0])),
        dendrite,
        soma,
        *map(flat.array, spikes),
        neuron.scalars()[rows].numpy(),
    )
    return spikes, lm_h.State(flat.back(dendrite), flat.back(soma), state.steps + steps)


KERNELS: Mapping[type[Neuron[Any]], Callable[..., tuple[Spikes, Any]]] = {
    if_.IF: run_if,
    msat.MSAT: run_msat,
    lm_ht.LMHT: run_lm_ht,
    lm_h.LMH: run_lm_h,
}


def _rows(currents: Tensor) -> Tensor:
    """One row where the currents are constant over time, which is how they came to be expanded."""
    return currents[:1] if currents.stride(0) == 0 else currents


def _constants(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)

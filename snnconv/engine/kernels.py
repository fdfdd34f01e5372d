"""The neurons that have a compiled scan: their parameters and states, laid out for it.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
        flat.rows(currents),
        None if keep is None else flat.array(keep),
        flat.neurons(neuron.theta(currents[0])),
        potential,
        *map(flat.array, spikes),
    )
    return spikes, if_.State(flat.back(potential))


def run_msat(
    neuron: msat.MSAT,
    currents: Tensor,
    state: msat.State,
    keep: Tensor | None,
    thresholds: Tensor | None = None,
) -> tuple[Spikes, msat.State]:
    """MSAT neurons.

    Args:
        neuron: the layer.
        currents: ``[T, B, *N]``.
        state: before the first step.
        keep: of spike confidence.
        thresholds: where each step's are written, ``[T, B, *N]``, if anywhere.
    """
    p, flat, steps = neuron.params, Flat.of(currents), len(currents)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    before, after, mean = map(flat.own, state[:3])
    split(
        scan_msat,
        before.size,
        steps,
        flat.rows(currents),
        None if keep is None else flat.array(keep),
        flat.neurons(neuron.theta(currents[0])),
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
        None if thresholds is None else flat.array(thresholds),
    )
    back = flat.back
    return spikes, msat.State(back(before), back(after), back(mean), state.steps + steps)


def run_lm_ht(
    neuron: lm_ht.LMHT, currents: Tensor, state: lm_ht.State, keep: Tensor | None
) -> tuple[Spikes, lm_ht.State]:
    """LM-HT neurons."""
    seen, omega, past = neuron.window(currents, state)
    retention = neuron.retention()[len(state.past) :][: len(currents)]
    spikes, potential = levels(neuron, seen, omega, retention, state.potential, keep)
    return spikes, lm_ht.State(potential, past)


def levels(
    neuron: lm_ht.LMHT,
    seen: Tensor,
    omega: Tensor,
    retention: Tensor,
    potential: Tensor,
    keep: Tensor | None,
) -> tuple[Spikes, Tensor]:
    """LM-HT neurons by the steps they see ``[S, B, *N]``, Omega ``[T, S]`` and lambda ``[T]``."""
    flat, steps = Flat.of(seen), len(omega)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    after = flat.own(potential)
    split(
        scan_levels,
        after.size,
        steps,
        flat.rows(seen),
        small(omega),
        None if keep is None else flat.array(keep),
        flat.neurons(neuron.unit(seen[0])),
        after,
        *map(flat.array, spikes),
        small(retention),
        *_constants(neuron.params.levels),
    )
    return spikes, flat.back(after)


def run_lm_h(
    neuron: lm_h.LMH, currents: Tensor, state: lm_h.State, keep: Tensor | None
) -> tuple[Spikes, lm_h.State]:
    """LM-H neurons."""
    flat, steps = Flat.of(currents), len(currents)
    spikes = Spikes(flat.empty(steps), flat.empty(steps))
    dendrite, soma = flat.own(state.dendrite), flat.own(state.soma)
    split(
        scan_lm_h,
        soma.size,
        steps,
        flat.rows(currents),
        None if keep is None else flat.array(keep),
        flat.neurons(neuron.theta(currents[0])),
        dendrite,
        soma,
        *map(flat.array, spikes),
        small(neuron.acting(state.steps, steps)),
    )
    return spikes, lm_h.State(flat.back(dendrite), flat.back(soma), state.steps + steps)


KERNELS: Mapping[type[Neuron[Any]], Callable[..., tuple[Spikes, Any]]] = {
    if_.IF: run_if,
    msat.MSAT: run_msat,
    lm_ht.LMHT: run_lm_ht,
    lm_h.LMH: run_lm_h,
}


def small(learned: Tensor) -> NDArray[np.float32]:
    """What a layer has few of, contiguous."""
    found: NDArray[np.float32] = learned.detach().contiguous().numpy()
    return found


def _constants(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)

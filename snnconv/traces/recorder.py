"""Record what the neurons of a simulation do, and put it into a store.

Shape:
    The simulation gives ``[T, B, *N]``, and the store takes ``[B, T, *N]``.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnconv.engine.layer_output import LayerOutput, ObserverNeeds
from snnconv.traces.store import Store


class Recorder:
    """An observer of a simulation.

    Args:
        store: takes the blocks. The recorder records what the store has an array for.
        sites: the sites to record.

    Attributes:
        needs: what the recorder needs of the spikes.
        spikes: the number of spikes by site, over all samples and steps so far; a spike of several
            levels counts as so many.
        fired: the number of neurons by site that have had a spike, over all samples so far.
        samples: the number of samples so far.
    """

    def __init__(self, store: Store, sites: Collection[str]) -> None:
        self._store = store
        self.needs = ObserverNeeds(membranes=frozenset(sites))
        self.spikes = dict.fromkeys(sites, 0)
        self.fired = dict.fromkeys(sites, 0)
        self.samples = 0
        self._first = 0
        self._sent: dict[str, Tensor] = {}
        self._silent: dict[str, Tensor] = {}

    def begin(self, first: int, activations: Mapping[str, Tensor]) -> None:
        """Begin the next batch.

        Args:
            first: the number of its first sample in the trace.
            activations: the activations of the ANN by site, ``[B, *N]``.
        """
        self._first = first
        self._sent, self._silent = {}, {}
        for site, values in activations.items():
            self._put(f"{site}/ann", values.detach().cpu().numpy())

    def __call__(self, site: str, start: int, output: LayerOutput) -> None:
        """Record a site's neurons at the steps after the first ``start``."""
        held = output.membrane
        if held is None or output.counts is None:
            return
        counts = output.counts
        self.spikes[site] += int(counts.abs().double().sum())
        silent = (counts == 0).all(0)
        self._silent[site] = silent & self._silent.get(site, torch.ones_like(silent))
        self._put(f"{site}/spikes", _by_sample(counts), start)
        self._put(f"{site}/currents", _by_sample(held.currents), start)
        if held.potentials is not None:
            self._put(f"{site}/potentials", _by_sample(held.potentials), start)
        self._put_thresholds(f"{site}/thresholds", _by_sample(held.thresholds), start)
        if f"{site}/activations" in self._store.arrays:
            decoded = self._decoded(site, held.values, start)
            self._put(f"{site}/activations", _by_sample(decoded), start)

    def end(self) -> None:
        """Count the neurons that had a spike in the batch."""
        self.samples += len(next(iter(self._silent.values())))
        for site, silent in self._silent.items():
            self.fired[site] += silent.numel() - int(silent.sum())

    def _decoded(self, site: str, values: Tensor, start: int) -> Tensor:
        """Return the mean of what was sent at steps 1..t, ``[T, B, *N]``."""
        total = self._sent.get(site, torch.zeros_like(values[0]))
        means = []
        for t, value in enumerate(values, start + 1):
            total = total + value
            means.append(total / t)
        self._sent[site] = total
        return torch.stack(means)

    def _put_thresholds(self, name: str, block: NDArray[Any], start: int) -> None:
        """Put the thresholds of each neuron and step, or one that holds for all of them."""
        array = self._store.arrays.get(name)
        if array is None or array.shape[:2] != (1, 1):
            self._put(name, block, start)
        elif start == self._first == 0:
            self._store.put(name, block[:1, :1])

    def _put(self, name: str, block: NDArray[Any], start: int = 0) -> None:
        if name in self._store.arrays:
            self._store.put(name, block, self._first, start)


def _by_sample(values: Tensor) -> NDArray[Any]:
    """Reorder ``[T, B, *N] -> [B, T, *N]``."""
    found: NDArray[np.float32] = values.detach().transpose(0, 1).cpu().numpy()
    return found

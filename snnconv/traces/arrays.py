"""The arrays of a trace: which there are, the names of their axes, and their sizes.

All of this is known before the simulation, so a trace that is too large is refused first.

Shape:
    The arrays of a site ``[N, T, *n]``: samples, steps, neurons. An axis along which all numbers
    are equal has the size 1, and broadcasts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from snnconv.graph.network import Shape
from snnconv.neurons.base import Neuron

SAMPLE, STEP = "sample", "step"
_PLACES = {1: ("neuron",), 2: ("channel", "place"), 3: ("channel", "row", "column")}
_UNITS = {
    "spikes": "spikes, each of which carries what the site's unit says",
    "potentials": "the ANN's activation, after the step's spikes",
    "thresholds": "the ANN's activation",
    "activations": "the ANN's activation: the mean of what was sent at steps 1..t",
    "ann": "the ANN's activation",
    "currents": "the ANN's activation",
}


@dataclass(frozen=True)
class Array:
    """One array of a trace.

    Attributes:
        name: the name in the file; ``SITE/WHAT`` for the arrays of a site.
        axes: the name of each axis.
        shape: the shape.
        dtype: the type of the numbers, as numpy writes it.
        unit: the unit of the numbers.
    """

    name: str
    axes: tuple[str, ...]
    shape: Shape
    dtype: str
    unit: str = ""

    @property
    def itemsize(self) -> int:
        """The bytes of one number."""
        return int(self.dtype[2:])

    @property
    def size(self) -> int:
        """The bytes of all numbers."""
        return math.prod(self.shape) * self.itemsize


def places(dims: int) -> tuple[str, ...]:
    """Return the names of the axes of a layer's neurons."""
    return _PLACES.get(dims) or ("channel", *(f"axis {k}" for k in range(1, dims)))


def of_sites(
    neurons: Mapping[str, Neuron[Any]],
    shapes: Mapping[str, Shape],
    record: Sequence[str],
    samples: int,
    timesteps: int,
) -> list[Array]:
    """Return the arrays of some sites.

    Args:
        neurons: the neurons by site.
        shapes: the shape of one sample at every site.
        record: what to record, out of :data:`snnconv.config.RECORDED`.
        samples: N.
        timesteps: T.
    """
    return [
        array
        for name, neuron in neurons.items()
        for array in _of_site(name, neuron, shapes[name], record, samples, timesteps)
    ]


def _of_site(
    name: str,
    neuron: Neuron[Any],
    shape: Shape,
    record: Iterable[str],
    samples: int,
    timesteps: int,
) -> Iterable[Array]:
    each = (SAMPLE, STEP, *places(len(shape)))
    whole = (samples, timesteps, *shape)
    sample = torch.zeros(1, *shape, device=neuron.threshold.device)
    state = neuron.initial(sample)
    for what in record:
        size, axes, dtype = whole, each, "<f4"
        if what == "spikes":
            dtype = counts_type(neuron.levels)
        elif what == "potentials" and neuron.held(state) is None:
            continue
        elif what == "thresholds" and not neuron.adapts:
            threshold = neuron.firing_threshold(sample, state)
            size = (1, 1, *threshold.shape[1:])
        elif what == "ann":
            size, axes = (samples, *shape), (SAMPLE, *each[2:])
        yield Array(f"{name}/{what}", axes, size, dtype, _UNITS[what])


def counts_type(levels: int) -> str:
    """Return the smallest type that holds counts up to a number, of either sign."""
    return "|i1" if levels < 2**7 else "<i2" if levels < 2**15 else "<i4"

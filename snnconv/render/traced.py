"""What is drawn of a trace: few enough numbers for a page, as plain Python has them."""

from collections.abc import Mapping
from dataclasses import dataclass

from snnconv.render.svg.styles import Style


@dataclass(frozen=True)
class Course:
    """One neuron over time: what its potential is after each step, and what makes it fire.

    Attributes:
        name: of the neuron, by its place in the layer.
        potentials: after each step.
        thresholds: of each step.
        fired: the steps, from 1, that have a spike.
    """

    name: str
    potentials: tuple[float, ...]
    thresholds: tuple[float, ...]
    fired: frozenset[int]


@dataclass(frozen=True)
class Maps:
    """A channel of one sample: the ANN's activation, and what the spikes say, in grey levels.

    Attributes:
        channel: its number.
        ann: rows of values 0..255.
        snn: the same, on the same scale.
    """

    channel: int
    ann: tuple[bytes, ...]
    snn: tuple[bytes, ...]


@dataclass(frozen=True)
class DrawnSite:
    """One activation site of a trace.

    Attributes:
        name: of the site.
        neurons: that a sample has.
        raster: of one sample, ``(row, step from 1, count)`` of each spike that is drawn.
        rows: neurons in the raster.
        courses: a few neurons of that sample.
        points: ``(ANN's activation, decoded activation)`` of some neurons of all samples.
        values: of which these are some.
        rates: how many neurons of all samples had 0, 1, 2, ... spikes in T steps.
        maps: some channels of one sample.
    """

    name: str
    neurons: int
    raster: tuple[tuple[int, int, int], ...] = ()
    rows: int = 0
    courses: tuple[Course, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    values: int = 0
    rates: Mapping[int, int] | None = None
    maps: tuple[Maps, ...] = ()


@dataclass(frozen=True)
class DrawnTrace:
    """A trace with its place in the page.

    Attributes:
        label: of the network.
        style: of the network in other plots.
        timesteps: T.
        steps: that rasters and courses show, from the first on.
        samples: traced.
        sample: the number in the split of the one that is drawn alone.
        sites: in the network's order.
    """

    label: str
    style: Style
    timesteps: int
    steps: int
    samples: int
    sample: int
    sites: tuple[DrawnSite, ...]

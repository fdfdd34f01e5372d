"""The summary of a trace: few enough numbers for a page, in plain Python."""

from collections.abc import Mapping
from dataclasses import dataclass

from snnconv.render.svg.styles import Style


@dataclass(frozen=True)
class Course:
    """One neuron over time: its potential after each step, its threshold and its spikes.

    Attributes:
        name: the name of the neuron, by its place in the layer.
        potentials: the potential after each step.
        thresholds: the threshold at each step.
        fired: the steps, from 1, that have a spike.
    """

    name: str
    potentials: tuple[float, ...]
    thresholds: tuple[float, ...]
    fired: frozenset[int]


@dataclass(frozen=True)
class Maps:
    """A channel of one sample in grey levels: the ANN's activation, and the decoded spikes.

    Attributes:
        channel: the number of the channel.
        ann: the ANN's rows of values 0..255.
        snn: the decoded rows, on the same scale.
        ends: the values that are black and white, in units of the ANN's activation.
    """

    channel: int
    ann: tuple[bytes, ...]
    snn: tuple[bytes, ...]
    ends: tuple[float, float]


@dataclass(frozen=True)
class SiteSummary:
    """One activation site of a trace.

    Attributes:
        name: the name of the site.
        neurons: the neurons of a sample.
        raster: ``(row, step from 1, count)`` of each spike to draw, for one sample.
        rows: the neurons in the raster.
        courses: a few neurons of that sample.
        points: ``(ANN's activation, decoded activation)`` of some neurons of all samples.
        values: the number of all such pairs.
        rates: how many neurons of all samples had 0, 1, 2, ... spikes in T steps.
        maps: some channels of one sample.
        axes: the axes on which the neurons stand, in the order of their names.
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
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TraceSummary:
    """The summary of a trace.

    Attributes:
        label: the label of the network.
        style: the style of the network in other plots.
        timesteps: T.
        steps: how many steps rasters and courses show, from the first on.
        samples: how many samples were traced.
        sample: the number in the split of the sample that is drawn alone.
        sites: the sites, in the order of the network.
    """

    label: str
    style: Style
    timesteps: int
    steps: int
    samples: int
    sample: int
    sites: tuple[SiteSummary, ...]

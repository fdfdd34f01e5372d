"""Summarise a trace: the few numbers that a page can show.

The trace is read one sample at a time. Neurons and points that are shown lie at equal distances.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snnconv.render.svg.styles import Style
from snnconv.render.trace_summary import Course, Maps, SiteSummary, TraceSummary
from snnconv.traces.reader import Trace

ROWS = 32
"""Neurons in a raster."""
STEPS = 128
"""Steps in a raster and in the course of a neuron."""
RASTERS = 4
"""Sites with a raster, from the first to the last."""
COURSES = 3
"""Sites with the courses of neurons, and neurons of each."""
POINTS = 300
"""Neurons of a site in a scatter plot."""
CHANNELS = 6
PIXELS = 48
"""Channels of a site as images, and the pixels of their longer side."""
PICTURED = 2
"""Sites with images, from the first on."""


def summary(trace: Trace, label: str, style: Style) -> TraceSummary:
    """Return what a page shows of a trace.

    Args:
        trace: the trace.
        label: the label of the network.
        style: the style of the network in other plots.

    Raises:
        CheckpointError: the file is damaged.
    """
    names = [site["name"] for site in trace.sites]
    rasters = {names[k] for k in spread(len(names), RASTERS)}
    courses = {names[k] for k in spread(len(names), COURSES)}
    images = [site["name"] for site in trace.sites if len(site["shape"]) == 3][:PICTURED]
    timesteps = int(trace.index["timesteps"])
    (first, *others) = (int(sample) for sample in trace.samples("samples"))
    sites = [
        _site(trace, site, site["name"] in rasters, site["name"] in courses, site["name"] in images)
        for site in trace.sites
    ]
    return TraceSummary(
        label=label,
        style=style,
        timesteps=timesteps,
        steps=min(timesteps, STEPS),
        samples=1 + len(others),
        sample=first,
        sites=tuple(sites),
    )


def spread(count: int, most: int) -> list[int]:
    """Return up to ``most`` of the numbers below ``count``, evenly spread, with both ends."""
    return sorted({int(k) for k in np.linspace(0, count - 1, min(count, most)).round()})


def _site(
    trace: Trace, site: dict[str, Any], raster: bool, courses: bool, pictured: bool
) -> SiteSummary:
    name, shape = site["name"], tuple(site["shape"])
    neurons = int(np.prod(shape, dtype=np.int64))
    found: dict[str, Any] = {}
    if trace.has(f"{name}/spikes"):
        first, found["rates"] = _rates(trace.samples(f"{name}/spikes"))
        chosen = _lively(first)
        if raster:
            rows, shown = len(chosen), first[:STEPS, chosen]
            places = zip(*np.nonzero(shown.T), strict=True)
            marks = [(int(row), int(t) + 1, int(shown[t, row])) for row, t in places]
            found |= {"raster": tuple(marks), "rows": rows}
        if courses:
            found["courses"] = _courses(trace, name, shape, first, chosen)
            found["axes"] = tuple(trace.index["arrays"][f"{name}/spikes"]["axes"][2:])
    if trace.has(f"{name}/activations") and trace.has(f"{name}/ann"):
        pairs = zip(trace.samples(f"{name}/activations"), trace.samples(f"{name}/ann"), strict=True)
        found |= _beside_ann(pairs, neurons, pictured)
    return SiteSummary(name, neurons, **found)


def _rates(samples: Iterable[NDArray[Any]]) -> tuple[NDArray[Any], dict[int, int]]:
    """Return the first sample ``[T, n]``, and how many neurons had how many spikes."""
    counts: Counter[int] = Counter()
    first = None
    for spikes in samples:
        flat = spikes.reshape(len(spikes), -1)
        first = flat if first is None else first
        sums = np.abs(flat.astype(np.int64)).sum(0)
        values, times = np.unique(sums, return_counts=True)
        counts.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
    assert first is not None
    return first, dict(sorted(counts.items()))


def _lively(spikes: NDArray[Any]) -> NDArray[Any]:
    """Return neurons that fire, evenly chosen; any neurons, if none fires."""
    active = np.nonzero((spikes != 0).any(0))[0]
    among = active if len(active) else np.arange(spikes.shape[1])
    return among[spread(len(among), ROWS)]


def _courses(
    trace: Trace,
    name: str,
    shape: tuple[int, ...],
    spikes: NDArray[Any],
    chosen: NDArray[Any],
) -> tuple[Course, ...]:
    """Return the courses of neurons with many, some and few spikes."""
    if not (trace.has(f"{name}/potentials") and trace.has(f"{name}/thresholds")):
        return ()
    potentials = next(iter(trace.samples(f"{name}/potentials")))
    thresholds = next(iter(trace.samples(f"{name}/thresholds")))
    thresholds = np.broadcast_to(thresholds, potentials.shape).reshape(len(potentials), -1)
    potentials = potentials.reshape(len(potentials), -1)
    sums = np.abs(spikes[:, chosen].astype(np.int64)).sum(0)
    order = chosen[np.argsort(-sums, kind="stable")]
    found = []
    for neuron in order[spread(len(order), COURSES)]:
        place = np.unravel_index(int(neuron), shape)
        found.append(
            Course(
                name=", ".join(str(int(k)) for k in place),
                potentials=_listed(potentials[:STEPS, neuron]),
                thresholds=_listed(thresholds[:STEPS, neuron]),
                fired=frozenset(int(t) + 1 for t in np.nonzero(spikes[:STEPS, neuron])[0]),
            )
        )
    return tuple(found)


def _beside_ann(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], neurons: int, pictured: bool
) -> dict[str, Any]:
    """Return decoded activations after T steps with the ANN's, and the first sample's images."""
    parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
    maps: tuple[Maps, ...] = ()
    samples = 0
    for decoded, ann in pairs:
        if pictured and samples == 0:
            maps = _maps(ann, decoded[-1])
        few = spread(neurons, POINTS)
        parts.append((ann.reshape(-1)[few], decoded[-1].reshape(-1)[few]))
        samples += 1
    ann, decoded = (np.concatenate(each) for each in zip(*parts, strict=True))
    few = spread(len(ann), POINTS)
    points = tuple(zip(_listed(ann[few]), _listed(decoded[few]), strict=True))
    return {"points": points, "values": neurons * samples, "maps": maps}


def _maps(ann: NDArray[Any], snn: NDArray[Any]) -> tuple[Maps, ...]:
    """Return the channels ``[C, H, W]`` that the ANN uses most, each pair on one scale."""
    step = max(1, -(-max(ann.shape[1:]) // PIXELS))
    strongest = np.argsort(-np.abs(ann).sum((1, 2)), kind="stable")[:CHANNELS]
    found = []
    for channel in sorted(strongest.tolist()):
        pair = [each[channel, ::step, ::step] for each in (ann, snn)]
        low, high = min(float(p.min()) for p in pair), max(float(p.max()) for p in pair)
        span = high - low or 1.0
        grey = [((each - low) / span * 255).round().astype(np.uint8) for each in pair]
        rows = [tuple(row.tobytes() for row in each) for each in grey]
        found.append(Maps(channel, rows[0], rows[1], (low, high)))
    return tuple(found)


def _listed(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

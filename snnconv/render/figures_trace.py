"""What neurons did, from a trace: rasters, potentials, decoded activations, rates, images."""

from collections.abc import Sequence

from snnconv.render import units
from snnconv.render.figure import MANY, Figure
from snnconv.render.svg.histogram import BINS, Panel, histogram_plot
from snnconv.render.svg.plot import Axis, Rule, Series, line_plot
from snnconv.render.svg.scale import Scale, linear
from snnconv.render.svg.small import (
    Cloud,
    Picture,
    Raster,
    pictures_plot,
    raster_plot,
    scatter_plot,
)
from snnconv.render.svg.styles import Style, run_style
from snnconv.render.trace_summary import Course, SiteSummary, TraceSummary


def traces(found: Sequence[TraceSummary]) -> list[Figure]:
    """Draw every trace; a further one has its network's name in every title."""
    several = len(found) > 1
    return [
        figure
        for k, trace in enumerate(found)
        for figure in _figures(trace, f"trace-{k}", f": {trace.label}" if several else "")
    ]


def _figures(trace: TraceSummary, name: str, of: str) -> list[Figure]:
    made = [
        _raster(trace, name, of),
        *_courses(trace, name, of),
        _scatter(trace, name, of),
        _rates(trace, name, of),
        *_pictures(trace, name, of),
    ]
    return [figure for figure in made if figure is not None]


def _steps(trace: TraceSummary) -> Axis:
    """Return steps 1..T, with half a step at both ends, so that no stroke is cut."""
    return Axis(
        "Time step t",
        Scale("linear", 0.5, trace.steps + 0.5),
        lambda t: f"{t:.0f}" if t == int(t) else "",
        lambda t: f"t = {t:.0f}",
    )


def _part(trace: TraceSummary) -> str:
    """Return a sentence on what is left out of the steps."""
    left = trace.timesteps > trace.steps
    return f" The first {trace.steps} of {trace.timesteps} steps are shown." if left else ""


def _raster(trace: TraceSummary, name: str, of: str) -> Figure | None:
    shown = [site for site in trace.sites if site.rows]
    if not shown:
        return None
    title = f"Spikes of sample {trace.sample}{of}"
    rasters = [
        Raster(f"{site.name}: {site.rows} of {units.count(site.neurons)} neurons", site.rows, s)
        for site in shown
        for s in [site.raster]
    ]

    def draw(page: str, width: float) -> str:
        about = f"A row for each neuron, a stroke for each spike, of {len(shown)} sites."
        return raster_plot(page, title, about, _steps(trace), rasters, width)

    left = len(trace.sites) - len(shown)
    caption = (
        "A row for each neuron and a stroke for each step with a spike. Neurons are taken evenly "
        "from those that fire."
    )
    if left > 0:
        caption += f" {len(shown)} of {len(trace.sites)} sites are shown."
    return Figure(f"{name}-raster", title, caption + _part(trace), draw, whole_width=True)


def _courses(trace: TraceSummary, name: str, of: str) -> list[Figure]:
    return [
        _course(trace, site, f"{name}-course-{k}", of)
        for k, site in enumerate(site for site in trace.sites if site.courses)
    ]


def _course(trace: TraceSummary, site: SiteSummary, name: str, of: str) -> Figure:
    title = f"Potentials at {site.name}{of}"
    series, rules = [], []
    limits = {limit for course in site.courses for limit in course.thresholds}
    for k, course in enumerate(site.courses):
        style = run_style(k)
        points = tuple(enumerate(course.potentials, 1))
        marked = frozenset(map(float, course.fired))
        series.append(
            Series(f"neuron {course.name}", tuple((float(t), v) for t, v in points), style, marked)
        )
        if len(limits) > 1:
            rules += _limit(course, style, series)
    if len(limits) == 1:
        rules.append(Rule("threshold", next(iter(limits)), Style("ink", "2 3", width=1.2)))
    elif limits:
        dotted = Style("ink", "1.5 3", width=1.0)
        series.append(Series("their thresholds", (), dotted))
    values = [v for each in series for _, v in each.points]
    y = Axis("Potential (ANN's units)", linear([*values, *limits], 6))

    def draw(page: str, width: float) -> str:
        about = f"Membrane potentials of {len(site.courses)} neurons at {site.name}."
        return line_plot(page, title, about, _steps(trace), y, series, width, rules)

    caption = (
        "The membrane potential after each step, in units of the ANN's activation. A marker is a "
        "step with a spike, a thin dotted line of the same colour the neuron's threshold. A neuron "
        "with many spikes, one with some, one with few."
    )
    if len(site.axes) > 1:
        caption += f" Neurons are named by {', '.join(site.axes)}, from 0."
    return Figure(name, title, caption + _part(trace), draw)


def _limit(course: Course, style: Style, series: list[Series]) -> list[Rule]:
    """Draw a neuron's own threshold: a rule if it stays, else a line among the series."""
    thin = Style(style.colour, "1.5 3", width=1.0)
    if len(set(course.thresholds)) == 1:
        return [Rule("", course.thresholds[0], thin)]
    points = tuple((float(t), v) for t, v in enumerate(course.thresholds, 1))
    series.append(Series(f"threshold of {course.name}", points, thin, in_legend=False))
    return []


def _scatter(trace: TraceSummary, name: str, of: str) -> Figure | None:
    shown = [site for site in trace.sites if site.points][:MANY]
    if not shown:
        return None
    title = f"Activation of the ANN and rate of the spikes{of}"
    clouds = [Cloud(site.name, site.points) for site in shown]
    drawn = max(len(site.points) for site in shown)

    def draw(page: str, width: float) -> str:
        about = f"Decoded activations over the ANN's at {len(shown)} sites."
        heads = ("Decoded from spikes (ANN's units)", "Activation of the ANN (ANN's units)")
        return scatter_plot(page, title, about, clouds, width, heads)

    caption = (
        f"The mean of what a neuron sends in {trace.timesteps} steps over the ANN's activation of "
        f"the same samples ({trace.samples}); on the dotted line they are equal. Up to {drawn} "
        "neurons of each site, evenly taken."
    )
    return Figure(f"{name}-scatter", title, caption + _first(trace, shown), draw, whole_width=True)


def _rates(trace: TraceSummary, name: str, of: str) -> Figure | None:
    shown = [site for site in trace.sites if site.rates][:MANY]
    if not shown:
        return None
    title = f"Firing rates by layer{of}"
    panels = []
    for site in shown:
        rates = site.rates or {}
        several = 1 + max(rates) // BINS  # numbers of spikes in a bin
        bins = 1 + max(rates) // several
        counts = [0.0] * bins
        for spikes, neurons in rates.items():
            counts[spikes // several] += neurons
        # a neuron with k spikes stands between k and k + 1
        edges = [k * several / trace.timesteps for k in range(bins + 1)]
        panels.append(Panel(site.name, tuple(edges), tuple(counts), (), bins))

    def draw(page: str, width: float) -> str:
        about = f"Histograms of the spikes per step of neurons at {len(shown)} sites."
        heads = ("Neurons per bin (log)", "Spikes per step")
        return histogram_plot(page, title, about, panels, [], width, heads)

    caption = (
        f"Neurons of {trace.samples} samples by their spikes per step; a negative spike counts as "
        "a positive one does, a spike of several levels as so many. A bar begins at its rate."
    )
    return Figure(f"{name}-rates", title, caption + _first(trace, shown), draw, whole_width=True)


def _first(trace: TraceSummary, shown: Sequence[SiteSummary]) -> str:
    left = len(trace.sites) > MANY
    return f" The first {len(shown)} of {len(trace.sites)} sites are shown." if left else ""


def _pictures(trace: TraceSummary, name: str, of: str) -> list[Figure]:
    return [
        _picture(trace, site, f"{name}-images-{k}", of)
        for k, site in enumerate(site for site in trace.sites if site.maps)
    ]


def _picture(trace: TraceSummary, site: SiteSummary, name: str, of: str) -> Figure:
    title = f"Activations at {site.name}{of}"
    pictures = [
        Picture(f"channel {each.channel}", each.ann, each.snn, each.ends) for each in site.maps
    ]

    def draw(page: str, width: float) -> str:
        about = f"Images of {len(pictures)} channels at {site.name}, of the ANN and of the spikes."
        return pictures_plot(page, title, about, pictures, width)

    caption = (
        f"Sample {trace.sample}: above the ANN's activation, below what the spikes say after "
        f"{trace.timesteps} steps, both on one scale, from black to white as the numbers say. The "
        f"{len(pictures)} channels that the ANN uses most."
    )
    return Figure(name, title, caption, draw)

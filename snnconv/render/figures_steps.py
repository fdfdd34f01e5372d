"""Figures over time steps: the score that decides, distance to the ANN, firing rate, energy."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from snnconv.core.scores import ACCURACY, Score
from snnconv.render import units
from snnconv.render.energy import star
from snnconv.render.figure import (
    Figure,
    Run,
    absent,
    coincident,
    energy_axis,
    late,
    milestones,
    over_steps,
    percent_axis,
    quoted,
    spread,
    steps_axis,
    together,
    without,
)
from snnconv.render.svg.plot import Axis, Rule, Series, line_plot
from snnconv.render.svg.scale import Scale, finite, linear, log
from snnconv.render.svg.styles import ANN, Style
from snnconv.reports import EvaluateReport

ANN_DASHES = (ANN.dash, "8 4", "1 4", "12 3 2 3", "4 2", "16 4", "6 2 2 2 2 2", "12 2 2 2 2 2")
CLOSE = 3.0
"""Points below the ANN that the enlarged plot shows."""


def factor(run: Run) -> float:
    """Return what the score that decides is multiplied by: scores of 0..1 are in percent."""
    return 1.0 if run.report.decisive.relative else 100.0


def score_axis(kind: Score, values: Sequence[float]) -> Axis:
    """Return the axis of a score."""
    if kind.relative:
        return Axis(kind.title, linear(values, 6), exact=units.number)
    return percent_axis(kind.title, _shares(values))


def measured_alike(everybody: Sequence[Run]) -> list[Run]:
    """Return the runs that have the score that decides for the first of them."""
    first = next((run.report.decisive for run in everybody if run.report.by_step), None)
    return [run for run in everybody if run.report.by_step and run.report.decisive == first]


def percent_lines(
    shown: Sequence[Run], get: Callable[[Run], Sequence[float | None]]
) -> list[Series]:
    """Return a line for each run, in percent unless it is an error; a marker for one answer."""
    found = []
    for run in shown:
        points = over_steps(get(run), factor(run))
        marked = milestones(len(get(run)))
        found.append(Series(run.label, points, run.style, marked, line=len(points) > 1))
    return found


def ann_rules(shown: Sequence[Run]) -> list[Rule]:
    """Return a line for each ANN's score; it has the runs' names only if ANNs differ."""
    by_score: dict[float, list[str]] = {}
    for run in shown:
        if run.report.of_ann is not None and run.report.task != "none":
            by_score.setdefault(run.report.of_ann, []).append(run.label)
    rules: list[Rule] = []
    for score, names in by_score.items():
        whose = "" if len(by_score) == 1 else f" of {together(names)}"
        style = replace(ANN, dash=ANN_DASHES[len(rules) % len(ANN_DASHES)])
        shown_as = shown[0].report.decisive.shown(score)
        rules.append(Rule(f"ANN{whose}: {shown_as}", factor(shown[0]) * score, style))
    return rules


def accuracy(everybody: Sequence[Run]) -> Figure:
    """Draw the score that decides over time steps, of every run and of the ANN."""
    shown = measured_alike(everybody)
    if not shown:
        return absent("accuracy", "Accuracy over time steps", "accuracy", "accuracy")
    kind = shown[0].report.decisive
    title = f"{kind.title} over time steps"
    rules = ann_rules(shown)
    series = percent_lines(shown, lambda run: run.report.by_step)
    values = [y for each in series for _, y in each.points] + [rule.y for rule in rules]
    x = steps_axis(max(len(run.report.by_step) for run in shown))
    y = score_axis(kind, values)

    def draw(name: str, width: float) -> str:
        about = f"{kind.title} by time step of {listed(shown)}."
        return line_plot(name, title, about, x, y, series, width, rules)

    what = (
        "Share of test samples classified correctly when the simulation is stopped after step t: "
        "the class is read from"
        if kind == ACCURACY
        else f"{kind.title} on the test samples when the simulation is stopped after step t: "
        "outputs are"
    )
    caption = (
        f"{what} the mean of the output currents over steps 1 to t. One simulation gives all t."
    )
    caption += spread(shown) + late(shown)
    caption += shared((run.label, run.report.of_ann) for run in shown)
    return Figure("accuracy", title, caption + remarks(series, everybody, shown), draw)


def shared(anns: Iterable[tuple[str, Hashable | None]]) -> str:
    """Return which runs have one ANN, where there are several."""
    owners: dict[Hashable, list[str]] = {}
    for label, ann in anns:
        if ann is not None:
            owners.setdefault(ann, []).append(label)
    return "".join(
        f" One ANN for {quoted(names)}."
        for names in owners.values()
        if len(names) > 1 < len(owners)
    )


def _shares(values: Sequence[float]) -> Scale:
    """Return percentages, and exactly 100 if rounding up would pass it."""
    scale = linear(values, 6)
    known = finite(values)
    if known and max(known) <= 100 < scale.hi:
        return linear(values, 6, hi=100.0)
    return scale


def remarks(
    series: Sequence[Series],
    everybody: Sequence[Run],
    shown: Sequence[Run],
    of_ann: bool = False,
) -> str:
    """Return what a plot of runs can't show: lines that cover one another, and missing runs."""
    labels = {run.label for run in shown}
    lines = [(each.label, each.points) for each in series if each.label in labels]
    return coincident(lines) + without(everybody, shown, of_ann)


def listed(shown: Sequence[Run]) -> str:
    """Return the runs' labels."""
    return ", ".join(run.label for run in shown)


def distance(everybody: Sequence[Run]) -> Figure:
    """Draw the last points: accuracy minus the accuracy of the run's own ANN."""
    title = "Close to the ANN"
    shown = [run for run in measured_alike(everybody) if _has_ahead(run)]
    if not shown:
        return absent("distance", title, "the accuracy of network and ANN", "accuracy", everybody)

    kind = shown[0].report.decisive

    def lost(run: Run) -> list[float | None]:
        ann = run.report.of_ann or 0.0
        return [None if a is None else kind.ahead(a, ann) for a in run.report.by_step]

    series = [
        Series(run.label, points, run.style, milestones(len(lost(run))), line=len(points) > 1)
        for run in shown
        for points in [over_steps(lost(run))]
    ]
    highest = max(finite(y for each in series for _, y in each.points), default=0.0)
    best = max(finite(each.points[-1][1] for each in series if each.points), default=0.0)
    # where even the best run is far away, the plot reaches as far down as that
    lowest = min(-CLOSE, max(1.3 * best, -100.0))
    scale = linear([0.0, highest, lowest], 6)
    x = steps_axis(max(len(run.report.by_step) for run in shown))
    y = Axis(f"{_ahead_of(kind)} ({kind.unit})", scale, exact=lambda v: f"{v:+.2f} {kind.unit}")
    rules = [Rule("the ANN", 0.0, ANN)]

    def draw(name: str, width: float) -> str:
        about = f"{_ahead_of(kind)}, by time step, of {listed(shown)}."
        return line_plot(name, title, about, x, y, series, width, rules)

    sample = 100 / max(1, min(run.report.samples for run in shown))
    caption = (
        "The same accuracies, each minus that of its own ANN, enlarged. Zero is a conversion "
        "without loss; lower parts of the lines are cut off. One sample is "
        f"{sample:.2g} point{'s' if sample != 1 else ''}."
        if kind == ACCURACY
        else f"The same, each against the {kind.words} of its own ANN, enlarged. Zero is a "
        "conversion without loss; lower parts of the lines are cut off."
    )
    below = [s.label for s in series if all(y < scale.lo for y in finite(y for _, y in s.points))]
    if below:
        caption += f" Too low at every step: {quoted(below)}."
    return Figure("distance", title, caption + remarks(series, everybody, shown, True), draw)


def _has_ahead(run: Run) -> bool:
    """Return whether a run can be told against its ANN, by how much it is better."""
    ann = run.report.of_ann
    return (
        ann is not None
        and run.report.task != "none"
        and (run.report.decisive.ahead(ann, ann) is not None)
    )


def _ahead_of(kind: Score) -> str:
    if kind.relative:
        return f"{kind.title} better than the ANN's"
    return f"{kind.title} minus the ANN's"


def agreement(everybody: Sequence[Run]) -> Figure:
    """Draw the share of samples on which network and ANN agree, right or wrong."""
    title = "Agreement with the ANN"
    shown = [run for run in everybody if run.report.agreement]
    if not any(run.report.decisive.outcome for run in everybody):
        return Figure("agreement", title, "Not shown: only a classifier puts samples into classes.")
    if not shown:
        return absent("agreement", title, "the agreement with the ANN", "accuracy", everybody)
    series = percent_lines(shown, lambda run: run.report.agreement or [])
    x = steps_axis(max(len(each.points) for each in series))
    y = percent_axis("Same class as the ANN", _shares([v for s in series for _, v in s.points]))

    def draw(name: str, width: float) -> str:
        about = f"Share of samples classified as the ANN does, by time step of {listed(shown)}."
        return line_plot(name, title, about, x, y, series, width)

    caption = (
        "Share of test samples that the network puts into the same class as its ANN, whether that "
        "is the right one or not: two networks of equal accuracy may still differ."
    )
    return Figure("agreement", title, caption + remarks(series, everybody, shown, True), draw)


def firing(everybody: Sequence[Run]) -> Figure:
    """Draw the firing rate of the whole network over time steps."""
    title = "Firing rate over time steps"
    shown = [run for run in everybody if run.report.firing_rate_steps]
    if not shown:
        return absent("firing", title, "the firing rate", "firing-rate")
    series = [
        Series(run.label, over_steps(rates), run.style, milestones(len(rates)))
        for run in shown
        if (rates := run.report.firing_rate_steps)
    ]
    x = steps_axis(max(len(each.points) for each in series))
    scale = linear([y for each in series for _, y in each.points], lo=0.0)
    y = Axis("Spikes per neuron and step", scale)

    def draw(name: str, width: float) -> str:
        about = f"Mean firing rate by time step of {listed(shown)}."
        return line_plot(name, title, about, x, y, series, width)

    caption = (
        "Spikes of all neurons in step t, divided by the number of neurons and averaged over "
        "samples; a spike of several levels counts with its level."
    )
    return Figure("firing", title, caption + remarks(series, everybody, shown), draw)


def tradeoff(everybody: Sequence[Run]) -> Figure:
    """Draw the score that decides against energy, one curve per run, the ANN as a point."""
    shown = [run for run in measured_alike(everybody) if run.report.energy_total_mj_steps]
    if not shown:
        title = "Accuracy against energy"
        return absent("tradeoff", title, "accuracy or energy", "accuracy --metric energy")
    kind = shown[0].report.decisive
    title = f"{kind.title} against energy"
    anns: dict[tuple[float, float], list[Run]] = {}
    for run in shown:
        if place := _ann(run.report):
            anns.setdefault(place, []).append(run)
    by_step = [mj for run in shown for mj in run.report.energy_total_mj_steps or []]
    known = [mj for mj in by_step if mj is not None]
    energies = finite([*known, *(mj for mj, _ in anns)])
    mj_to, unit = units.energy_scale(max(energies, default=1.0))
    series = []
    for run in shown:
        spent, reached = run.report.energy_total_mj_steps or [], run.report.by_step
        steps = [
            (t, mj_to * e, factor(run) * a)
            for t, (e, a) in enumerate(zip(spent, reached, strict=False), start=1)
            if e is not None and a is not None
        ]
        points = tuple((e, a) for _, e, a in steps)
        marked = frozenset(e for t, e, _ in steps if t in milestones(len(spent)))
        series.append(Series(run.label, points, run.style, marked, line=len(points) > 1))
    for (mj, share), owners in anns.items():
        whose = f" of {together([run.label for run in owners])}" if len(anns) > 1 else ""
        style = Style(owners[0].style.colour, marker="star") if whose else ANN
        series.append(
            Series(f"ANN{whose}", ((mj_to * mj, factor(owners[0]) * share),), style, line=False)
        )
    points_y = [y for each in series for _, y in each.points]
    x = energy_axis(log("log10", [mj_to * e for e in energies], 0.04), unit)
    y = score_axis(kind, points_y)

    def draw(name: str, width: float) -> str:
        about = f"{kind.title} against energy per sample of {listed(shown)}, and of the ANN."
        return line_plot(name, title, about, x, y, series, width)

    caption = (
        "Each curve runs through the time steps (markers: powers of two, and T). The energy up to "
        "step t counts every synaptic operation, and the first layer's MACs once."
    )
    caption += late(shown)
    if anns:
        caption += star([run.report for run in shown])
    caption += shared((run.label, _ann(run.report)) for run in shown)
    return Figure("tradeoff", title, caption + remarks(series, everybody, shown), draw)


def _ann(report: EvaluateReport) -> tuple[float, float] | None:
    if report.energy_ann_mj is None or report.of_ann is None or report.task == "none":
        return None
    return report.energy_ann_mj, report.of_ann

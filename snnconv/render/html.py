"""Evaluations as one HTML file that needs nothing else: no network, no script, no other file."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnconv.core.uncertainty import interval
from snnconv.render import energy, marks, provenance, units
from snnconv.render.compare import BOLD, comparable, differences, last, quantities, verdict
from snnconv.render.figure import MANY, Run
from snnconv.render.layers import layer_table
from snnconv.render.sections import Contents
from snnconv.render.significance import against_ann, told_bounds, unjudged
from snnconv.render.svg.elements import tag
from snnconv.render.svg.styles import Style, marker
from snnconv.render.tables import Facts, Table
from snnconv.render.training_curves import TrainingCurve
from snnconv.reports import EvaluateReport, FinetuneReport

SPOKEN = 3
"""Runs that get a sentence each; more are read faster in the table."""


def sentence(run: Run) -> str:
    """Return what came out, in one or two sentences."""
    report, at_end = run.report, last(run.report.by_step)
    steps = f"{report.timesteps} step" + ("s" if report.timesteps > 1 else "")
    said = []
    if at_end is not None:
        bounds = units.shown(units.interval, interval(at_end, report.samples))
        around = f" (95 %: {bounds})" if bounds else ""
        samples = f"{units.count(report.samples)} samples correctly after {steps}"
        text = f"classifies {units.percent(at_end)}{around} of {samples}"
        if report.accuracy is None:
            text = f"scores {_scored(report, at_end)} after {steps}"
        said.append(text + _beside_ann(report))
    steps_to = {m: s for m, s in (report.steps_to_ann or {}).items() if s is not None}
    if steps_to and not unjudged([report]):
        closest = min(steps_to, key=float)
        unit = "%" if report.decisive.relative else "points"
        said.append(f"is first within {closest} {unit} of the ANN at step {steps_to[closest]}")
    if text := energy.sentence(report):
        said.append(text)
    if not said:
        return f"ran for {steps}; neither a score nor energy was measured."
    if len(said) > 1:
        said[-1] = f"and {said[-1]}"
    if energy.twin_wins(report) and not unjudged([report]):
        said[-1] += f", which is {energy.winning(report)}"
    why = unjudged([report]) if report.of_ann is not None else None
    none = f" Nothing is said about the difference from its ANN: {why}." if why else ""
    return "; ".join(said) + "." + none


def _scored(report: EvaluateReport, value: float) -> str:
    """Return a score with two standard errors, and the samples that it is of."""
    kind, error = report.decisive, report.headline_errors.get(report.timesteps)
    around = "" if error is None else f" (within {kind.shown(2 * error)} at 95 %)"
    return f"{kind.shown(value)} in {kind.words}{around} on {units.count(report.samples)} samples"


def _beside_ann(report: EvaluateReport) -> str:
    """Return how far a network is from its ANN, if that is more than chance."""
    found = against_ann(report)
    if found is None or found.unjudged:
        return ""
    p = "" if found.p is None else f", {units.p_value(found.p)}"
    away, unit = units.points(abs(found.ahead) / 100).lstrip("+"), found.score.unit
    if found.differs:
        sides = ("worse than", "better than") if found.score.relative else ("below", "above")
        return f", {away} {unit.split()[0]} {sides[found.ahead > 0]} its ANN{p}"
    if away == "0.00":
        return ", as its ANN does"
    return f", within chance of its ANN ({units.points(found.ahead / 100)} {unit}{p})"


@dataclass(frozen=True)
class Source:
    """Say where a report comes from."""

    title: str
    key: Markup
    facts: tuple[Facts, ...]
    files: Table


def _sources(everybody: Sequence[Run], trainings: Sequence[TrainingCurve]) -> list[Source]:
    found = [
        Source(
            run.label,
            _key(run.style),
            (
                provenance.measurement(run.report),
                provenance.conversion(run.report),
                provenance.environment(run.report),
                provenance.configuration(run.report),
            ),
            provenance.lineage(run.report),
        )
        for run in everybody
    ]
    return found + [
        Source(
            f"{'Fine-tuning' if isinstance(c.report, FinetuneReport) else 'Training'} of {c.label}",
            _key(c.style),
            (
                provenance.training(c.report),
                provenance.configuration(c.report),
                provenance.environment(c.report),
            ),
            provenance.lineage(c.report),
        )
        for c in trainings
    ]


def _compared_with(everybody: Sequence[Run]) -> str:
    """Return what the networks are compared with, as the end of a sentence."""
    alone = [run.report.trained_directly for run in everybody]
    if all(alone):
        return ", without an ANN, because neurons were there in training" if alone else ""
    if any(alone):
        return "; each converted network is compared with the ANN that it was made from"
    if len(alone) == 1:
        return ", compared with the ANN that the network was made from"
    return ", each network compared with the ANN that it was made from"


def _key(style: Style) -> Markup:
    """Return a run's marker, as in the plots."""
    shape = marker(style, 7, 7, 4.2)
    return Markup(tag("svg", shape, class_="key", width=14, height=14, aria_hidden="true"))


def html(page: Contents) -> str:
    """Return the report: summary, plots, layers and provenance of evaluations and trainings."""
    environment = Environment(
        loader=PackageLoader("snnconv.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = lambda text: units.typographic(units.printable(str(text)))
    everybody, evaluations = page.runs, [run.report for run in page.runs]
    found = quantities(evaluations)
    return environment.get_template("report.html.j2").render(
        title=Markup(marks.HTML),
        runs=everybody,
        keys=[_key(run.style) for run in everybody],
        groups={q.group: [each for each in found if each.group == q.group] for q in found},
        bold=BOLD,
        any_best=any(q.best for q in found),
        comparable=comparable(evaluations),
        verdict=verdict(evaluations),
        bounds=told_bounds(evaluations, "Below"),
        differences=differences(evaluations),
        compared_with=_compared_with(everybody),
        sentences=[sentence(run) for run in everybody] if len(everybody) <= SPOKEN else [],
        sections=page.sections,
        drawings={
            figure.name: [(width, Markup(svg)) for width, svg in figure.drawings()]
            for section in page.sections
            for figure in section.figures
        },
        layers=[layer_table(run.report) for run in everybody],
        sources=_sources(everybody, page.trained),
        count=units.count,
        many=MANY,
    )

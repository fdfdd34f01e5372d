"""Evaluations as one HTML file that needs nothing else: no network, no script, no other file."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnconv.render import figures_errors, figures_layers, figures_steps, provenance, units
from snnconv.render.compare import comparable, last, loss, quantities
from snnconv.render.figure import Figure, Run, runs
from snnconv.render.figures_training import training
from snnconv.render.layers import layer_table
from snnconv.render.looks import marker
from snnconv.render.svg import tag
from snnconv.reports import EvaluateReport, FinetuneReport

SPOKEN = 3
"""Runs that get a sentence each; more are read faster in the table."""


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    figures: tuple[Figure, ...]


def sections(everybody: Sequence[Run], finetunes: Sequence[FinetuneReport]) -> list[Section]:
    """All figures in the order in which they are read."""
    by_layer = figures_steps.sin_layers(everybody)
    parts = [
        (
            "accuracy",
            "Accuracy",
            [
                figures_steps.accuracy(everybody),
                figures_steps.distance(everybody),
                figures_steps.tradeoff(everybody),
            ],
        ),
        (
            "activity",
            "Spikes and energy",
            [
                figures_layers.energy(everybody),
                figures_steps.firing(everybody),
                *figures_layers.rates(everybody),
                *figures_layers.sops(everybody),
            ],
        ),
        (
            "errors",
            "Where errors come from",
            [
                figures_steps.sin_runs(everybody),
                *([by_layer] if by_layer else []),
                *figures_errors.errors(everybody),
                *figures_errors.thresholds(everybody),
            ],
        ),
        ("training", "Fine-tuning", training(finetunes, everybody)),
    ]
    return [Section(f"s-{name}", title, tuple(found)) for name, title, found in parts if found]


def sentence(run: Run) -> str:
    """What came out, in one or two sentences."""
    report, at_end = run.report, last(run.report.accuracy)
    steps = f"{report.timesteps} step" + ("s" if report.timesteps > 1 else "")
    said = []
    if at_end is not None:
        text = f"classifies {units.percent(at_end)} of the samples correctly after {steps}"
        lost = loss(report)
        if lost is not None and report.ann_accuracy is not None:
            text += f", {units.points(lost)} points from its ANN's {units.percent(report.ann_accuracy)}"
        said.append(text)
    reached = {m: s for m, s in (report.steps_to_ann or {}).items() if s is not None}
    if reached:
        closest = min(reached, key=float)
        said.append(f"stays within {closest} points of the ANN from step {reached[closest]} on")
    if report.energy_total_mj is not None:
        text = f"takes {units.micro(units.energy(report.energy_total_mj))} per sample"
        if report.energy_total_ratio is not None:
            text += f", {units.percent(report.energy_total_ratio)} of its ANN's energy"
        said.append(text)
    if not said:
        return f"ran for {steps}; neither accuracy nor energy was measured."
    return "; ".join(said) + "."


def _key(run: Run) -> Markup:
    """A run's marker, as in the plots."""
    shape = marker(run.look, 7, 7, 4.2)
    return Markup(tag("svg", shape, class_="key", width=14, height=14, aria_hidden="true"))


def html(
    evaluations: Sequence[EvaluateReport], finetunes: Sequence[FinetuneReport] = ()
) -> str:
    """The report: summary, plots, layers and provenance of all evaluations."""
    environment = Environment(
        loader=PackageLoader("snnconv.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = lambda text: units.micro(units.printable(str(text)))
    everybody = runs(evaluations)
    found = quantities(evaluations)
    parts = sections(everybody, finetunes) if everybody else []
    return environment.get_template("report.html.j2").render(
        runs=everybody,
        keys=[_key(run) for run in everybody],
        groups={q.group: [each for each in found if each.group == q.group] for q in found},
        any_best=any(q.best for q in found),
        comparable=comparable(evaluations),
        sentences=[sentence(run) for run in everybody] if len(everybody) <= SPOKEN else [],
        sections=parts,
        drawings={
            figure.name: [(width, Markup(svg)) for width, svg in figure.drawings()]
            for section in parts
            for figure in section.figures
        },
        layers=[layer_table(run.report) for run in everybody],
        sources=[
            {
                "facts": [
                    provenance.measurement(run.report),
                    provenance.conversion(run.report),
                    provenance.environment(run.report),
                    provenance.configuration(run.report),
                ],
                "files": provenance.lineage(run.report),
            }
            for run in everybody
        ],
        count=units.count,
    )

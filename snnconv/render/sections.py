"""The parts of a report, in the order in which they are read: figures and tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from snnconv.render import figures_errors, figures_layers, figures_steps
from snnconv.render.describe.comparison import compare as comparison_blocks
from snnconv.render.describe.evaluation import exits
from snnconv.render.describe.search import goal, tried
from snnconv.render.describe.training_comparison import compare_training as training_blocks
from snnconv.render.figure import Figure, Run, runs
from snnconv.render.figures_comparison import comparison, training_comparison
from snnconv.render.figures_sin import sin
from snnconv.render.figures_trace import traces
from snnconv.render.figures_training import training
from snnconv.render.functions import function_table
from snnconv.render.tables import Table
from snnconv.render.trace_summary import TraceSummary
from snnconv.render.training_curves import Trained, TrainingCurve, curves
from snnconv.reports import CompareReport, CompareTrainingReport, EvaluateReport, SearchUse


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()


def compared(found: CompareReport) -> Section:
    """Return a comparison of methods: both fronts as plots, and its tables."""
    tables = [block for block in comparison_blocks(found) if isinstance(block, Table)]
    return Section("s-comparison", "Comparison of methods", tuple(comparison(found)), tuple(tables))


def trained(found: CompareTrainingReport) -> Section:
    """Return a comparison of training methods: both fronts as plots, and its tables."""
    tables = [block for block in training_blocks(found) if isinstance(block, Table)]
    figures = tuple(training_comparison(found))
    return Section("s-trainings", "Comparison of training methods", figures, tuple(tables))


def early_exits(everybody: Sequence[Run]) -> Section | None:
    """Return after which steps samples stop: a table for each run that was asked."""
    tables = [
        replace(table, title=f"{run.label}: {table.title}")
        for run in everybody
        if run.report.early_exit
        for table in [exits(run.report, run.report.early_exit)]
    ]
    return Section("s-exit", "Early exit", (), tuple(tables)) if tables else None


def functions(everybody: Sequence[Run]) -> Section | None:
    """Return what functions cost: a table for each run that has some."""
    tables = [
        replace(table, title=f"{run.label}: {table.title}" if len(everybody) > 1 else table.title)
        for run in everybody
        if run.report.functions
        for table in [function_table(run.report, each=len(everybody) == 1)]
    ]
    title = "Functions that do not spike"
    return Section("s-functions", title, (), tuple(tables)) if tables else None


def searches(found: Sequence[SearchUse]) -> Section:
    """Return how methods and T were chosen: a table for each search."""
    tables = [replace(tried(each), title=f"Chosen: {each.method}, {goal(each)}") for each in found]
    return Section("s-search", "How method and T were chosen", (), tuple(tables))


def sections(everybody: Sequence[Run], trainings: Sequence[TrainingCurve]) -> list[Section]:
    """Return all figures in the order in which they are read."""
    parts = [
        (
            "accuracy",
            "Performance",
            [
                figures_steps.accuracy(everybody),
                figures_steps.distance(everybody),
                figures_steps.tradeoff(everybody),
                figures_steps.agreement(everybody),
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
                *sin(everybody),
                *figures_errors.errors(everybody),
                *figures_errors.thresholds(everybody),
            ],
        ),
        ("training", "Training", training(trainings)),
    ]
    return [Section(f"s-{name}", title, tuple(found)) for name, title, found in parts if found]


@dataclass(frozen=True)
class Contents:
    """What a report shows.

    Attributes:
        runs: the evaluations, with labels and styles.
        trained: the trainings behind them.
        sections: figures and tables, in the order in which they are read.
    """

    runs: tuple[Run, ...]
    trained: tuple[TrainingCurve, ...]
    sections: tuple[Section, ...]


def contents(
    evaluations: Sequence[EvaluateReport],
    trainings: Sequence[Trained] = (),
    methods: Sequence[CompareReport | CompareTrainingReport] = (),
    chosen: Sequence[SearchUse] = (),
    traced: Sequence[TraceSummary] = (),
) -> Contents:
    """Return what a report of these shows.

    Args:
        evaluations: of networks.
        trainings: behind them.
        methods: comparisons of methods.
        chosen: searches for method and T behind the networks.
        traced: traces of the networks.
    """
    everybody = runs(evaluations)
    learned = curves(trainings, everybody)
    parts = sections(everybody, learned) if everybody else []
    if traced:
        parts.append(Section("s-trace", "Inside the neurons", tuple(traces(traced))))
    parts += [part for part in (functions(everybody), early_exits(everybody)) if part is not None]
    parts += [
        compared(each) if isinstance(each, CompareReport) else trained(each) for each in methods
    ]
    if chosen:
        parts.append(searches(chosen))
    return Contents(tuple(everybody), tuple(learned), tuple(parts))

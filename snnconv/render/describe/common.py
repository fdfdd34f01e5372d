"""What several reports say in the same words."""

from collections.abc import Iterable, Sequence
from typing import Any

from snnconv.core.names import RATE
from snnconv.core.scores import ACCURACY, Score
from snnconv.core.uncertainty import interval
from snnconv.render import units
from snnconv.render.compare import FUNCTIONS, FUNCTIONS_OF, NON_SPIKING, NON_SPIKING_OF
from snnconv.render.labels import by_events
from snnconv.render.tables import Fact
from snnconv.reports import (
    CorrectionRow,
    DataUse,
    EvaluateReport,
    FinetuneReport,
    ImportRow,
    NetworkReport,
    Report,
)


def data(use: DataUse) -> str:
    """Return the data set with the sizes of its splits."""
    return (
        f"{use.spec}, {units.count(use.train_samples)} training and "
        f"{units.count(use.test_samples)} test samples"
    )


def score_name(kinds: Iterable[Score | None]) -> str:
    """Return what a column of scores is called: by its score, if all rows have the same."""
    names = {(kind or ACCURACY).words for kind in kinds} or {ACCURACY.words}
    return names.pop() if len(names) == 1 else "score"


def non_spiking(done: NetworkReport) -> list[Fact]:
    """Return how much of the network does not spike; nothing of what an older file lacks."""
    if done.non_spiking_share is None:
        return []
    found = [Fact(NON_SPIKING, units.percent(done.non_spiking_share), NON_SPIKING_OF)]
    if done.function_share:
        found.append(Fact(FUNCTIONS, units.percent(done.function_share), FUNCTIONS_OF))
    return found


def latency(steps: int | None) -> list[Fact]:
    """Return the steps until the answer; nothing for an older file."""
    return [] if steps is None else [Fact("latency", str(steps), "steps until the answer")]


def neuron(name: str, params: dict[str, Any], coding: str) -> list[Fact]:
    """Return which neuron stands at the sites, and the coding if it is not that by rates."""
    facts = [Fact("neuron", name, units.pairs(params))]
    return facts if coding == RATE else [*facts, Fact("coding", coding)]


def settings(params: dict[str, Any]) -> str:
    """Return the parameters of a statistic in a line; nothing of those that change nothing."""
    idle = {"scale": 1.0}
    told = {k: v for k, v in params.items() if v is not None and v != idle.get(k)}
    return units.pairs(told)


def corrections(rows: Sequence[CorrectionRow]) -> str:
    """Name the corrections of a network: ``bias (T = 8), potential (T = 8)``."""
    return ", ".join(
        f"{row.method} (any T)" if row.timesteps is None else f"{row.method} (T = {row.timesteps})"
        for row in rows
    )


def imported(row: ImportRow) -> Fact:
    """Return how far a graph is from what it was imported from."""
    how = f"of the largest output, against {row.referee}; {units.number(row.tolerance)} is allowed"
    return Fact("import error", units.number(row.difference), how)


def engine(report: EvaluateReport | FinetuneReport) -> list[Fact]:
    """Return which layers were computed by events; nothing if none was."""
    layers = by_events(report)
    return [Fact("by events", layers, f"--engine {report.config.get('engine')}")] if layers else []


def around(share: float, n: int) -> str:
    """Return the interval and the number of samples."""
    bounds = units.shown(units.interval, interval(share, n))
    return (f"{bounds} % at 95 %, " if bounds else "") + f"n = {units.count(n)}"


def closing(report: Report) -> list[Fact]:
    """Return where the work went and how long it took."""
    facts = [Fact("written", each.path, each.sha256[:12]) for each in report.lineage.outputs]
    use = getattr(report, "data", None)
    if isinstance(use, DataUse):
        facts = [*(Fact("note", note) for note in use.notes), *facts]
    return [*facts, Fact("time", units.seconds(report.seconds))]

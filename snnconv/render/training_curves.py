"""The curves of trainings: one form for what ``train`` and ``finetune`` report, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from snnconv.core.names import short
from snnconv.render.figure import Run
from snnconv.render.svg.styles import Style, run_style
from snnconv.reports import EpochRow, EvaluateReport, FinetuneReport, Report, TrainReport

Trained = TrainReport | FinetuneReport


@dataclass(frozen=True)
class TrainingCurve:
    """A training with its place in the page.

    Attributes:
        start_accuracy: the score that decides, on the validation samples before any training; none
            from scratch.
        start_rate: the firing rate there.
    """

    label: str
    style: Style
    report: Trained
    start_accuracy: float | None
    start_rate: float | None

    @property
    def rows(self) -> list[EpochRow]:
        """An epoch each."""
        return self.report.epochs


def behind(stage: Report, evaluations: Sequence[EvaluateReport]) -> bool:
    """Return whether one of these networks comes from what a stage wrote."""
    made = {file.sha256 for file in stage.lineage.outputs}
    used = {file.sha256 for run in evaluations for file in run.lineage.inputs}
    used |= {step.parent for run in evaluations for step in run.history if step.parent}
    return bool(made & used)


def curves(trainings: Sequence[Trained], everybody: Sequence[Run]) -> list[TrainingCurve]:
    """Return each training with label and style: those of the run that evaluated it, if any."""
    owners = {each.sha256: run for run in everybody for each in run.report.lineage.inputs}
    found: list[TrainingCurve] = []
    used: dict[str, int] = {}
    free = len(everybody)
    for report in trainings:
        written = (owners.get(each.sha256) for each in report.lineage.outputs)
        owner = next((run for run in written if run), None)
        if owner is not None:
            label, style = owner.label, owner.style
        else:
            label, style = _called(report), run_style(free)
            free += 1
        used[label] = used.get(label, 0) + 1
        label = f"{label} ({used[label]})" if used[label] > 1 else label
        start = report if isinstance(report, FinetuneReport) else None
        accuracy = None
        if start:
            accuracy = start.score_epoch0
            accuracy = start.accuracy_epoch0 if accuracy is None else accuracy
        rate = start.firing_rate_epoch0 if start else None
        found.append(TrainingCurve(label, style, report, accuracy, rate))
    return found


def _called(report: Trained) -> str:
    if report.neuron is not None:
        return f"{short(report.neuron).upper()}, T = {report.timesteps}"
    assert isinstance(report, TrainReport)
    return f"ANN ({report.model}, {report.activation})"

"""Each report as facts and tables: what a terminal shows when a command is done."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from snnconv.render.describe import (
    calibration,
    comparison,
    evaluation,
    fitting,
    stages,
    surfaces,
    tracing,
    training_comparison,
)
from snnconv.render.tables import Block
from snnconv.reports import (
    CalibrateReport,
    CompareReport,
    CompareTrainingReport,
    ConvertReport,
    CorrectReport,
    DoctorReport,
    EvaluateReport,
    ExportReport,
    FinetuneReport,
    FitReport,
    InspectReport,
    ListReport,
    PredictReport,
    ReparameterizeReport,
    ReportReport,
    RunReport,
    RunsReport,
    TraceReport,
    TrainReport,
)

_STAGES: dict[type[BaseModel], Callable[[Any], list[Block]]] = {
    TrainReport: stages.train,
    CalibrateReport: calibration.calibrate,
    ConvertReport: stages.convert,
    CorrectReport: stages.correct,
    FinetuneReport: stages.finetune,
    ReparameterizeReport: stages.reparameterize,
    EvaluateReport: evaluation.evaluate,
    PredictReport: evaluation.predict,
    TraceReport: tracing.trace,
    ExportReport: stages.export,
    FitReport: fitting.fit,
    CompareReport: comparison.compare,
    CompareTrainingReport: training_comparison.compare_training,
    ReportReport: evaluation.report,
    InspectReport: surfaces.inspect,
    DoctorReport: surfaces.doctor,
    ListReport: surfaces.listing,
    RunsReport: surfaces.runs,
    RunReport: surfaces.recipe,
}


def describe(report: BaseModel) -> list[Block] | None:
    """Return a report in blocks; none for a kind without a description."""
    how = _STAGES.get(type(report))
    return how(report) if how else None

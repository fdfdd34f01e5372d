"""The reports: a type for every JSON file, a sentence for every key. Nothing here imports torch.

Fractions are 0..1, lists over steps start at t = 1, units stand at the end of a key.
"""

from typing import Any

from pydantic import BaseModel

from snnconv.reports.base import (
    AnswerSteps,
    Difference,
    ErrorReport,
    FileHash,
    ImportRow,
    Interval,
    Latency,
    Lineage,
    LineageRow,
    NetworkReport,
    Report,
    ReportType,
    Steps,
    canonical,
    read,
)
from snnconv.reports.comparison import CellRow, CompareReport, FailedCell, MethodRow
from snnconv.reports.evaluation import (
    EarlyExitUse,
    EvaluateReport,
    Histogram,
    LayerRow,
    Outcomes,
)
from snnconv.reports.exporting import ExportReport, IntegerUse, PeerRow
from snnconv.reports.fitting import FigureRow, FitCoreRow, FitLayerRow, FitReport, MisfitRow
from snnconv.reports.samples import PredictReport, TracedSiteRow, TraceReport
from snnconv.reports.search import SearchUse, TrialRow
from snnconv.reports.stages import (
    CalibrateReport,
    ConvertReport,
    CorrectedSiteRow,
    CorrectionRow,
    CorrectReport,
    DataUse,
    LookRow,
    NormalisationUse,
    ReparameterizeReport,
    SiteRow,
    SubsetUse,
    WindowRow,
)
from snnconv.reports.surfaces import (
    Check,
    CheckpointRow,
    DoctorReport,
    EvaluationRow,
    InspectReport,
    ListItem,
    ListReport,
    NodeRow,
    ObstacleRow,
    PageReport,
    PlanStep,
    ReportReport,
    RunDifference,
    RunReport,
    RunsReport,
    RunSummary,
)
from snnconv.reports.training import EpochRow, FinetuneReport, TrainReport
from snnconv.reports.training_comparison import (
    CompareTrainingReport,
    FailedTraining,
    SeedRow,
    Spread,
    TrainedCellRow,
    TrainedMethodRow,
)

__all__ = [
    "PUBLISHED",
    "REPORTS",
    "AnswerSteps",
    "CalibrateReport",
    "CellRow",
    "Check",
    "CheckpointRow",
    "CompareReport",
    "CompareTrainingReport",
    "ConvertReport",
    "CorrectReport",
    "CorrectedSiteRow",
    "CorrectionRow",
    "DataUse",
    "Difference",
    "DoctorReport",
    "EarlyExitUse",
    "EpochRow",
    "ErrorReport",
    "EvaluateReport",
    "EvaluationRow",
    "ExportReport",
    "FailedCell",
    "FailedTraining",
    "FigureRow",
    "FileHash",
    "FinetuneReport",
    "FitCoreRow",
    "FitLayerRow",
    "FitReport",
    "Histogram",
    "ImportRow",
    "InspectReport",
    "IntegerUse",
    "Interval",
    "Latency",
    "LayerRow",
    "Lineage",
    "LineageRow",
    "ListItem",
    "ListReport",
    "LookRow",
    "MethodRow",
    "MisfitRow",
    "NetworkReport",
    "NodeRow",
    "NormalisationUse",
    "ObstacleRow",
    "Outcomes",
    "PageReport",
    "PeerRow",
    "PlanStep",
    "PredictReport",
    "ReparameterizeReport",
    "Report",
    "ReportReport",
    "ReportType",
    "RunDifference",
    "RunReport",
    "RunSummary",
    "RunsReport",
    "SearchUse",
    "SeedRow",
    "SiteRow",
    "Spread",
    "Steps",
    "SubsetUse",
    "TraceReport",
    "TracedSiteRow",
    "TrainReport",
    "TrainedCellRow",
    "TrainedMethodRow",
    "TrialRow",
    "WindowRow",
    "canonical",
    "json_schema",
    "read",
]

REPORTS: dict[str, type[Report]] = {
    kind.name: kind
    for kind in (
        TrainReport,
        CalibrateReport,
        ConvertReport,
        CorrectReport,
        FinetuneReport,
        ReparameterizeReport,
        EvaluateReport,
        PredictReport,
        TraceReport,
        ExportReport,
        FitReport,
        CompareReport,
        CompareTrainingReport,
        ReportReport,
        InspectReport,
        DoctorReport,
        RunReport,
    )
}


PUBLISHED: dict[str, type[BaseModel]] = {**REPORTS, "error": ErrorReport}
"""Every JSON document that a script may rely on, by the name of its schema."""


def json_schema(name: str) -> dict[str, Any]:
    """Return the published JSON Schema of a stage's report, or of an error."""
    return PUBLISHED[name].model_json_schema(by_alias=True)

"""One model per stage: every option's type, default and help, written once.

The command line builds its signatures from these, recipes are validated by them, and reports carry
them. Nothing here imports torch.
"""

from snnconv.config.base import (
    ARGUMENT,
    DataConfig,
    Engine,
    ModelConfig,
    NormalisationConfig,
    SimulationConfig,
    StageConfig,
    names_of,
)
from snnconv.config.comparison import CompareConfig, SearchConfig
from snnconv.config.outputs import (
    RECORDED,
    ExportConfig,
    FitConfig,
    PredictConfig,
    ReportConfig,
    TraceConfig,
)
from snnconv.config.stages import (
    METRICS,
    CalibrateConfig,
    ConvertConfig,
    CorrectConfig,
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    InspectConfig,
    ReparameterizeConfig,
)
from snnconv.config.training import FinetuneConfig, OptimiserConfig, TrainConfig

__all__ = [
    "ARGUMENT",
    "COMMANDS",
    "METRICS",
    "RECORDED",
    "STAGES",
    "CalibrateConfig",
    "CompareConfig",
    "ConvertConfig",
    "CorrectConfig",
    "DataConfig",
    "DemoConfig",
    "DoctorConfig",
    "Engine",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "FitConfig",
    "InspectConfig",
    "ModelConfig",
    "NormalisationConfig",
    "OptimiserConfig",
    "PredictConfig",
    "ReparameterizeConfig",
    "ReportConfig",
    "SearchConfig",
    "SimulationConfig",
    "StageConfig",
    "TraceConfig",
    "TrainConfig",
    "names_of",
]

STAGES: dict[str, type[StageConfig]] = {
    "train": TrainConfig,
    "calibrate": CalibrateConfig,
    "convert": ConvertConfig,
    "correct": CorrectConfig,
    "finetune": FinetuneConfig,
    "reparameterize": ReparameterizeConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "trace": TraceConfig,
    "export": ExportConfig,
    "fit": FitConfig,
    "report": ReportConfig,
}
"""The stages, in the order in which a recipe runs them."""

COMMANDS: dict[str, type[StageConfig]] = {**STAGES, "compare": CompareConfig}
"""The commands that write a report of their own into the run folder, with ``--out`` elsewhere."""

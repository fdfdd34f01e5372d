"""snnconv: convert trained neural networks into spiking ones, and prove what was done.

The names here are those of :mod:`snnconv.api`; they are looked up when used, so that importing the
package, as ``snnconv --help`` does, costs no torch. Type checkers read them in ``__init__.pyi``.
"""

import importlib
from typing import Any

__all__ = (
    "ArraySplit",
    "CalibrateConfig",
    "Checkpoint",
    "CompareConfig",
    "ConvertConfig",
    "CorrectConfig",
    "DataInfo",
    "Dataset",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "FitConfig",
    "InspectConfig",
    "PredictConfig",
    "ReparameterizeConfig",
    "ReportConfig",
    "SnnconvError",
    "TraceConfig",
    "TrainConfig",
    "calibrate",
    "compare",
    "compare_training",
    "convert",
    "convert_module",
    "correct",
    "evaluate",
    "export",
    "finetune",
    "fit",
    "inspect",
    "load",
    "load_network",
    "predict",
    "reparameterize",
    "report",
    "save",
    "spiking_network",
    "trace",
    "train",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("snnconv.api"), name)
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("snnconv")
    raise AttributeError(f"module 'snnconv' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))

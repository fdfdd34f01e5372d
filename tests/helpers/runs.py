"""The stages as functions, with small settings."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from snnconv.checkpoint import load, sha256
from snnconv.config import (
    CalibrateConfig,
    ConvertConfig,
    CorrectConfig,
    EvaluateConfig,
    FinetuneConfig,
    ReparameterizeConfig,
    TrainConfig,
)
from snnconv.core.progress import Quiet
from snnconv.reports import canonical
from snnconv.stages import calibrate, convert, correct, evaluate, finetune, reparameterize, train

COMMON = {"schema", "stage", "config", "lineage", "environment", "seed", "seconds"}


class InterruptedAt(Quiet):
    """A reader of progress whose user presses Ctrl-C when a task of this name begins."""

    def __init__(self, label):
        self.label = label

    def task(self, label, total):
        if label == self.label:
            raise KeyboardInterrupt
        return super().task(label, total)


def training(folder, progress=None, **options):
    given = {"model": "mlp?width=0.25", "epochs": 12, "limit": 400} | options
    return train.run(TrainConfig(run=folder, **given), progress)


def calibrating(folder, **options):
    return calibrate.run(CalibrateConfig(run=folder, **{"samples": 200} | options))


def converting(folder, **options):
    return convert.run(ConvertConfig(run=folder, **{"timesteps": 6} | options))


def correcting(folder, **options):
    given = {"samples": 64} | options
    return correct.run(CorrectConfig(run=folder, **given))


def finetuning(folder, progress=None, **options):
    given = {"epochs": 2, "limit": 300, "timesteps": 4} | options
    return finetune.run(FinetuneConfig(run=folder, **given), progress)


def reparameterizing(folder, **options):
    given = {"limit": 100} | options
    return reparameterize.run(ReparameterizeConfig(run=folder, **given))


def evaluating(folder, **options):
    return evaluate.run(EvaluateConfig(run=folder, **{"limit": 40} | options))


@dataclass
class Run:
    folder: Path
    reports: dict = field(default_factory=dict)

    def file(self, kind):
        return self.folder / f"{kind}.safetensors"

    def checkpoint(self, kind):
        return load(self.file(kind))


def everything(folder):
    """Train, calibrate, convert, evaluate, fine-tune."""
    run = Run(folder)
    stages = {
        "train": training,
        "calibrate": calibrating,
        "convert": converting,
        "evaluate": evaluating,
        "finetune": finetuning,
    }
    for name, stage in stages.items():
        run.reports[name] = stage(folder)
    return run


def written(folder, stage):
    """A report as the file it is, and as the value that was returned."""
    return json.loads((folder / f"{stage}.json").read_text())


def hashed(files):
    """Files as a report names them."""
    return [{"path": str(file), "sha256": sha256(file)} for file in files]


def check_report(run, stage, reads, writes):
    """What every report must say, and the hashes of what was read and written."""
    data = written(run.folder, stage)
    assert data == json.loads(canonical(run.reports[stage]))
    assert data.keys() >= COMMON
    assert data["schema"] == f"snnconv.{stage}/1"
    assert data["stage"] == stage
    assert data["seconds"] > 0
    assert data["environment"].keys() >= {"torch", "python", "snnconv", "threads"}
    lineage = data["lineage"]
    assert lineage["inputs"] == hashed(run.file(kind) for kind in reads)
    # each under its own name and under that of the newest of its kind
    kept, newest = lineage["outputs"][::2], lineage["outputs"][1::2]
    assert newest == hashed(run.file(kind) for kind in writes)
    assert [file["sha256"] for file in kept] == [file["sha256"] for file in newest]
    assert kept == hashed(Path(file["path"]) for file in kept)
    return data


def same_bytes(tmp_path, stage, kind, **options):
    """Run a stage in two folders; its checkpoint's bytes must be the same."""
    files = []
    for name in ("a", "b"):
        stage(tmp_path / name, **options)
        files.append((tmp_path / name / f"{kind}.safetensors").read_bytes())
    assert files[0] == files[1]

"""Which settings are near the ANN in few steps? Measured on held-out training samples.

python docs/results/few_steps_search.py < settings.jsonl    # adds to docs/results/few_steps.jsonl

A setting is a line of JSON: `T`, and options of the stages: `calibrate`, `convert`, and `correct`,
a list. No sample that a stage may have seen is among the 2,000, and none is of the test split. A
row has the setting, the points below the ANN on the same samples with two standard errors, the
error of the logits (L2 over all, relative to the ANN's), and the energy as a share of the ANN's.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import snnconv
from snnconv.checkpoint import load
from snnconv.comparison.held_out import Draw, left
from snnconv.data.dataset import Dataset, batches, load_dataset
from snnconv.data.frames import frames_per_run
from snnconv.graph.fold import fold
from snnconv.graph.network import Network
from snnconv.metrics.base import METRICS, Batch, Figures, Watch
from snnconv.simulation.build import metric_context, spiking_network
from snnconv.simulation.simulate import simulate

ANN = Path(__file__).parent / "resnet20" / "ann.safetensors"
ROWS = Path(__file__).parent / "few_steps.jsonl"
SAMPLES = 2000
SEEN = [Draw(8192, seed) for seed in (0, 1)]  # more than any stage draws


def converted(setting: dict[str, Any], folder: Path) -> Path:
    """The network of a setting."""
    made = folder / "calibrated.safetensors"
    snnconv.calibrate(str(ANN), data="fashion-mnist", run=folder, **setting.get("calibrate", {}))
    made = folder / "converted.safetensors"
    snnconv.convert(run=folder, timesteps=setting["T"], **setting["convert"])
    for number, options in enumerate(setting.get("correct", ())):
        out = folder / f"corrected-{number}.safetensors"
        snnconv.correct(made, run=folder, out=out, **options)
        made = out
    return made


def measured(file: Path, data: Dataset, order: Tensor, own: Tensor) -> dict[str, Any]:
    """How far a network is from its ANN, and what it costs."""
    checkpoint = load(file)
    info = checkpoint.spiking
    assert info is not None
    snn = spiking_network(checkpoint, engine="auto").eval()
    context = metric_context(checkpoint, snn, info.timesteps)
    metrics = [METRICS.load(name)(context) for name in ("synops", "firing-rate", "energy")]
    watch, found = Watch(metrics, torch.device("cpu")), []
    shown = frames_per_run(checkpoint.data.frames, info.timesteps, info.hold)
    for indices, x, labels in batches(
        data.train, checkpoint.data, order, 100, frames_per_run=shown
    ):
        for metric in metrics:
            metric.begin(Batch(labels, None, {}, indices))
        steps = info.timesteps
        found.append(simulate(snn, x, indices, steps, steps, watch, watch.needs)[-1])
    figures = Figures()
    for metric in metrics:
        figures.totals |= metric.figures(figures).totals
    logits, labels = torch.cat(found), data.train.labels[order]
    right, ann = logits.argmax(1) == labels, own.argmax(1) == labels
    n, lost, won = len(order), int((ann & ~right).sum()), int((~ann & right).sum())
    return {
        "points_below": 100 * (lost - won) / n,
        "two_standard_errors": 200 * (lost + won) ** 0.5 / n,
        "logits_relative_error": float((logits - own).norm() / own.norm()),
        "energy_total_ratio": figures.totals["energy_total_mj"] / figures.totals["energy_ann_mj"],
    }


@torch.no_grad()
def main() -> None:
    """Measure each setting on standard input."""
    data, checkpoint = load_dataset("fashion-mnist"), load(ANN)
    order = left(data.train.labels, SEEN, SAMPLES, 0)
    network = Network(*fold(checkpoint.graph, checkpoint.network)).eval()
    own = torch.cat([network(x) for _, x, _ in batches(data.train, data.info, order, 100)])
    for setting in map(json.loads, sys.stdin):
        with TemporaryDirectory() as folder:
            file = converted(setting, Path(folder))
            row = setting | {"samples": SAMPLES} | measured(file, data, order, own)
        with ROWS.open("a", encoding="utf-8") as rows:
            rows.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

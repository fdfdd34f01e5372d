"""Condense full reports into docs/results/summary.jsonl: what the tables and their tests read.

python docs/results/condense.py runs/results    # every report below this folder

A line has the report's name (its path below the folder), the sha256 of the whole file, and the
keys that are kept. It takes the place of an earlier line of that name; other lines stay.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from snnconv.reports.evaluation import answered

SUMMARY = Path(__file__).parent / "summary.jsonl"
KEPT = (
    # what was run, and on what
    *("schema", "config", "data", "label", "model", "neuron", "params", "seed", "vanilla"),
    *("samples", "timesteps", "timesteps_before", "timesteps_after", "first_layer_passes"),
    # accuracy
    *("accuracy", "accuracy_before", "accuracy_after", "ann_accuracy", "epoch_best", "epochs"),
    *("against_ann", "early_exit"),
    *("accuracy_epoch0", "accuracy_best", "accuracy_last", "steps_to_ann", "window_mismatch_share"),
    # spikes, operations, energy
    *("firing_rate_mean", "firing_rate_steps", "sops_before", "sops_after", "sops_per_sample"),
    *("sops_per_sample_steps", "ann_macs_per_sample", "energy_ann_mj", "energy_total_mj"),
    *("energy_total_mj_steps", "energy_total_ratio"),
)
OF_A_METHOD = (
    *("method", "params", "corrections", "signed", "levels", "calibration_seconds"),
    *("within_1_point", "forward_passes_to_1_point"),
)
OF_A_CELL = (
    *("timesteps", "latency_steps", "accuracy", "against_ann", "firing_rate"),
    *("energy_total_ratio", "energy_memory_ratio", "energy_twin_ratio", "twin_accuracy"),
    "logits_relative_error",
    *("energy_worth_it", "latency_worth_it"),
)
OF_A_SEARCH = ("method", "points", "samples", "ann_accuracy")
OF_A_TRIAL = ("method", "timesteps", "latency_steps", "outcome", "points_below", "samples")
OF_A_TRIAL += ("energy_total_ratio",)
OF_A_TRAINED_CELL = (
    *("timesteps", "latency_steps", "score", "best", "last", "ann_score", "sops_per_sample"),
    *("energy_total_mj", "spikes_per_sample", "step_seconds", "step_cpu_seconds"),
    *("step_memory_mib", "on_energy_front", "on_step_front"),
)
OF_A_LAYER = ("name", "threshold", "sin_ratio", "ans_per_neuron", "ans_per_sin_neuron")


def condensed(report: dict[str, Any]) -> dict[str, Any]:
    """Keep what the tables read; of a report that isn't a stage's, all that it found."""
    if "schema" not in report:
        return {key: value for key, value in report.items() if value not in (None, [], {})}
    if report["schema"].startswith("snnconv.compare/"):
        return compared(report)
    if report["schema"].startswith("snnconv.compare-training/"):
        return trained(report)
    if report["schema"].startswith("snnconv.convert/"):
        return searched(report)
    report = answered(report)
    found = {key: report[key] for key in KEPT if key in report}
    spiking = [row for row in report.get("layers", ()) if row.get("threshold") is not None]
    if spiking and spiking[-1].get("sin_ratio"):
        found["layers"] = [{k: spiking[-1][k] for k in OF_A_LAYER if k in spiking[-1]}]
    return found


def compared(report: dict[str, Any]) -> dict[str, Any]:
    """Keep the same of a comparison, by method and T."""

    def short(row: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        kept = {key: row[key] for key in keys if row.get(key) is not None}
        return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in kept.items()}

    found = short(report, ("schema", "model", "data", "samples", "subset", "ann_accuracy"))
    methods = [
        short(row, OF_A_METHOD) | {"cells": [short(cell, OF_A_CELL) for cell in row["cells"]]}
        for row in report["methods"]
    ]
    return found | {"methods": methods}


def trained(report: dict[str, Any]) -> dict[str, Any]:
    """Keep the same of a comparison of training methods."""

    def cell(row: dict[str, Any]) -> dict[str, Any]:
        kept = {key: row[key] for key in OF_A_TRAINED_CELL if row[key] is not None}
        return kept | {"seeds": [each["seed"] for each in row["seeds"]]}

    heads = ("schema", "model", "data", "samples", "budget", "timesteps", "seeds")
    methods = [
        {"method": row["method"], "stage": row["stage"], "cells": [*map(cell, row["cells"])]}
        for row in report["methods"]
    ]
    return {key: report[key] for key in heads} | {"methods": methods}


def searched(report: dict[str, Any]) -> dict[str, Any]:
    """Keep what ``convert --within`` tried and chose."""
    search = report["search"]
    found = {key: search[key] for key in OF_A_SEARCH} | {"timesteps": report["timesteps"]}
    trials = [{key: trial[key] for key in OF_A_TRIAL} for trial in search["trials"]]
    return found | {"seconds": report["seconds"], "trials": trials}


def load() -> dict[str, dict[str, Any]]:
    """Return every condensed report by its name, ``folder/row``."""
    lines = SUMMARY.read_text(encoding="utf-8").splitlines() if SUMMARY.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def _portable(text: str) -> str:
    """A report without this machine's folders: those of commands.sh become its defaults."""
    for name, usual in (("RESULTS", "runs/results"), ("RUNS", "runs")):
        if own := os.environ.get(name):
            text = text.replace(f"{own.rstrip('/')}/", f"{usual}/")
    return text


def add(folder: Path) -> int:
    """Condense every report below a folder, and return how many there are."""
    rows = load()
    files = sorted(folder.rglob("*.json"))
    for file in files:
        content = file.read_bytes()
        name = file.relative_to(folder).with_suffix("").as_posix()
        digest = hashlib.sha256(content).hexdigest()
        report = condensed(json.loads(_portable(content.decode())))
        rows[name] = {"name": name, "sha256": digest, "report": report}
    lines = (json.dumps(rows[name], separators=(",", ":"), sort_keys=True) for name in sorted(rows))
    SUMMARY.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(files)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python docs/results/condense.py FOLDER-OF-REPORTS")
    print(f"{add(Path(sys.argv[1]))} reports condensed into {SUMMARY}")

"""``snnconv compare --training``: each cell is what its commands give; what is done is kept."""

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import done, environment, here
from helpers.commands import refused as refuses

from snnconv.checkpoint import load
from snnconv.comparison import training
from snnconv.comparison.training import spread
from snnconv.config import CompareConfig
from snnconv.core.progress import Quiet
from snnconv.errors import ExitCode
from snnconv.render.describe.training_comparison import cells as cell_table
from snnconv.reports import CompareTrainingReport, Spread

MODEL = "mlp?width=0.25"
OWN = "title = 'x'\nreference = 'y'\n[train]\nneuron = 'if'\nlr = 0.2\nepochs = 9\ntimesteps = 3\n"
BUDGET = ("--epochs", 2, "--train-limit", 60, "--train-batch-size", 20, "--limit", 30)
WORDS = (MODEL, *BUDGET, "--timesteps", 2, "--data", "digits")


def compared(run, *words):
    result = here("compare", *WORDS, "--run", run, "--json", *words)
    return result, json.loads(result.out)


def cells(report):
    return {
        (row["method"], cell["timesteps"]): cell
        for row in report["methods"]
        for cell in row["cells"]
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A folder, the user's preset in it, and the report of a comparison with two seeds.

    SEW needs residual blocks, which an MLP has not.
    """
    run = tmp_path_factory.mktemp("training")
    own = run / "own.toml"
    own.write_text(OWN)
    words = ("--training", f"{own},ltl,sew", "--seeds", "3,1", "--csv", run / "cells.csv")
    return run, *compared(run, *words)


def test_every_method_has_the_same_budget(both):
    run, result, found = both
    assert result.code == ExitCode.CHECK_FAILED  # SEW
    assert json.loads((run / "compare-training.json").read_text()) == found
    assert found["schema"] == "snnconv.compare-training/1"
    assert found["budget"] == {
        "epochs": 2,
        "batch_size": 20,
        "augment": [],
        "samples": 54,
        "validation_samples": 6,
    }
    assert (found["cells_run"], found["cells_kept"], found["seeds"]) == (4, 0, [3, 1])
    for name, cell in cells(found).items():
        for row in cell["seeds"]:
            report = json.loads(Path(row["training"]).read_text())
            given = report["config"]
            assert [len(report["epochs"]), given["batch_size"], given["limit"]] == [2, 20, 60], name
            assert (given["timesteps"], given["seed"], given["augment"]) == (2, row["seed"], [])
    assert [row["stage"] for row in found["methods"]] == ["train", "finetune"]


def test_a_method_that_fails_leaves_the_others(both):
    _, _, found = both
    assert [(each["method"], each["seed"]) for each in found["failed"]] == [("sew", 1), ("sew", 3)]
    assert "block" in found["failed"][0]["problem"] + found["failed"][0]["found"]
    assert any(said.startswith("sew was not trained") for said in found["warnings"])
    table = cell_table(CompareTrainingReport.model_validate(found))
    assert [row[:3] for row in table.rows][-1] == ("sew", "2", "failed")


def test_a_cell_is_what_its_commands_give_by_hand(both, tmp_path):
    _, _, found = both
    by_hand = ("--epochs", 2, "--limit", 60, "--batch-size", 20, "--seed", 1, "--timesteps", 2)
    how = ("--neuron", "if", "--lr", 0.2, "--data", "digits", "--run", tmp_path)
    done("train", MODEL, *by_hand, *how)
    report = json.loads(done("evaluate", "--limit", 30, "--run", tmp_path, "--json").out)
    row = next(row for row in cells(found)["own", 2]["seeds"] if row["seed"] == 1)
    assert row["score"] == report["accuracy"][-1]
    assert row["ann_score"] is None
    for key in ("sops_per_sample", "energy_total_mj", "spikes_per_sample"):
        assert row[key] == report[key]
    trained = json.loads((tmp_path / "train.json").read_text())
    validation = [epoch["accuracy"] for epoch in trained["epochs"]]
    assert (row["best"], row["last"]) == (max(validation), validation[-1])
    ours, theirs = (
        load(Path(f)).tensors() for f in (row["checkpoint"], tmp_path / "trained.safetensors")
    )
    assert all((ours[name] == tensor).all() for name, tensor in theirs.items())


def test_what_an_answer_and_a_step_cost(both):
    _, _, found = both
    for cell in cells(found).values():
        for row in cell["seeds"]:
            assert row["step_memory_mib"] > 0
            assert row["step_seconds"] > 0
            assert row["step_cpu_seconds"] > 0
        for key in ("score", "energy_total_mj", "step_memory_mib"):
            values = [row[key] for row in cell["seeds"]]
            assert cell[key]["mean"] == pytest.approx(statistics.mean(values), rel=1e-12)
            assert cell[key]["std"] == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert cells(found)["ltl", 2]["ann_score"]["mean"] > 0
    assert any(cell["on_energy_front"] for cell in cells(found).values())
    assert any(cell["on_step_front"] for cell in cells(found).values())


def test_the_spread_of_one_value_and_of_one_that_is_missing():
    assert spread([2.0]) == Spread(mean=2.0, std=None)
    assert spread([1.0, 3.0]) == Spread(mean=2.0, std=statistics.stdev([1, 3]))
    assert spread([1.0, None]) is None


def test_the_csv_has_the_cells(both):
    run, _, found = both
    rows = list(csv.DictReader((run / "cells.csv").read_text().splitlines()))
    assert [(row["method"], row["seeds"]) for row in rows] == [("own", "2"), ("ltl", "2")]
    for row in rows:
        cell = cells(found)[row["method"], int(row["timesteps"])]
        assert float(row["score_mean"]) == cell["score"]["mean"]
        assert float(row["energy_total_mj_std"]) == cell["energy_total_mj"]["std"]


def test_the_page_has_both_fronts(both):
    run = both[0]
    done("report", "--run", run)
    page = (run / "report.html").read_text()
    assert 'id="trained-energy"' in page
    assert 'id="trained-step"' in page


class Stops(Quiet):
    """A user who presses Ctrl-C when a line begins so, and reads the others."""

    def __init__(self, line=None):
        self.line, self.said = line, []

    def say(self, line):
        self.said.append(line)
        if self.line and line.startswith(self.line):
            raise KeyboardInterrupt


def test_what_was_interrupted_goes_on_to_the_same_bytes(both, tmp_path):
    """In the middle of the second training, after its first epoch: nothing is done again."""
    run, own = tmp_path / "run", both[0] / "own.toml"
    config = CompareConfig(
        model=MODEL,
        data="digits",
        training=str(own),
        seeds="3,1",
        timesteps=2,
        epochs=2,
        train_limit=60,
        train_batch_size=20,
        limit=30,
        run=run,
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        training.run(config, Stops("own-t2-s1: epoch   1"))
    assert caught.value.__notes__ == [training.AGAIN]
    first = (run / "compare-training" / "own-t2-s3.json").read_bytes()
    again = Stops()
    found = training.run(config, again)
    assert "own-t2-s1: going on after epoch 1" in again.said
    assert (found.cells_run, found.cells_kept) == (1, 1)
    assert (run / "compare-training" / "own-t2-s3.json").read_bytes() == first
    for seed in (1, 3):
        name = f"compare-training/own-t2-s{seed}-train.safetensors"
        assert (run / name).read_bytes() == (both[0] / name).read_bytes()
    kept = training.run(config, Quiet())
    assert (kept.cells_run, kept.cells_kept) == (0, 2)
    other = training.run(config.model_copy(update={"model": "mlp?width=0.5"}), Quiet())
    assert other.cells_run == 2  # a folder of another network


def test_a_standing_training_of_another_budget_begins_anew(both, tmp_path):
    config = CompareConfig(
        model=MODEL, data="digits", training=str(both[0] / "own.toml"), timesteps=2, epochs=2,
        train_limit=40, limit=10, run=tmp_path,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        training.run(config, Stops("own-t2-s0: epoch   1"))
    found = training.run(config.model_copy(update={"epochs": 1}), Quiet())
    assert (found.cells_run, found.budget.epochs) == (1, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--training", "tet", "--timesteps", 0), "1 to"),
        (("--training", "tett"), "'tet'"),
        (("--training", ","), "all"),
        (("--training", "tet", "--seeds", -1), "whole numbers"),
        (("--training", "tet", "--methods", "signed"), "--training"),
        (("--epochs", 3), "--training"),
        (("--training", "tet", "--weights", "w.pt"), "from scratch"),
        (("net.safetensors", "--training", "tet"), "trains from scratch"),
        (("--training", "bad.toml"), "'lr'"),
    ],
)
def test_options_that_can_not_be_taken(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("title = 'x'\nreference = 'y'\n[train]\nlrr = 1\n")
    result = here("compare", *words, "--run", "run")
    refuses(result, ExitCode.USAGE, "")
    assert said in result.err
    assert not (tmp_path / "run").exists()


# As processes

SIX = (*WORDS, "--training", "sltt,lm-ht", "--seeds", "0,1,2")


def _environment():
    return environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.long
def test_a_comparison_that_was_killed_goes_on(tmp_path):
    """By SIGKILL, in the middle of a training: nothing is half written, nothing is done again."""
    run = tmp_path / "run"
    words = [sys.executable, "-m", "snnconv", "compare", *map(str, SIX), "--run", str(run)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, env=_environment(), **quiet)
    try:
        while len(before := list((run / "compare-training").glob("*-s?.json"))) < 2:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    contents = {file: file.read_bytes() for file in before}
    found = json.loads(done("compare", *SIX, "--run", run, "--json").out)
    assert found["cells_run"] <= 6 - len(before)
    assert found["cells_run"] + found["cells_kept"] == 6
    assert all(file.read_bytes() == content for file, content in contents.items())
    left = [file for file in (run / "compare-training").iterdir() if file.name.startswith(".")]
    assert not left


@pytest.mark.long
def test_two_processes_divide_the_trainings(tmp_path):
    one = json.loads(done("compare", *SIX, "--run", tmp_path / "one", "--json").out)
    main = tmp_path / "main.py"  # torchrun would take --run for its own
    words = ["compare", *map(str, SIX), "--run", str(tmp_path / "two")]
    main.write_text(f"from snnconv.cli import app\n\napp({words!r})\n")
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*two, str(main)], env=_environment(), cwd=tmp_path, check=True)
    other = json.loads((tmp_path / "two" / "compare-training.json").read_text())
    assert (other["cells_run"], other["environment"]["processes"]) == (one["cells_run"], 2)
    for key, cell in cells(one).items():
        assert cells(other)[key]["score"] == cell["score"]
        assert cells(other)[key]["energy_total_mj"] == cell["energy_total_mj"]
    shutil.rmtree(tmp_path / "one")

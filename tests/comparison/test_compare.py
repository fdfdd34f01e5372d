"""``snnconv compare``: each cell is what its stages give by hand; what is done is kept."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from helpers.commands import done as finished
from helpers.commands import environment, here
from helpers.commands import refused as refuses

from snnconv.comparison.answer_time import fastest
from snnconv.comparison.grid import METRICS as MEASURED
from snnconv.config.presets import CONVERSIONS
from snnconv.errors import ExitCode
from snnconv.render.describe.comparison import compare as describe
from snnconv.render.tables import Table
from snnconv.reports import CompareReport

FEW = ("--limit", 40, "--samples", 64)
METHODS = "percentile,signed,lm-ht-uniform,calibration-light"


def done(*words):
    """The report of a command."""
    return json.loads(finished(*words, "--json").out)


def compare(run, *words):
    return done("compare", *FEW, "--run", run, *words)


def cells(report):
    return {
        (row["method"], cell["timesteps"]): cell
        for row in report["methods"]
        for cell in row["cells"]
    }


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A folder, the report of a comparison in it, and its CSV file."""
    run = tmp_path_factory.mktemp("compared")
    table = run / "cells.csv"
    found = compare(run, "--methods", METHODS, "--timesteps", "1,4,2", "--csv", table)
    return run, found, table


def test_the_runs_own_network_is_compared(tmp_path, monkeypatch):
    """Not the embedded one, though calibrate has read it from a file outside of the run."""
    monkeypatch.chdir(tmp_path)
    layers = "nn.Flatten(), nn.Linear(64, 4), nn.GELU(), nn.Linear(4, 4), nn.ReLU()"
    text = f"from torch import nn\ndef one(): return nn.Sequential({layers}, nn.Linear(4, 10))"
    (tmp_path / "net.py").write_text(text)
    finished("calibrate", "net.py:one", "--non-relu", "analog", "--samples", 64, "--run", "r")
    report = compare("r", "--methods", "signed", "--timesteps", "1", "--limit", 20)
    assert report["model"] == "net.py:one"


def test_the_report(compared):
    run, found, _ = compared
    assert found == json.loads((run / "compare.json").read_text())
    assert found["timesteps"] == [1, 2, 4]
    assert [row["method"] for row in found["methods"]] == METHODS.split(",")
    assert {row["method"]: row["one_simulation"] for row in found["methods"]} == {
        "percentile": True,
        "signed": False,
        "lm-ht-uniform": False,
        "calibration-light": False,
    }
    assert (found["cells_run"], found["cells_kept"]) == (1 + 3 + 3 + 3, 2)
    assert found["samples"] == found["subset"]["samples"] == 40


@pytest.mark.parametrize(
    ("method", "T"),
    [("percentile", 2), ("signed", 2), ("lm-ht-uniform", 4), ("calibration-light", 2)],
)
def test_a_cell_is_what_its_stages_give_by_hand(compared, tmp_path, method, T):
    """Not from the grid's options: as a user would type them."""
    options = {
        "percentile": (
            ("--method", "percentile", "--granularity", "layer"),
            ("--neuron", "if"),
        ),
        "signed": (("--method", "mse", "--granularity", "channel"), ("--neuron", "signed")),
        "lm-ht-uniform": (
            ("--method", "mse", "--granularity", "channel"),
            ("--neuron", "lm-ht", "--param", "levels=2"),
        ),
        "calibration-light": (("--method", "mse", "--granularity", "channel"), ()),
    }
    calibrate, convert = options[method]
    done("calibrate", *calibrate, "--samples", 64, "--run", tmp_path)
    done("convert", *convert, "--timesteps", T, "--run", tmp_path)
    if method == "calibration-light":
        done("correct", "--method", "bias", "--run", tmp_path)
    by_hand = done("evaluate", "--limit", 40, "--run", tmp_path)
    cell = cells(compared[1])[method, T]
    assert cell["accuracy"] == by_hand["accuracy"][-1]
    assert cell["accuracy_interval"] == by_hand["accuracy_interval"][-1]
    assert cell["energy_total_mj"] == by_hand["energy_total_mj"]
    assert cell["energy_total_ratio"] == pytest.approx(by_hand["energy_total_ratio"], rel=1e-12)
    assert cell["firing_rate"] == pytest.approx(by_hand["firing_rate_mean"], rel=1e-12)
    assert cell["sops_per_sample"] == by_hand["sops_per_sample"]
    assert cell["against_ann"] == by_hand["against_ann"]
    assert cell["latency_steps"] == by_hand["latency_steps"]
    assert cell["latency_steps"] == (4 * T if method == "lm-ht-uniform" else T)  # four layers wait


def test_a_cell_at_steps_that_are_no_power_of_two_runs_on_its_own(tmp_path):
    """An evaluation keeps which samples are right at its T and at powers of two alone."""
    run = tmp_path / "compared"
    found = compare(run, "--methods", "percentile", "--timesteps", "6,3,2")
    assert (found["cells_run"], found["cells_kept"]) == (2, 1)
    calibrate = ("--method", "percentile", "--granularity", "layer", "--samples", 64)
    done("calibrate", *calibrate, "--run", tmp_path)
    done("convert", "--timesteps", 3, "--run", tmp_path)
    by_hand = done("evaluate", "--limit", 40, "--run", tmp_path)
    cell = cells(found)["percentile", 3]
    assert cell["accuracy"] == by_hand["accuracy"][-1]
    for key in ("energy_total_mj", "sops_per_sample", "against_ann", "latency_steps"):
        assert cell[key] == by_hand[key]


def typed(options):
    """A table of a preset as a user would type it."""
    for name, value in options.items():
        for each in [f"{k}={v}" for k, v in value.items()] if name == "param" else [value]:
            yield from (f"--{name}", each)


@pytest.mark.long
def test_the_cell_of_every_preset_is_what_its_stages_give_by_hand(tmp_path):
    """Number by number, corrections included."""
    run, by_name = tmp_path / "run", CONVERSIONS.names()
    done("train", "mlp?width=0.25", "--data", "digits", "--epochs", 3, "--run", run)
    report = compare(run, "--methods", "all", "--timesteps", 2)
    assert ([row["method"] for row in report["methods"]], report["failed"]) == (by_name, [])
    for name in by_name:
        folder, preset, cell = tmp_path / name, CONVERSIONS.load(name), cells(report)[name, 2]
        calibrate = ("calibrate", run / "ann.safetensors", "--samples", 64, "--run", folder)
        done(*calibrate, *typed(preset.calibrate))
        done("convert", *typed(preset.convert), "--timesteps", 2, "--run", folder)
        for each in preset.correct:
            done("correct", *typed(each), "--run", folder)
        metrics = [word for each in MEASURED for word in ("--metric", each)]
        by_hand = done("evaluate", "--limit", 40, *metrics, "--run", folder)
        assert cell["accuracy"] == by_hand["accuracy"][-1], name
        for key in (
            *("energy_total_mj", "energy_memory_mj", "energy_twin_ratio", "twin_accuracy"),
            *("twin_bits", "sops_per_sample", "against_ann", "latency_steps"),
        ):
            assert cell[key] == by_hand[key], (name, key)
        assert cell["firing_rate"] == pytest.approx(by_hand["firing_rate_mean"], rel=1e-12)


def test_the_time_to_the_first_answer_near_the_ann(compared):
    found = compared[1]["methods"]
    assert any(row["within_1_point"] for row in found)
    for row in found:
        passes = row["forward_passes_to_1_point"]
        assert (passes is None) == (row["within_1_point"] is None)
        assert passes is None or passes > 0


def test_the_fastest_of_rounds_that_count_takes_the_time():
    """The first round of each, which compiles, does not count."""
    time, durations = [0.0], {"a": [9, 5, 4, 7, 6, 8], "b": [1, 2, 3, 2, 3, 2]}

    def work(name):
        time[0] += durations[name].pop(0)

    assert fastest(partial(work, "a"), partial(work, "b"), clock=lambda: time[0]) == [4, 2]
    assert durations["a"] == [7, 6, 8]  # no round begins after ten seconds


def test_the_fronts_are_marked(compared):
    found = cells(compared[1]).values()
    for mark, cost in (
        ("on_energy_front", "energy_total_mj"),
        ("on_latency_front", "latency_steps"),
    ):
        for cell in found:
            beaten = any(
                other["accuracy"] >= cell["accuracy"]
                and other[cost] <= cell[cost]
                and (other["accuracy"] > cell["accuracy"] or other[cost] < cell[cost])
                for other in found
            )
            assert cell[mark] == (not beaten)


def test_the_csv_has_the_cells(compared):
    _, found, table = compared
    rows = list(csv.DictReader(table.read_text().splitlines()))
    every = cells(found)
    assert len(rows) == len(every)
    for row in rows:
        cell = every[row["method"], int(row["timesteps"])]
        assert float(row["accuracy"]) == cell["accuracy"]
        assert float(row["energy_total_mj"]) == cell["energy_total_mj"]
        assert row["on_energy_front"] == str(cell["on_energy_front"])


def test_what_is_done_is_kept(compared, tmp_path):
    """A comparison that was killed goes on; so does one with another method more."""
    run = tmp_path / "run"
    shutil.copytree(compared[0], run)
    first = compare(run, "--methods", METHODS, "--timesteps", "1,2,4")
    for file in (run / "compare").glob("signed-t2*"):
        file.unlink()  # as if it had been killed there
    again = compare(run, "--methods", METHODS, "--timesteps", "1,2,4")
    assert again["cells_run"] == 1
    assert [strip(row) for row in again["methods"]] == [strip(row) for row in first["methods"]]


def strip(row):
    return row | {"calibration_seconds": None, "forward_passes_to_1_point": None}  # times


def test_another_network_in_the_folder_runs_again(compared, tmp_path):
    run = tmp_path / "run"
    done("train", "mlp", "--data", "digits", "--epochs", 1, "--limit", 200, "--run", run)
    words = ("--methods", "percentile", "--timesteps", 2)
    first = compare(run, *words)
    assert first["model"] == "mlp"
    done("train", "mlp", "--data", "digits", "--epochs", 2, "--limit", 200, "--run", run)
    again = compare(run, *words)
    assert again["cells_run"] == 1
    assert again["ann_accuracy"] != first["ann_accuracy"]


def test_other_samples_run_again(tmp_path):
    words = ("--methods", "percentile", "--timesteps", 2, "--run", tmp_path)
    done("compare", *FEW, *words)
    found = done("compare", "--limit", 30, "--samples", 64, *words)
    assert (found["cells_run"], found["samples"]) == (1, 30)


def test_a_method_of_the_users_own(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        "title = 'x'\nreference = 'y'\n[calibrate]\nmethod = 'max'\n[convert]\nneuron = 'lif'\n"
    )
    found = compare(tmp_path / "run", "--methods", f"{own},signed", "--timesteps", 2)
    assert [row["method"] for row in found["methods"]] == ["own", "signed"]
    assert found["methods"][0]["neuron"] == "lif"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--timesteps", 0), "1 to"),
        (("--timesteps", "4,x"), "timesteps"),
        (("--timesteps", ","), "steps"),
        (("--methods", "singed"), "signed"),
        (("--methods", ","), "all"),
        (("--csv", "cells.txt"), ".csv"),
    ],
)
def test_options_that_can_not_be_taken(tmp_path, words, said):
    result = here("compare", *words, "--run", tmp_path / "run")
    refuses(result, ExitCode.USAGE, "")
    assert said in result.err
    assert not (tmp_path / "run").exists()


def test_a_network_that_can_not_be_converted(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential(nn.Flatten(), "
        "nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))\n"
    )
    result = here("compare", f"{file}:make", "--data", "digits", "--run", tmp_path / "run")
    refuses(result, ExitCode.UNSUPPORTED, "")
    assert "gelu" in result.err.lower()


def greedy(folder):
    """A method with a correction that holds 4 MiB of each sample."""
    text = (
        "from snnconv.corrections.bias import Bias\n"
        "class Greedy(Bias):\n"
        "    def held(self, network, timesteps):\n"
        "        return 2**20\n"
    )
    (folder / "greedy.py").write_text(text)
    correct = f'[[correct]]\nmethod = "{folder / "greedy.py"}:Greedy"\n'
    method = folder / "greedy.toml"
    method.write_text(f'title = "greedy"\nreference = "none"\n[convert]\nneuron = "if"\n{correct}')
    return method


def test_a_method_that_fails_leaves_the_others(compared, tmp_path):
    """Of 30 MiB, a correction does not see its samples; nothing else needs so much."""
    words = ("--methods", f"{greedy(tmp_path)},percentile", "--timesteps", "1,2", *FEW)
    little = (*words, "--memory", "30MiB", "--run", tmp_path)
    result = here("compare", *little, "--json")
    assert result.code == ExitCode.CHECK_FAILED
    found = json.loads(result.out)
    assert [(row["method"], row["timesteps"]) for row in found["failed"]] == [
        ("greedy", 1),
        ("greedy", 2),
    ]
    assert {row["code"] for row in found["failed"]} == {ExitCode.USAGE}
    for row in found["failed"]:
        assert row["problem"].startswith("memory does not hold what a correction sees")
    assert (found["cells_run"], found["cells_kept"]) == (1, 1)
    for key, cell in cells(found).items():
        whole = cells(compared[1])[key]
        for name in ("accuracy", "energy_total_mj", "sops_per_sample", "latency_steps"):
            assert cell[name] == whole[name], key
    (said,) = found["warnings"]
    assert "greedy at T = 1, 2 was not measured: memory does not hold" in said
    first = describe(CompareReport.model_validate(found))[1]
    assert first.rows[1] == ("greedy", "failed", "failed")
    again = json.loads(here("compare", *little, "--json").out)
    assert (again["cells_run"], len(again["failed"])) == (0, 2)
    after = done("compare", *words, "--memory", "1GiB", "--run", tmp_path)
    assert (after["failed"], len(cells(after))) == ([], 4)


def test_where_every_method_fails_the_error_is_told(tmp_path):
    words = ("--methods", greedy(tmp_path), "--timesteps", 2, *FEW, "--memory", "30MiB")
    result = here("compare", *words, "--run", tmp_path)
    refuses(result, ExitCode.USAGE, "memory does not hold what a correction sees")


def test_energies_by_the_other_conventions_are_those_by_hand(compared):
    """Inside a longer run the twin is another, and its cells are null."""
    known = 0
    for (_, T), cell in cells(compared[1]).items():
        evaluation = json.loads(Path(cell["report"]).read_text())
        whole = evaluation["timesteps"] == T
        for key in ("energy_twin_ratio", "twin_accuracy", "twin_bits"):
            assert cell[key] == (evaluation[key] if whole else None)
        assert cell["energy_memory_mj"] == evaluation["energy_memory_mj_steps"][T - 1]
        ann = evaluation["energy_memory_ann_mj"]
        assert ann == compared[1]["energy_memory_ann_mj"]
        assert cell["energy_memory_ratio"] == cell["energy_memory_mj"] / ann
        known += whole
    assert known


def test_the_tables_have_each_convention(compared):
    report = CompareReport.model_validate(compared[1])
    tables = {block.title: block for block in describe(report) if isinstance(block, Table)}
    assert tables["Energy / the quantized twin's, by T"].best == frozenset()
    assert "Energy with memory / the ANN's, by T" in tables
    assert {"/ twin's", "twin"} <= {column.title for column in tables["Methods"].columns}


def test_marks_are_of_what_is_beyond_chance(compared):
    report = CompareReport.model_validate(compared[1])
    tables = {block.title: block for block in describe(report) if isinstance(block, Table)}
    for title, key in (
        ("Accuracy by T", "latency_worth_it"),
        ("Energy / the ANN's, by T", "energy_worth_it"),
    ):
        marked = {
            (r, c)
            for r, row in enumerate(report.methods)
            for c, cell in enumerate(row.cells, start=1)
            if getattr(cell, key)
        }
        assert tables[title].best == marked
        assert tables[title].mark.endswith("by more than chance")


def test_the_page_has_both_fronts_and_the_tables(compared, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(compared[0], run)
    report = done("report", "--run", run)
    page = (run / "report.html").read_text()
    assert 'id="compared-energy"' in page
    assert 'id="compared-latency"' in page
    cell = cells(compared[1])["percentile", 4]
    assert f">{100 * cell['accuracy']:.2f}" in page
    paying = {
        cell["report"]
        for cell in cells(compared[1]).values()
        if cell["on_energy_front"] or cell["on_latency_front"]
    }
    assert {each["file"] for each in report["runs"]} == paying


# Interrupted, and divided

FOUR = ("--methods", "percentile,signed,signed-4,rmp", "--timesteps", "2,3", *FEW)


def killed_after(count, run):
    """Start a comparison as a process, kill it once so many cells are done; those cells' files."""
    words = [sys.executable, "-m", "snnconv", "compare", *map(str, FOUR), "--run", str(run)]
    process = subprocess.Popen(
        words,
        env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while len(cells := list((run / "compare").glob("*-t?.json"))) < count:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    return {file: file.read_bytes() for file in cells}


def test_a_comparison_that_was_killed_goes_on(tmp_path):
    """By SIGKILL, in the middle of a cell: nothing is half written, nothing is done again."""
    run = tmp_path / "run"
    before = killed_after(2, run)
    found = done("compare", *FOUR, "--run", run)
    every = 1 + 1 + 2 + 2  # percentile and rmp: one simulation each
    assert found["cells_run"] <= every - len(before)
    assert found["cells_run"] + found["cells_kept"] == 8
    for file, content in before.items():
        assert file.read_bytes() == content
    assert not [file for file in (run / "compare").iterdir() if file.name.startswith(".")]
    whole = done("compare", *FOUR, "--run", tmp_path / "whole")
    for key, cell in cells(whole).items():
        other = cells(found)[key]
        for name in ("accuracy", "energy_total_mj", "sops_per_sample", "on_energy_front"):
            assert other[name] == cell[name], key


def by_two(run, folder):
    """The report of a comparison that two processes divide."""
    words = ["compare", *map(str, FOUR), "--run", str(run)]
    main = folder / "main.py"  # torchrun would take --run for its own
    main.write_text(f"from snnconv.cli import app\n\napp({words!r})\n")
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*two, str(main)],
        env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads((run / "compare.json").read_text())


@pytest.mark.long
def test_two_processes_divide_the_cells(tmp_path):
    one = done("compare", *FOUR, "--run", tmp_path / "one")
    two = by_two(tmp_path / "two", tmp_path)
    assert two["environment"]["processes"] == 2
    assert (two["cells_run"], two["cells_kept"]) == (one["cells_run"], one["cells_kept"])
    names = {"report", "checkpoint", "config"}
    for key, cell in cells(one).items():
        other = cells(two)[key]
        assert {k: v for k, v in other.items() if k not in names} == {
            k: v for k, v in cell.items() if k not in names
        }
    for name in ("signed-t2-1-convert.safetensors", "rmp-t3-1-convert.safetensors"):
        contents = [(tmp_path / each / "compare" / name).read_bytes() for each in ("one", "two")]
        assert contents[0] == contents[1]  # each cell is one process's work, bit by bit
    evaluations = [
        json.loads(file.read_text()) for file in (tmp_path / "two" / "compare").glob("*-t?.json")
    ]
    assert not [each for each in evaluations if "processes" in each["environment"]]
    again = by_two(tmp_path / "two", tmp_path)
    assert (again["cells_run"], again["cells_kept"]) == (0, 8)

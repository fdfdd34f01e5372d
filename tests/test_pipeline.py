"""Recipes: what runs, what is skipped, what wins; and a report with the evaluations it lacks."""

import json
import os

import pytest
from helpers.commands import done, files, here, refused

from snnconv.config import EvaluateConfig, ReportConfig
from snnconv.core.names import file_name
from snnconv.core.progress import Quiet
from snnconv.errors import CheckFailedError, ExitCode
from snnconv.pipeline import plan, run_recipe
from snnconv.stages import evaluate, report

RECIPE = """
run = "out"
seed = 1

[report]

[calibrate]
samples = 64
method = "percentile"
param = {percentile = 99}

[convert]
neuron = "if"
timesteps = 2

[evaluate]
limit = 20
"""
STAGES = ["calibrate", "convert", "evaluate", "report"]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    return file


def outcomes(*words):
    """What became of each stage of a recipe."""
    steps = json.loads(done("run", "recipe.toml", *words, "--json").out)["steps"]
    assert [step["stage"] for step in steps] == STAGES
    return [step["outcome"] for step in steps]


def planned(recipe, settings=(), **flags):
    return dict(plan(recipe, list(settings), flags))


# The plan


def test_stages_run_in_their_order_not_the_files(recipe):
    assert list(planned(recipe)) == STAGES


def test_every_stage_reads_what_the_one_before_it_wrote(recipe):
    found = planned(recipe)
    assert found["calibrate"].model is None
    assert str(found["convert"].checkpoint) == "out/calibrated.safetensors"
    assert str(found["evaluate"].checkpoint) == "out/converted.safetensors"
    assert [str(file) for file in found["report"].evaluations] == ["out/evaluate.json"]
    recipe.write_text(
        '[train]\nout = "a/net.safetensors"\n[calibrate]\n[convert]\n[finetune]\n[evaluate]\n'
        'out = "b/result.json"\n[report]\n'
    )
    found = planned(recipe)
    assert found["calibrate"].model == "a/net.safetensors"
    assert str(found["evaluate"].checkpoint) == "snnconv-run/finetuned.safetensors"
    assert [str(file) for file in found["report"].evaluations] == ["b/result.json"]


def test_a_checkpoint_named_in_the_recipe_is_read(recipe):
    recipe.write_text('[calibrate]\n[convert]\ncheckpoint = "mine.safetensors"\n')
    assert str(planned(recipe)["convert"].checkpoint) == "mine.safetensors"


def test_what_wins(recipe):
    """Flag over --set over the stage's table over the recipe's head over the default."""
    recipe.write_text("seed = 1\n[convert]\n[calibrate]\nseed = 2\n")
    assert planned(recipe)["convert"].seed == 1
    assert planned(recipe)["calibrate"].seed == 2
    assert planned(recipe, ["calibrate.seed=3"])["calibrate"].seed == 3
    flagged = planned(recipe, ["calibrate.seed=3"], seed=4, device=None)
    assert [config.seed for config in flagged.values()] == [4, 4]
    assert flagged["convert"].timesteps == 8
    assert planned(recipe, ["convert.timesteps=8"])["convert"].timesteps == 8
    assert flagged["convert"].device == "auto"


def test_set_reaches_into_parameters(recipe):
    found = planned(recipe, ["calibrate.param.percentile=98", "convert.param.v0=0"])
    assert found["calibrate"].param == {"percentile": 98}
    assert found["convert"].param == {"v0": 0}


def test_set_adds_a_stage(recipe):
    assert list(planned(recipe, ["finetune.epochs=1"])) == [*STAGES[:2], "finetune", *STAGES[2:]]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(recipe):
    before = files(recipe.parent)
    result = done("run", "recipe.toml", "--dry-run", "--set", "convert.timesteps=5")
    assert files(recipe.parent) == before
    assert [path.name for path in recipe.parent.iterdir()] == ["recipe.toml"]
    places = [result.out.index(stage) for stage in STAGES]
    assert places == sorted(places)
    assert "timesteps=5" in result.out
    assert outcomes("--dry-run") == ["planned"] * 4


@pytest.mark.parametrize(
    ("text", "settings", "problem", "found", "remedy"),
    [
        ("[calibrat]", [], "recipe.toml can't be used", "'calibrat'", "'calibrate'?"),
        ("sed = 3\n[convert]", [], "recipe.toml can't be used", "'sed'", "'seed'?"),
        ("convert = 3", [], "recipe.toml can't be used", "'convert'", ""),
        ("[convert]\ntimestep = 3", [], "no such option", "'timestep'", "'timesteps'?"),
        ("[convert]\ntimesteps = 0", [], "option timesteps of stage 'convert'", "0", "1 or more"),
        ("[convert]\nparam = 3", [], "option param of stage 'convert'", "3", ""),
        ("[convert]\ntimesteps = 'x'", [], "option timesteps of stage", "'x'", "whole number"),
        ("[report]\nrun = 3", [], "option run of stage", "3", ""),
        ("[convert\nx = 1", [], "can't be read", "line 1", "snnconv docs recipes"),
        ("", [], "can't be run", "no stage in it", "snnconv docs recipes"),
        ("[convert]", ["timesteps=3"], "--set can't be used", "'timesteps'", "STAGE.OPTION=VALUE"),
        ("[convert]", ["convrt.x=3"], "--set can't be used", "'convrt.x'", "'convert'?"),
        ("[convert]", ["convert.timesteps"], "can't be read", "timesteps", "NAME=VALUE"),
        ("[convert]", ["convert.neurn=if"], "no such option", "'neurn'", "'neuron'?"),
        ("[convert]\nneuron='if'", ["convert.neuron.x=1"], "--set", "'if'", "convert.neuron=VALUE"),
    ],
)
def test_a_recipe_that_can_not_be_taken(text, settings, problem, found, remedy, recipe):
    recipe.write_text(text)
    given = [word for setting in settings for word in ("--set", setting)]
    result = here("run", "recipe.toml", *given)
    refused(result, ExitCode.USAGE, problem, found, remedy)
    assert list(files(recipe.parent)) == ["recipe.toml"]


def test_a_recipe_that_is_none(recipe):
    refused(here("run", "lost.toml"), ExitCode.USAGE, "lost.toml can't be read", "No such file")
    recipe.write_bytes(b"\xff\xfe")
    refused(here("run", "recipe.toml"), ExitCode.USAGE, "can't be read", "utf-8")


# Runs


def test_a_recipe_runs_once(recipe):
    assert outcomes() == ["run"] * 4
    folder = recipe.parent / "out"
    assert {"run.json", "report.html", "converted.safetensors"} <= set(files(folder))
    before = files(folder)
    assert outcomes() == ["skipped"] * 4
    after = files(folder)
    assert {name for name in after if after[name] != before.get(name)} == {"run.json"}

    # an option that changes, and everything behind it
    assert outcomes("--set", "convert.timesteps=3") == ["skipped", "run", "run", "run"]
    assert outcomes() == ["skipped", "run", "run", "run"]
    assert outcomes("--set", "evaluate.limit=10") == ["skipped", "skipped", "run", "run"]
    assert outcomes("--seed", 5) == ["run"] * 4


def test_what_was_changed_or_lost_is_made_again(recipe):
    outcomes()
    folder = recipe.parent / "out"
    right = (folder / "converted.safetensors").read_bytes()
    (folder / "converted.safetensors").write_bytes(b"changed")
    assert outcomes()[:2] == ["skipped", "run"]
    assert (folder / "converted.safetensors").read_bytes() == right
    (folder / "report.md").unlink()
    assert outcomes() == ["skipped"] * 3 + ["run"]
    (folder / "calibrate.json").write_text("{}")
    assert outcomes()[0] == "run"
    os.utime(folder / "converted.safetensors")
    assert outcomes() == ["skipped"] * 4


def test_a_foreign_file_that_is_newer_is_not_read(recipe):
    """A fine-tuned checkpoint is newer and would be the one that evaluate takes by itself."""
    outcomes()
    done("finetune", "--epochs", 0, "--limit", 60, "--run", "out")
    assert outcomes() == ["skipped"] * 4
    assert outcomes("--set", "evaluate.limit=10") == ["skipped", "skipped", "run", "run"]
    written = json.loads((recipe.parent / "out" / "evaluate.json").read_text())
    assert written["lineage"]["inputs"][0]["path"] == "out/converted.safetensors"
    assert written["label"] == "IF p99 channel"


def test_an_input_that_appears_is_read(recipe):
    """No network is named: the embedded one serves, until the run folder has one."""
    outcomes()
    done("train", "--epochs", 0, "--limit", 60, "--run", "out")
    assert outcomes()[0] == "run"
    assert outcomes() == ["skipped"] * 4


def test_a_recipe_predicts_and_evaluates_for_its_report(recipe, monkeypatch):
    recipe.write_text(
        'run = "out"\n[calibrate]\nsamples = 64\n[convert]\ntimesteps = 1\n'
        "[predict]\nlimit = 5\n[report]\n"
    )
    limited(monkeypatch)
    done("run", "recipe.toml")
    found = files(recipe.parent / "out")
    assert {"evaluate.json", "predict.csv", "predict.json", "report.html"} <= set(found)
    assert len((recipe.parent / "out" / "predict.csv").read_text().splitlines()) == 1 + 5
    steps = json.loads(done("run", "recipe.toml", "--json").out)["steps"]
    assert [(step["stage"], step["outcome"]) for step in steps] == [
        *((stage, "skipped") for stage in ("calibrate", "convert", "predict")),
        ("report", "run"),
    ]


# The report's evaluations


def limited(monkeypatch):
    """Evaluate few samples, and note of what and where to."""
    calls, run = [], evaluate.run

    def few(config, progress=None):
        if config.checkpoint:
            calls.append(config.checkpoint.name)
        return run(config.model_copy(update={"limit": 5}), progress)

    monkeypatch.setattr(evaluate, "run", few)
    return calls


def test_a_report_evaluates_what_lacks_it(recipe, monkeypatch):
    calls = limited(monkeypatch)
    config = ReportConfig(run="out")
    done("calibrate", "--samples", 64, "--run", "out")
    done("convert", "--timesteps", 1, "--run", "out")
    assert len(report.run(config).runs) == 1
    assert calls == ["converted-if-mse-channel-T1.safetensors"]
    assert len(report.run(config).runs) == 1
    assert len(calls) == 1

    # another checkpoint beside it does not cost the first its evaluation
    done("finetune", "--epochs", 0, "--limit", 60, "--run", "out")
    found = report.run(config)
    assert calls[1:] == ["finetuned-if-mse-channel-T1.safetensors"]
    assert [run.label for run in found.runs] == ["IF mse channel", "IF mse channel, fine-tuned"]

    # another conversion costs neither its place
    done("convert", "--timesteps", 2, "--neuron", "msat", "--run", "out")
    found = report.run(config)
    assert calls[2:] == ["converted-msat-mse-channel-T2.safetensors"]
    assert [run.label for run in found.runs] == [
        "IF mse channel",
        "IF mse channel, fine-tuned",
        "MSAT mse channel",
    ]


def test_a_report_of_named_evaluations_makes_none(recipe, monkeypatch):
    calls = limited(monkeypatch)
    done("calibrate", "--samples", 64, "--run", "out")
    done("convert", "--timesteps", 1, "--run", "out")
    files_given = tuple(recipe.parent / f"evaluate-{name}.json" for name in "ab")
    checkpoint = recipe.parent / "out" / file_name("converted")
    for file in files_given:
        evaluate.run(EvaluateConfig(checkpoint=checkpoint, out=file))
    calls.clear()
    found = report.run(ReportConfig(run="out", evaluations=files_given))
    assert [run.file for run in found.runs] == [str(file) for file in files_given]
    found = report.run(ReportConfig(run="out", evaluations=(recipe.parent,)))
    assert [run.file for run in found.runs] == [str(files_given[-1])]  # the same work, once
    assert calls == []


def test_a_recipe_ends_at_a_check_that_failed_and_does_not_pass_over_it(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'run = "{tmp_path}"\n'
        "[calibrate]\nsamples = 50\nexpect_accuracy = 1.0\nmean = [0.9]\nstd = 0.1\n[convert]\n"
    )
    for _ in range(2):  # the second time the stage's report is there, and says the same
        with pytest.raises(CheckFailedError, match=r"100\.00% were expected"):
            run_recipe(recipe, [], {}, False, Quiet())
    assert not (tmp_path / "converted.safetensors").exists()

"""``snnconv fit``: the report, its spikes, its exit code, and what is refused."""

import json

import pytest
from helpers.commands import done as finished
from helpers.commands import here
from helpers.commands import refused as refuses

from snnconv.errors import ExitCode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with a network of the digits, and its evaluation."""
    run = tmp_path_factory.mktemp("fitted")
    finished("calibrate", "--samples", "100", "--run", run)
    finished("convert", "--timesteps", "4", "--run", run)
    finished("evaluate", "--limit", "20", "--metric", "firing-rate", "--run", run)
    return run


def test_what_fits_and_what_does_not_are_in_the_report(folder):
    done = here("fit", "--target", "dynapcnn", "--run", folder, "--json")
    assert done.code == ExitCode.CHECK_FAILED
    report = json.loads(done.out)
    assert report == json.loads((folder / "fit.json").read_text())
    assert [each["rule"] for each in report["misfits"]] == ["real_input"]
    assert report["fits"] is False
    assert "real_input (1)" in report["warnings"][0]
    assert [len(row["cores"]) for row in report["layers"]] == [1] * 5
    evaluated = json.loads((folder / "evaluate.json").read_text())
    spikes = {row["name"]: row["firing_rate"] * row["neurons"] for row in evaluated["layers"]}
    found = {row["name"]: row["spikes_per_step"] for row in report["layers"]}
    assert found == {**spikes, "output": None}
    assert {row["layer"]: row["spikes_per_step"] for row in report["cores"]} == found
    assert report["evaluation"].startswith(f"{folder}/evaluate")
    assert set(report["figures"]).isdisjoint(report["not_checked"])


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("dynapcnn", ["bits=8", "state_bits=16", "input_bits=8"]),
        ("generic-digital", ["bits=8", "state_bits=24"]),
        ("akida-1", ["bits=4"]),
    ],
)
def test_what_its_widths_cost_is_a_command_that_works(folder, tmp_path, target, wanted):
    report = json.loads(here("fit", "--target", target, "--run", folder, "--json").out)
    (note,) = [each for each in report["notes"] if "snnconv evaluate" in each]
    words = note.partition("snnconv evaluate ")[2].split()
    assert words == [word for each in wanted for word in ("--integer", each)]
    few = ("--limit", "100", "--metric", "accuracy", "--run", folder, "--out", tmp_path / "e.json")
    measured = json.loads(finished("evaluate", *words, *few, "--json").out)
    assert measured["integer"]["same_class"] >= 95


def test_a_target_of_ones_own_fits(folder, tmp_path):
    file = tmp_path / "chip.toml"
    file.write_text(
        'title = "Mine"\n[sources]\npage = "https://example.org"\n'
        '[cores]\nvalue = 4\nsource = "page"\n[neurons_per_core]\nvalue = 2000\nsource = "page"\n'
    )
    words = ("fit", "--target", file, "--run", folder, "--out", tmp_path / "fit.json")
    report = here(*words, "--json")
    assert report.code == ExitCode.CHECK_FAILED  # a core for each of five layers
    file.write_text(file.read_text().replace("4", "5"))
    report = json.loads(finished(*words, "--json").out)
    assert report["fits"]
    assert report["cores"][0]["of"] == {"neurons": 2000}
    assert report["lineage"]["inputs"][1]["path"] == str(file)
    assert "everything that was checked fits" in finished(*words).out


def test_an_evaluation_of_another_network_is_refused(folder, tmp_path):
    run = tmp_path / "other"
    finished("convert", str(folder / "calibrated.safetensors"), "--timesteps", "2", "--run", run)
    words = ("fit", "--run", run, "--evaluation", folder / "evaluate.json")
    refuses(here(*words), ExitCode.USAGE, "the spikes of", "an evaluation of another network")


def test_it_is_a_stage_of_a_recipe(folder, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'run = "{tmp_path}"\n[evaluate]\ncheckpoint = "{folder}/converted.safetensors"\n'
        'limit = 5\nmetric = ["firing-rate"]\n'
        f'[fit]\ncheckpoint = "{folder}/converted.safetensors"\n'
    )
    outcomes = [
        [step["outcome"] for step in json.loads(finished("run", recipe, "--json").out)["steps"]]
        for _ in range(2)
    ]
    assert outcomes == [["run"] * 2, ["skipped"] * 2]
    report = json.loads((tmp_path / "fit.json").read_text())
    assert report["evaluation"] == f"{tmp_path}/evaluate.json"
    result = here("run", recipe, "--set", "fit.target=dynapcnn")
    refuses(result._replace(out=""), ExitCode.CHECK_FAILED, "ends at stage 'fit'", "real_input (1)")

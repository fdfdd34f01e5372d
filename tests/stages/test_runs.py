"""``snnconv ls runs``: what is in a run folder."""

import json

from helpers.commands import done, files, here, refused

from snnconv.errors import ExitCode


def listed(run):
    found = json.loads(done("ls", "runs", "--run", run, "--json").out)
    assert (found["schema"], found["run"]) == ("snnconv.stages.runs/1", str(run))
    return found["checkpoints"], found["evaluations"]


def test_a_folder_is_listed(tmp_path):
    done("calibrate", "--samples", 64, "--run", tmp_path)
    for neuron in ("if", "msat"):
        done("convert", "--neuron", neuron, "--timesteps", 2, "--run", tmp_path)
    for limit in (20, 10):
        done("evaluate", "--metric", "accuracy", "--limit", limit, "--run", tmp_path)
    before = files(tmp_path)
    checkpoints, evaluations = listed(tmp_path)
    assert files(tmp_path) == before
    assert [(row["file"], row["also"]) for row in checkpoints] == [
        ("calibrated-mse-channel.safetensors", ["calibrated.safetensors"]),
        ("converted-if-mse-channel-T2.safetensors", []),
        ("converted-msat-mse-channel-T2.safetensors", ["converted.safetensors"]),
    ]
    assert [row["default_of"] for row in checkpoints] == [
        ["convert"],
        [],
        [
            *("correct", "finetune", "reparameterize", "evaluate", "predict"),
            *("trace", "export", "fit"),
        ],
    ]
    assert [row["neuron"] for row in checkpoints] == [None, "if", "msat"]
    assert {row["parent"] for row in checkpoints[1:]} == {"calibrated-mse-channel.safetensors"}
    assert [(row["samples"], row["reported"]) for row in evaluations] == [(20, True), (10, False)]
    assert [row["also"] for row in evaluations] == [[], ["evaluate.json"]]
    assert {row["label"] for row in evaluations} == {"MSAT mse channel"}
    assert {row["checkpoint"] for row in evaluations} == {checkpoints[2]["file"]}
    shown = done("ls", "runs", "--run", tmp_path).out
    assert all(row["file"] in shown for row in (*checkpoints, *evaluations))

    # as an earlier version left it: the plain names only
    for file in [*tmp_path.glob("c*-*"), *tmp_path.glob("evaluate-*")]:
        file.unlink()
    checkpoints, evaluations = listed(tmp_path)
    assert [row["file"] for row in checkpoints] == [
        "calibrated.safetensors",
        "converted.safetensors",
    ]
    assert [row["file"] for row in evaluations] == ["evaluate.json"]


def test_an_empty_folder_and_none(tmp_path):
    assert listed(tmp_path) == ([], [])
    assert "none yet" in done("ls", "runs", "--run", tmp_path).out
    lost = here("ls", "runs", "--run", tmp_path / "lost")
    refused(lost, ExitCode.USAGE, "there is no run folder", "no such folder", "--run DIR")


def test_foreign_files_say_why_they_can_not_be_read(tmp_path):
    (tmp_path / "converted.safetensors").write_bytes(b"foreign")
    (tmp_path / "evaluate.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    checkpoints, evaluations = listed(tmp_path)
    assert [row["file"] for row in checkpoints] == ["converted.safetensors"]
    assert "safetensors" in checkpoints[0]["problem"]
    assert "schema" in evaluations[0]["problem"]
    assert "can't be read" in done("ls", "runs", "--run", tmp_path).out

"""``--out``: under it no file is lost that is not the stage's own, and links are followed."""

import json

import pytest
from helpers.commands import done, files, here, refused

from snnconv.checkpoint import load
from snnconv.errors import ExitCode


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a run in it."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done("calibrate", "--samples", 50)
        done("convert", "--timesteps", 2)
        done("evaluate", "--limit", 5, "--metric", "accuracy")
    return folder


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["convert", "--out", "snnconv-run/calibrated.safetensors"], "of kind calibrated"),
        (["convert", "--out", "snnconv-run/evaluate.safetensors"], "a report of evaluate"),
        (["report", "--out", "snnconv-run/evaluate.html"], "a report of evaluate"),
        (["evaluate", "--out", "snnconv-run/convert.json"], "a report of convert"),
        (["evaluate", "--out", "mine.json"], "no report"),
        (["convert", "--out", "mine.safetensors"], "no report"),
        (["convert", "--out", "weights.safetensors"], "no checkpoint"),
    ],
)
def test_a_file_that_is_not_the_stages_own(words, found, run, monkeypatch):
    monkeypatch.chdir(run)
    (run / "mine.json").write_text('{"stage": "convert"}')
    (run / "weights.safetensors").write_bytes(b"x" * 20)
    before = files(run)
    refused(here(*words), ExitCode.USAGE, "would be lost", found, "--out")
    assert files(run) == before


def test_output_over_input(run, monkeypatch):
    monkeypatch.chdir(run)
    before = files(run)
    file = "snnconv-run/converted.safetensors"
    (run / "hard.safetensors").hardlink_to(run / file)
    for out in (file, f"{run}/{file}", "hard.safetensors"):
        result = here("finetune", file, "--out", out)
        refused(result, ExitCode.USAGE, "would be lost", "that the stage reads", "--out")
    (run / "hard.safetensors").unlink()
    assert files(run) == before


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_no_file_is_refused_before_any_work(kind, run, monkeypatch):
    import os

    monkeypatch.chdir(run)
    (run / "folder.safetensors").mkdir(exist_ok=True)
    if not (run / "pipe.safetensors").exists():
        os.mkfifo(run / "pipe.safetensors")
    result = here("finetune", "--out", f"{kind}.safetensors")
    refused(result, ExitCode.USAGE, f"{kind}.safetensors can't be written", "", "--out")
    assert "epoch" not in result.err


def test_a_link_is_followed_and_said(run, monkeypatch):
    monkeypatch.chdir(run)
    (run / "latest.safetensors").symlink_to("real.safetensors")
    result = done("convert", "--out", "latest.safetensors")
    assert "latest.safetensors is a link" in result.err
    assert (run / "latest.safetensors").is_symlink()
    assert load(run / "real.safetensors").kind == "converted"
    assert json.loads((run / "latest.json").read_text())["stage"] == "convert"


def test_ones_own_file_is_replaced(run, monkeypatch):
    monkeypatch.chdir(run)
    for steps in (2, 3):
        done("convert", "--timesteps", steps, "--out", "again.safetensors")
    assert load(run / "again.safetensors").spiking.timesteps == 3

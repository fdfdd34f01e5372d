"""``--out``: under it no file is lost that is not the stage's own, and links are followed."""

import json
import shutil

import pytest
from helpers.commands import done, files, here, refused

from snnconv.checkpoint import load, sha256
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
        (["report", "--out", "notes.html"], "no page of a report"),
        (["report", "--out", "mine.html"], "no report"),
        (["report", "--out", "page.html"], "no page of a report"),
    ],
)
def test_a_file_that_is_not_the_stages_own(words, found, run, monkeypatch):
    monkeypatch.chdir(run)
    (run / "mine.json").write_text('{"stage": "convert"}')
    (run / "weights.safetensors").write_bytes(b"x" * 20)
    (run / "notes.md").write_text("# Notes\n")
    (run / "page.html").write_text("<title>mine</title>")
    before = files(run)
    refused(here(*words), ExitCode.USAGE, "would be lost", found, "--out")
    assert files(run) == before


@pytest.mark.parametrize(
    ("words", "name", "found"),
    [
        (["convert"], "converted.safetensors", "no checkpoint"),
        (["convert"], "convert.json", "no report"),
        (["evaluate", "--limit", 5], "evaluate.json", "no report"),
        (["report"], "report.md", "no page of a report"),
        (["report"], "report.html", "no page of a report"),
        (["report"], "report.json", "no report"),
    ],
)
def test_a_foreign_file_under_a_default_name(words, name, found, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run / "snnconv-run", "snnconv-run")
    (tmp_path / "snnconv-run" / "convert.json").unlink()  # it would tell that convert wrote it
    (tmp_path / "snnconv-run" / name).write_text('{"mine": [1, 2, 3]}')
    before = files(tmp_path)
    refused(here(*words), ExitCode.USAGE, f"{name} would be lost", found, "--run")
    assert files(tmp_path) == before


def test_a_report_replaces_its_own_pages(run, monkeypatch):
    monkeypatch.chdir(run)
    for out in ([], ["--out", "pages.html"]):
        for _ in range(2):
            done("report", *out)


STAGES_OVER_THEIR_INPUT = [
    ("finetuned", ["finetune", "--epochs", 1, "--limit", 40]),
    ("ann", ["train", "--epochs", 1, "--limit", 40]),
    ("calibrated", ["train", "--epochs", 1, "--limit", 40, "--activation", "qcfs"]),
]


@pytest.mark.parametrize(("kind", "words"), STAGES_OVER_THEIR_INPUT)
def test_an_input_under_the_default_name_stays_under_its_own(kind, words, run, tmp_path):
    stage, *options = words
    first = {"finetune": run / "snnconv-run/converted.safetensors", "train": "mlp"}[stage]
    where = ("--run", tmp_path)
    done(stage, first, *options, *where)
    file = tmp_path / f"{kind}.safetensors"
    content, digest = file.read_bytes(), sha256(file)
    for own in tmp_path.glob(f"{kind}-*"):  # as an earlier version left it, without its own name
        own.unlink()
    said = done(stage, file, *options, "--seed", 5, *where).err
    assert file.read_bytes() != content
    (kept,) = (own for own in tmp_path.glob(f"{kind}-*") if own.read_bytes() == content)
    assert "is the new checkpoint now" in " ".join(said.split())
    assert kept.name in said.replace("\n", "")
    report = json.loads((tmp_path / f"{stage}.json").read_text())
    assert report["lineage"]["inputs"][0]["sha256"] == digest
    assert report["lineage"]["outputs"][0]["sha256"] == sha256(file)


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

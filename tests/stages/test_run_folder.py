"""The run folder: what stages write stays, whatever is written after it."""

import itertools
import os

import pytest
from helpers.checkpoints import ann
from helpers.commands import done, files, here

from snnconv.checkpoint import encoded, load, sha256
from snnconv.config import ConvertConfig, EvaluateConfig, ReportConfig
from snnconv.core import files as writing
from snnconv.core.kinds import SPIKING
from snnconv.errors import UsageError
from snnconv.reports import ConvertReport, EvaluateReport, read
from snnconv.stages import convert, evaluate, report, run_folder

CONVERSIONS = (
    {"neuron": "if", "timesteps": 2},
    {"neuron": "msat", "timesteps": 2},
    {"neuron": "if", "timesteps": 3},
    {"neuron": "if", "timesteps": 2, "param": {"v0": 0.25}},  # its name does not show v0
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    run = tmp_path_factory.mktemp("calibrated")
    done("calibrate", "--samples", 64, "--run", run)
    return run / "calibrated.safetensors"


def converting(run, calibrated, **options):
    convert.run(ConvertConfig(run=run, checkpoint=calibrated, **options))
    return (run / "converted.safetensors").read_bytes()


def evaluating(run, **options):
    return evaluate.run(EvaluateConfig(run=run, metric=("accuracy",), **options))


def own(run, pattern):
    return sorted(file.name for file in run.glob(pattern))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_no_conversion_replaces_another(order, tmp_path, calibrated):
    """In any order, and each done twice."""
    written = {}
    for which in (*order, *order):
        written[which] = converting(tmp_path, calibrated, **CONVERSIONS[which])
        kept = [file.read_bytes() for file in tmp_path.glob("converted-*.safetensors")]
        assert sorted(kept) == sorted(written.values())  # each once: equal work has one file
        newest = run_folder.newest(tmp_path, SPIKING)
        assert newest.read_bytes() == written[which]
    assert len(run_folder.checkpoints(tmp_path, SPIKING)) == 4
    for files_of in run_folder.checkpoints(tmp_path).values():
        made = read(files_of[0].with_suffix(".json"), ConvertReport)
        assert sha256(files_of[0]) in {file.sha256 for file in made.lineage.outputs}
        assert made.timesteps == load(files_of[0]).spiking.timesteps


def test_the_next_stage_takes_the_newest(tmp_path, calibrated):
    for options in CONVERSIONS[:3]:
        content = converting(tmp_path, calibrated, **options)
        found = evaluating(tmp_path, limit=5)
        assert (found.neuron, found.timesteps) == (options["neuron"], options["timesteps"])
        assert run_folder.subject(found) == sha256(run_folder.newest(tmp_path, SPIKING))
        assert run_folder.newest(tmp_path, SPIKING).read_bytes() == content


@pytest.mark.parametrize("limits", list(itertools.permutations([None, 20, 5])))
def test_a_quick_look_leaves_the_full_evaluation(limits, tmp_path, calibrated):
    converting(tmp_path, calibrated, **CONVERSIONS[0])
    for limit in limits:
        evaluating(tmp_path, limit=limit)
        newest = read(tmp_path / "evaluate.json", EvaluateReport)
        assert newest.samples == (limit or 355)
    stem = "evaluate-if-mse-channel-T2"
    names = [f"{stem}-n20.json", f"{stem}-n355.json", f"{stem}-n5.json"]
    assert own(tmp_path, "evaluate-*") == names
    (run,) = report.run(ReportConfig(run=tmp_path)).runs
    assert (run.samples, run.file) == (355, str(tmp_path / names[1]))
    (run,) = report.run(ReportConfig(run=tmp_path, evaluations=(tmp_path,))).runs
    assert run.samples == 355


def test_a_quick_look_says_where_the_full_evaluation_is(tmp_path, calibrated):
    converting(tmp_path, calibrated, **CONVERSIONS[0])
    assert here("evaluate", "--run", tmp_path, "--metric", "accuracy").err == ""
    told = here("evaluate", "--run", tmp_path, "--metric", "accuracy", "--limit", 20).err
    assert "evaluate-if-mse-channel-T2-n355.json" in told.replace("\n", "")
    told = done("report", "--run", tmp_path).err
    assert "evaluate-if-mse-channel-T2-n20.json: left out" in told


def test_fewer_metrics_do_not_replace_more(tmp_path, calibrated):
    converting(tmp_path, calibrated, **CONVERSIONS[0])
    evaluate.run(EvaluateConfig(run=tmp_path, limit=20))
    evaluating(tmp_path, limit=20)
    assert len(own(tmp_path, "evaluate-*")) == 2
    (run,) = report.run(ReportConfig(run=tmp_path)).runs
    assert run.sops_per_sample is not None
    evaluate.run(EvaluateConfig(run=tmp_path, limit=20))
    assert len(own(tmp_path, "evaluate-*")) == 2


def test_runs_have_different_labels_and_the_same_everywhere(tmp_path, calibrated):
    for options in CONVERSIONS:
        converting(tmp_path, calibrated, **options)
        evaluating(tmp_path, limit=5)
    found = report.run(ReportConfig(run=tmp_path))
    labels = [run.label for run in found.runs]
    assert labels == [
        "IF mse channel, T = 2, v0=0.5",
        "MSAT mse channel",
        "IF mse channel, T = 3",
        "IF mse channel, T = 2, v0=0.25",
    ]
    for file in (found.html, found.markdown):
        text = (tmp_path / file).read_text(encoding="utf-8").replace("\\", "")
        assert all(label in text for label in labels)
    shown = done("report", "--run", tmp_path).out
    assert all(label in shown for label in labels)


def test_a_folder_of_an_earlier_version_loses_nothing(tmp_path, calibrated):
    """It has the plain names only."""
    first = converting(tmp_path, calibrated, **CONVERSIONS[0])
    evaluating(tmp_path)
    for file in [*tmp_path.glob("converted-*"), *tmp_path.glob("evaluate-*")]:
        file.unlink()
    before = files(tmp_path)
    (run,) = report.run(ReportConfig(run=tmp_path)).runs
    assert (run.label, run.file) == ("IF mse channel", str(tmp_path / "evaluate.json"))
    converting(tmp_path, calibrated, **CONVERSIONS[1])
    evaluating(tmp_path, limit=20)
    assert (tmp_path / "converted-if-mse-channel-T2.safetensors").read_bytes() == first
    assert (tmp_path / "converted-if-mse-channel-T2.json").read_bytes() == before["convert.json"]
    kept = (tmp_path / "evaluate-if-mse-channel-T2-n355.json").read_bytes()
    assert kept == before["evaluate.json"]
    assert len(report.run(ReportConfig(run=tmp_path)).runs) == 2


def test_the_copy_is_no_link(tmp_path, calibrated):
    """A program that overwrites the newest in place leaves the file of its own as it was."""
    content = converting(tmp_path, calibrated, **CONVERSIONS[0])
    (tmp_path / "converted.safetensors").write_bytes(b"other")
    assert (tmp_path / "converted-if-mse-channel-T2.safetensors").read_bytes() == content
    converting(tmp_path, calibrated, **CONVERSIONS[0])  # what no stage can read is not kept
    assert own(tmp_path, "converted-*.safetensors") == ["converted-if-mse-channel-T2.safetensors"]


@pytest.mark.parametrize("after", range(1, 8, 2))  # a file is synced, then its folder
def test_whenever_it_is_stopped_every_file_is_whole(after, tmp_path, calibrated, monkeypatch):
    first = converting(tmp_path, calibrated, **CONVERSIONS[0])
    second = converting(tmp_path / "other", calibrated, **CONVERSIONS[1])
    before, real, count = files(tmp_path), os.fsync, itertools.count(1)

    def dying(handle):
        if next(count) == after:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(writing.os, "fsync", dying)
    with pytest.raises(UsageError, match="can't be written"):
        converting(tmp_path, calibrated, **CONVERSIONS[1])
    monkeypatch.undo()
    left = files(tmp_path)
    assert (tmp_path / "converted-if-mse-channel-T2.safetensors").read_bytes() == first
    assert left["converted.safetensors"] in (first, second)
    assert set(before) <= set(left)
    assert not [name for name in left if name.startswith(".")]
    assert converting(tmp_path, calibrated, **CONVERSIONS[1]) == second


def test_a_file_that_the_user_named_is_not_copied(tmp_path, calibrated):
    out = tmp_path / "mine" / "net.safetensors"
    convert.run(ConvertConfig(run=tmp_path, checkpoint=calibrated, timesteps=2, out=out))
    assert set(files(tmp_path)) == {"mine/net.safetensors", "mine/net.json"}


def test_the_content_is_that_of_the_checkpoint(tmp_path):
    made = ann()
    own_file, newest = run_folder.save(made, tmp_path, None)
    assert own_file.read_bytes() == newest.read_bytes() == b"".join(encoded(made, own_file))

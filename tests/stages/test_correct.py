"""The stage, and what the stages behind it make of a corrected network."""

import json
import re
from dataclasses import replace

import pytest
import torch
from helpers.commands import done, files, here, refused
from helpers.runs import COMMON, converting, correcting, evaluating, finetuning, reparameterizing

from snnconv.checkpoint import load, save
from snnconv.config import ExportConfig
from snnconv.corrections.base import CORRECTIONS
from snnconv.errors import ExitCode, UsageError
from snnconv.stages import export

MINE = '''
import torch
from snnconv.core.metadata import Parameters
from snnconv.corrections.base import SiteCorrection


class Raise(SiteCorrection):
    """Half a theta more for every channel."""

    params_type = Parameters
    of_one_timesteps = False

    def at(self, site):
        return {"current": torch.full(site.ann.shape[1:2], 0.5)}
'''


@pytest.fixture(scope="module")
def corrected(run, tmp_path_factory):
    """A run folder with a converted network and a corrected one, and the report."""
    folder = tmp_path_factory.mktemp("corrected")
    converting(folder, checkpoint=run.file("calibrated"), timesteps=4)
    return folder, correcting(folder)


def test_the_report(corrected):
    folder, _ = corrected
    data = json.loads((folder / "correct.json").read_text())
    assert data.keys() >= COMMON
    assert (data["method"], data["timesteps"], data["removed"]) == ("bias", 4, False)
    assert data["samples"] == data["subset"]["samples"] == 64
    (made,) = data["corrections"]
    assert (made["method"], made["timesteps"], made["samples"]) == ("bias", 4, 64)
    converted, after = (load(folder / f"{kind}.safetensors") for kind in ("converted", "corrected"))
    assert [row["name"] for row in data["sites"]] == [site.name for site in converted.graph.sites]
    assert all(row["mean_error_after"] < row["mean_error_before"] for row in data["sites"])
    numbers = sum(tensor.numel() for tensor in after.corrections.values())
    assert data["parts"] == {"current": numbers}
    assert (folder / "corrected-if-mse-channel-bias-T4.safetensors").exists()
    # the ANN's tensors are what they were
    for name, tensor in converted.tensors().items():
        assert torch.equal(after.tensors()[name], tensor)


def test_the_same_bytes_whatever_batch_and_memory(corrected, tmp_path):
    """Of 200 KiB, few samples are simulated at once, once for each site."""
    folder, report = corrected
    for size, memory in ((7, "1GiB"), (64, "200KiB")):
        again = correcting(
            tmp_path,
            checkpoint=folder / "converted.safetensors",
            batch_size=size,
            memory=memory,
            out=tmp_path / f"{size}.safetensors",
        )
        for row, other in zip(again.sites, report.sites, strict=True):
            assert row.mean_error_after == pytest.approx(other.mean_error_after, rel=1e-9)
    seven, parts = ((tmp_path / f"{size}.safetensors").read_bytes() for size in (7, 64))
    assert seven == parts == (folder / "corrected.safetensors").read_bytes()


def test_several_follow_each_other_and_each_comes_off(corrected, tmp_path, run):
    folder, _ = corrected
    first = folder / "corrected.safetensors"
    twice = correcting(tmp_path, checkpoint=first, param={"rounds": 1})
    assert [made.method for made in twice.corrections] == ["bias", "bias"]
    assert twice.corrections[1].params["rounds"] == 1
    back = correcting(tmp_path, method=None, remove="bias")
    assert (back.removed, back.params["rounds"], len(back.corrections)) == (True, 1, 1)
    once = load(tmp_path / "corrected.safetensors")
    assert once.corrections.keys() == load(first).corrections.keys()
    assert all(torch.equal(t, load(first).corrections[k]) for k, t in once.corrections.items())
    correcting(tmp_path, method=None, remove="bias")
    bare = load(tmp_path / "corrected.safetensors")
    assert (bare.corrected, bare.corrections, bare.kind) == ((), {}, "corrected")
    figures = [
        evaluating(tmp_path, checkpoint=file).logits_relative_error
        for file in (folder / "converted.safetensors", tmp_path / "corrected.safetensors")
    ]
    assert figures[0] == figures[1]


def test_taking_off_an_earlier_one_says_so(corrected, tmp_path):
    folder, _ = corrected
    (tmp_path / "mine.py").write_text(MINE)
    correcting(
        tmp_path, checkpoint=folder / "corrected.safetensors", method=f"{tmp_path}/mine.py:Raise"
    )
    back = correcting(tmp_path, method=None, remove="bias")
    assert "Raise: measured with bias in place" in back.warnings[0]
    assert [made.timesteps for made in back.corrections] == [None]


def test_evaluate_compares_with_the_ann_and_says_what_was_corrected(corrected, tmp_path):
    folder, _ = corrected
    before = evaluating(tmp_path, checkpoint=folder / "converted.safetensors")
    after = evaluating(tmp_path, checkpoint=folder / "corrected.safetensors")
    assert before.ann_accuracy == after.ann_accuracy
    assert before.corrections == []
    assert [made.method for made in after.corrections] == ["bias"]
    assert after.label == f"{before.label}, bias"
    assert after.logits_relative_error != before.logits_relative_error
    chunks = evaluating(tmp_path, checkpoint=folder / "corrected.safetensors", chunk=1)
    assert chunks.accuracy == after.accuracy
    assert chunks.spikes_per_sample == after.spikes_per_sample
    shown = done("evaluate", folder / "corrected.safetensors", "--limit", 20, "--run", tmp_path).out
    assert "bias (T = 4)" in shown
    done("report", "--run", tmp_path)
    for page in ("report.html", "report.md"):
        assert "bias" in (tmp_path / page).read_text()


def test_weights_are_compared_without_their_correction(corrected, tmp_path):
    folder, _ = corrected
    network = load(folder / "corrected.safetensors")
    name = next(node for node in network.graph.nodes if "weight" in node.tensors).tensors["weight"]
    change = {f"1/weight/{name}": -network.network[name]}
    save(replace(network, corrections=network.corrections | change), tmp_path / "zero.safetensors")
    after = evaluating(tmp_path, checkpoint=tmp_path / "zero.safetensors")
    before = evaluating(tmp_path, checkpoint=folder / "corrected.safetensors")
    assert after.ann_accuracy == before.ann_accuracy
    assert after.accuracy != before.accuracy
    assert after.layers[0].error_clipping == before.layers[0].error_clipping


def test_another_timesteps_is_refused(corrected):
    folder, _ = corrected
    for command in (["evaluate"], ["finetune", "--epochs", 1]):
        before = files(folder)
        lost = here(*command, folder / "corrected.safetensors", "--timesteps", 8, "--run", folder)
        refused(
            lost,
            ExitCode.USAGE,
            "a network with correction 'bias' can't run for T = 8 steps",
            "made for T = 4",
            "correct again",
        )
        assert files(folder) == before


def test_finetune_learns_weights_and_keeps_currents(corrected, tmp_path):
    folder, _ = corrected
    network = load(folder / "corrected.safetensors")
    name = next(node for node in network.graph.nodes if "weight" in node.tensors).tensors["weight"]
    change = {f"1/weight/{name}": torch.full_like(network.network[name], 0.001)}
    file = tmp_path / "both.safetensors"
    save(replace(network, corrections=network.corrections | change), file)
    report = finetuning(tmp_path, checkpoint=file, epochs=0, timesteps=4)
    tuned = load(tmp_path / "finetuned.safetensors")
    assert [made.method for made in report.corrections] == ["bias"]
    assert tuned.corrections.keys() == network.corrections.keys()
    assert torch.equal(tuned.network[name], network.network[name] + 0.001)
    assert torch.equal(tuned.reference[name], network.network[name])
    figures = [
        evaluating(tmp_path, checkpoint=f) for f in (file, tmp_path / "finetuned.safetensors")
    ]
    assert figures[0].accuracy == figures[1].accuracy
    assert figures[0].ann_accuracy == figures[1].ann_accuracy


def test_reparameterize_takes_corrections_over(run, tmp_path):
    converting(
        tmp_path,
        checkpoint=run.file("calibrated"),
        neuron="lm-ht",
        timesteps=2,
        param={"levels": 3},
    )
    correcting(tmp_path)
    report = reparameterizing(tmp_path)
    assert [made.timesteps for made in report.corrections] == [2]
    after = load(tmp_path / "reparameterized.safetensors")
    assert [made.timesteps for made in after.corrected] == [6]
    assert report.window_mismatch_share < 0.01
    assert evaluating(tmp_path).corrections[0].timesteps == 6


def test_export_refuses_what_no_format_has_words_for(corrected, tmp_path):
    folder, _ = corrected
    file = tmp_path / "corrected.safetensors"
    correcting(tmp_path, checkpoint=folder / "converted.safetensors", method="potential")
    lost = here("export", file, "--run", tmp_path)
    assert lost.code == ExitCode.UNSUPPORTED
    assert "correction 'potential'" in lost.err
    assert "--remove potential" in lost.err
    assert not list(tmp_path.glob("export/*"))


def test_exported_and_in_whole_numbers(corrected, tmp_path):
    """A corrected network leaves in a format's own words, and is the corrected one."""
    folder, _ = corrected
    file = folder / "corrected.safetensors"
    made = export.run(ExportConfig(run=tmp_path, checkpoint=file, to="torch", limit=50))
    found = evaluating(tmp_path, checkpoint=file, limit=50, integer={"bits": 8})
    plain = evaluating(tmp_path, checkpoint=folder / "converted.safetensors", limit=50)
    assert made.difference == 0
    assert made.accuracy_before == found.accuracy[-1] != plain.accuracy[-1]
    assert found.integer.same_class >= 45
    shown = here("evaluate", file, "--integer", "bits=8", "--limit", 50, "--run", tmp_path).out
    assert re.search(r"the same class +\d\d of 50 +p [=<] [.\d]+ \(McNemar\) for the", shown)


def test_a_folder_lists_and_inspect_shows_them(corrected):
    folder, _ = corrected
    assert "bias" in done("ls", "runs", "--run", folder).out
    shown = json.loads(done("inspect", folder / "corrected.safetensors", "--json").out)
    assert [made["method"] for made in shown["corrections"]] == ["bias"]
    assert "bias" in done("ls", "corrections").out


@pytest.mark.parametrize("method", CORRECTIONS.own())
def test_every_method_end_to_end(corrected, tmp_path, method):
    """Corrected, evaluated in chunks, and fine-tuned from there; taken off, it is what it was."""
    folder, _ = corrected
    converted, file = folder / "converted.safetensors", tmp_path / "corrected.safetensors"
    trial = CORRECTIONS.load(method).params_type.trial
    report = correcting(tmp_path, checkpoint=converted, method=method, param=dict(trial))
    assert [made.method for made in report.corrections] == [method]
    before, after = (evaluating(tmp_path, checkpoint=f, limit=20) for f in (converted, file))
    assert after.logits_relative_error != before.logits_relative_error
    chunks = evaluating(tmp_path, checkpoint=file, limit=20, chunk=1, batch_size=7)
    assert chunks.logits_relative_error == pytest.approx(after.logits_relative_error, rel=1e-6)
    assert chunks.spikes_per_sample == after.spikes_per_sample
    finetuning(tmp_path, checkpoint=file, epochs=0, limit=100, timesteps=None)
    tuned = evaluating(tmp_path, checkpoint=tmp_path / "finetuned.safetensors", limit=20)
    assert tuned.spikes_per_sample == after.spikes_per_sample
    correcting(tmp_path, method=None, remove=method)
    back = evaluating(tmp_path, checkpoint=file, limit=20)
    assert back.logits_relative_error == before.logits_relative_error


def test_a_recipe(run, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        f"run = '{tmp_path}'\n[calibrate]\nsamples = 100\n[convert]\ntimesteps = 3\n"
        "[correct]\nsamples = 50\n[correct.param]\nrounds = 2\n[evaluate]\nlimit = 20\n"
    )
    for outcome in ("run", "skipped"):
        data = json.loads(done("run", tmp_path / "recipe.toml", "--json").out)
        assert [step["outcome"] for step in data["steps"]] == [outcome] * 4
    report = json.loads((tmp_path / "evaluate.json").read_text())
    assert report["corrections"][0]["params"]["rounds"] == 2


def test_what_can_not_be_done(corrected, tmp_path, run):
    folder, _ = corrected
    converted = folder / "converted.safetensors"

    def refuses(*words, problem, found="", remedy="", code=ExitCode.USAGE):
        lost = here("correct", *words, "--run", tmp_path)
        refused(lost, code, problem, found, remedy)
        assert not list(tmp_path.glob("*.safetensors"))

    refuses(problem="there is no checkpoint to work on", remedy="snnconv convert")
    refuses(
        run.file("calibrated"),
        problem="can't be used",
        found="of kind 'calibrated', where this stage takes converted or corrected",
        code=ExitCode.CHECKPOINT,
    )
    refuses(converted, "--method", "bia", problem="no correction of that name", remedy="'bias'")
    refuses(converted, "--param", "round=3", problem="no such parameter", remedy="'rounds'")
    refuses(converted, "--samples", 0, problem="option --samples", remedy="give 1 or more")
    refuses(
        *(converted, "--remove", "bias"),
        problem="no such correction to remove",
        found="'bias', where the network has none",
    )
    refuses(
        *(folder / "corrected.safetensors", "--remove", "potential"),
        problem="no such correction to remove",
        found="'potential', where the network has bias",
    )
    refuses(
        *(folder / "corrected.safetensors", "--remove", "bias", "--method", "bias"),
        problem="--remove can't be used",
    )


def test_more_samples_than_memory_holds(corrected, tmp_path):
    folder, _ = corrected
    with pytest.raises(UsageError, match="memory does not hold what a correction sees") as caught:
        correcting(tmp_path, checkpoint=folder / "converted.safetensors", memory="60KiB")
    few = int(caught.value.remedy.split("--samples ")[1].split(",")[0])
    assert 1 <= few < 64
    correcting(tmp_path, checkpoint=folder / "converted.safetensors", memory="60KiB", samples=few)
    with pytest.raises(UsageError, match="memory does not hold") as caught:
        correcting(tmp_path, checkpoint=folder / "converted.safetensors", memory="1KiB")
    assert caught.value.remedy == "give more: --memory SIZE"

import pytest
import torch
from helpers.runs import COMMON, converting, finetuning, reparameterizing, same_bytes, written

from snnconv.checkpoint import load, sha256
from snnconv.core.uncertainty import mcnemar, wilson
from snnconv.errors import CheckFailedError, CheckpointError, ExitCode, UsageError
from snnconv.reports import canonical

LM_HT = {"neuron": "lm-ht", "timesteps": 2, "param": {"levels": 3}}


@pytest.fixture(scope="module")
def lm_ht(run, tmp_path_factory):
    """A run folder with LM-HT neurons that have learned something, and its report."""
    folder = tmp_path_factory.mktemp("lm-ht")
    converting(folder, checkpoint=run.file("calibrated"), **LM_HT)
    finetuning(folder, epochs=1, timesteps=None)
    return folder, reparameterizing(folder)


def test_the_report(lm_ht):
    folder, report = lm_ht
    data = written(folder, "reparameterize")
    assert canonical(report).encode() == (folder / "reparameterize.json").read_bytes()
    assert data.keys() >= COMMON
    assert (data["levels"], data["timesteps_before"], data["timesteps_after"]) == (3, 2, 6)
    assert data["neuron"] == "lm-ht"
    assert abs(data["accuracy_before"] - data["accuracy_after"]) <= 0.005
    test, n = data["before_and_after"], data["samples"]
    more = test["only_this_right"] - test["only_other_right"]
    assert data["accuracy_before"] - data["accuracy_after"] == pytest.approx(more / n)
    assert test["p"] == mcnemar(test["only_this_right"], test["only_other_right"])
    for when in ("before", "after"):
        expected = wilson(data[f"accuracy_{when}"], n)
        assert data[f"accuracy_{when}_interval"] == list(expected)
    assert data["sops_after"] == pytest.approx(data["sops_before"], rel=0.01)
    assert data["window_mismatch_share"] < 0.01
    assert [row["name"] for row in data["sites"]] == [
        site.name for site in load(folder / "finetuned.safetensors").graph.sites
    ]
    outputs = data["lineage"]["outputs"]
    newest = sha256(folder / "reparameterized.safetensors")
    assert [file["sha256"] for file in outputs] == [newest] * 2


def test_the_checkpoint_has_single_thresholds_and_the_same_weights(lm_ht):
    folder, _ = lm_ht
    before, after = (
        load(folder / f"{kind}.safetensors") for kind in ("finetuned", "reparameterized")
    )
    assert all(before.network[name].equal(tensor) for name, tensor in after.network.items())
    assert after.spiking.params["levels"] == 1
    assert after.spiking.timesteps == 6
    assert [step.stage for step in after.lineage][-2:] == ["finetune", "reparameterize"]
    site = after.graph.sites[0].name
    wide, narrow = after.neurons[f"{site}/omega"], before.neurons[f"{site}/omega"]
    assert torch.equal(wide[::3, ::3], narrow / 3)
    assert torch.equal(wide, narrow.repeat_interleave(3, 0).repeat_interleave(3, 1) / 3)
    assert not torch.equal(narrow, torch.full((2, 2), 0.5))  # something was learned


def test_vanilla_is_plain_if(lm_ht, tmp_path):
    folder, _ = lm_ht
    out = tmp_path / "plain.safetensors"
    report = reparameterizing(folder, vanilla=True, out=out)
    after = load(out)
    assert report.neuron == after.spiking.neuron == "if"
    assert after.spiking.params == {"v0": 0.5}
    assert after.neurons == {}
    assert report.window_mismatch_share > 0


def test_accuracy_that_is_another_is_an_error_and_nothing_is_written(lm_ht, tmp_path, monkeypatch):
    from snnconv.neurons.lm_ht import LMHT

    single = LMHT.single_threshold

    def broken(neuron):
        twin = single(neuron)
        twin.omega.data.neg_()
        return twin

    monkeypatch.setattr(LMHT, "single_threshold", broken)
    folder, _ = lm_ht
    with pytest.raises(CheckFailedError) as caught:
        reparameterizing(folder, out=tmp_path / "x.safetensors")
    assert caught.value.code == ExitCode.CHECK_FAILED
    assert "differs from it" in caught.value.problem
    assert list(tmp_path.iterdir()) == []


def test_neurons_of_one_threshold_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match="if neurons, which have one threshold already"):
        reparameterizing(tmp_path, checkpoint=run.file("converted"))


def test_the_wrong_kind_is_refused(run, tmp_path):
    with pytest.raises(CheckpointError, match="kind 'calibrated'"):
        reparameterizing(tmp_path, checkpoint=run.file("calibrated"))


def test_the_same_work_gives_the_same_bytes(lm_ht, tmp_path):
    options = {"checkpoint": lm_ht[0] / "finetuned.safetensors"}
    same_bytes(tmp_path, reparameterizing, "reparameterized", **options)


@pytest.mark.parametrize(("param", "why"), [({}, "negative"), ({"preset": "burst"}, "5 spikes")])
def test_neurons_that_no_single_threshold_replaces_are_refused_by_name(run, tmp_path, param, why):
    converting(tmp_path, checkpoint=run.file("calibrated"), neuron="signed", param=param)
    with pytest.raises(UsageError, match=f"signed neurons, whose {why}"):
        reparameterizing(tmp_path)

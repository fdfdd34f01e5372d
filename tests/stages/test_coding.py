"""A coding through the stages: kept, shown, and refused by name where it can't be."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.commands import done, files, here, refused
from helpers.runs import converting, correcting, evaluating, finetuning

import snnconv
from snnconv.checkpoint import load, save
from snnconv.errors import CheckpointError, ExitCode
from snnconv.simulation.build import spiking_network
from snnconv.simulation.codings.differential import DifferentialNeuron

T = 6


@pytest.fixture(scope="module")
def coded(run, tmp_path_factory):
    """A run folder with a network of differential coding."""
    folder = tmp_path_factory.mktemp("coded")
    report = converting(
        folder,
        checkpoint=run.file("calibrated"),
        neuron="signed",
        coding="differential",
        timesteps=T,
    )
    assert report.coding == "differential"
    return folder


def test_the_checkpoint_keeps_it(coded):
    network = load(coded / "converted.safetensors")
    assert network.spiking.coding == "differential"
    snn = spiking_network(network)
    assert {type(neuron) for neuron in snn.neurons.values()} == {DifferentialNeuron}
    assert snn.signed


def test_evaluations_do_not_depend_on_chunks_or_engines(coded):
    found = [
        evaluating(coded, **options)
        for options in ({}, {"chunk": 1}, {"engine": "dense"}, {"engine": "event"})
    ]
    assert {report.coding for report in found} == {"differential"}
    assert len({tuple(report.accuracy) for report in found}) == 1
    assert len({report.sops_per_sample for report in found}) == 1


def test_what_shows_networks_shows_it(coded):
    evaluating(coded)
    shown = done("inspect", coded / "converted.safetensors", "--run", coded).out
    assert "differential" in shown
    assert "differential" in done("ls", "codings").out
    assert list(coded.glob("converted-signed-differential-*-T6.safetensors"))
    assert list(coded.glob("evaluate-signed-differential-*.json"))
    done("report", "--run", coded)
    for page in ("report.html", "report.md"):
        assert "SIGNED differential" in (coded / page).read_text()


def test_if_neurons_have_the_spikes_of_signed_ones(run, tmp_path):
    counts = []
    for name, options in (("if", {}), ("signed", {"param": {"hysteresis": 0}})):
        converting(
            tmp_path / name,
            checkpoint=run.file("calibrated"),
            neuron=name,
            coding="differential",
            **options,
        )
        counts.append(evaluating(tmp_path / name).spikes_per_sample)
    assert counts[0] == counts[1] > 0


def test_a_loaded_network_is_the_evaluated_one_and_can_stream(coded):
    file = coded / "converted.safetensors"
    network, x = snnconv.load_network(file), torch.rand(2, *load(file).data.shape)
    whole = network(x, every_step=True)
    stream = network.stream()
    steps = torch.stack([stream(x) for _ in range(T)])
    torch.testing.assert_close(steps, whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["bias", "potential", "steps", "amplitude"])
def test_corrections_bring_means_nearer(coded, tmp_path, method):
    report = correcting(tmp_path, checkpoint=coded / "converted.safetensors", method=method)
    assert sum(row.mean_error_after for row in report.sites) < 0.5 * sum(
        row.mean_error_before for row in report.sites
    )
    after = load(tmp_path / "corrected.safetensors")
    assert after.spiking.coding == "differential"
    evaluating(tmp_path)


def test_finetuning_goes_on_from_it(coded, tmp_path):
    report = finetuning(tmp_path, checkpoint=coded / "converted.safetensors", timesteps=3)
    assert report.accuracy_best >= report.accuracy_epoch0
    tuned = load(tmp_path / "finetuned.safetensors")
    assert tuned.spiking.coding == "differential"
    assert evaluating(tmp_path).coding == "differential"


def test_an_exported_module_sends_changes_too(run, tmp_path):
    """Of IF neurons, at whose sites others stand."""
    calibrated = run.file("calibrated")
    converting(tmp_path, checkpoint=calibrated, neuron="if", coding="differential", timesteps=3)
    done("export", tmp_path / "converted.safetensors", "--limit", 5, "--run", tmp_path)
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["difference"] == 0
    assert report["samples"] == 5


def test_a_converted_module_has_it():
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    network = snnconv.convert_module(module, torch.rand(50, 4), coding="differential", timesteps=64)
    assert network.to_checkpoint().spiking.coding == "differential"
    x = torch.rand(5, 4)
    torch.testing.assert_close(network(x), module(x), rtol=0, atol=0.05)


def test_what_can_not_be_done(coded, run, tmp_path):
    calibrated = run.file("calibrated")

    def refuses(*words, problem, found, remedy):
        lost = here("convert", calibrated, "--coding", *words, "--run", tmp_path)
        refused(lost, ExitCode.USAGE, problem, found, remedy)
        assert not files(tmp_path)

    refuses("rat", problem="no coding of that name", found="'rat'", remedy="'rate'")
    refuses(
        *("differential", "--neuron", "lm-ht"),
        problem="can't send changes",
        found="LMHT neurons",
        remedy="--neuron signed",
    )
    refuses(
        *("differential", "--neuron", "signed", "--param", "preset=burst"),
        problem="can't send changes",
        found="without negative spikes",
        remedy="--param negative",
    )
    lost = here("reparameterize", coded / "converted.safetensors", "--run", tmp_path)
    refused(lost, ExitCode.USAGE, "can't be reparameterized", "negative spikes", "lm-ht")


def test_a_checkpoint_of_a_coding_that_there_is_not(coded, tmp_path):
    network = load(coded / "converted.safetensors")
    wrong = network.spiking.model_copy(update={"coding": "morse"})
    save(replace(network, spiking=wrong), tmp_path / "morse.safetensors")
    with pytest.raises(CheckpointError) as caught:
        spiking_network(load(tmp_path / "morse.safetensors"))
    assert "morse" in caught.value.found
    assert "snnconv convert" in caught.value.remedy


def test_a_file_of_before_codings_is_of_rates(coded):
    document = json.loads(load(coded / "converted.safetensors").spiking.model_dump_json())
    del document["coding"]
    assert type(load(coded / "converted.safetensors").spiking)(**document).coding == "rate"

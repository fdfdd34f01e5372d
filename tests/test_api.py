"""The Python API: the commands as functions, of the same names and options."""

import inspect
import subprocess
import sys

import pytest
import torch
from helpers.commands import files
from torch import nn

import snnconv
from snnconv import api
from snnconv.config import STAGES, InspectConfig
from snnconv.errors import UnsupportedError, UsageError
from snnconv.reports import REPORTS


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiny():
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


def test_importing_the_package_imports_no_torch():
    code = "import sys, snnconv; print('convert' in dir(snnconv), 'torch' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output == "True False\n"


def test_the_package_offers_what_the_api_has():
    assert list(snnconv._API) == api.__all__ == sorted(api.__all__, key=lambda n: (n.islower(), n))
    assert dir(snnconv) == sorted(api.__all__)
    assert {*STAGES, "inspect", "load", "save"} <= set(api.__all__)
    for name in api.__all__:
        assert getattr(snnconv, name) is getattr(api, name)
        assert inspect.getdoc(getattr(api, name))
    with pytest.raises(AttributeError, match="'nothing'"):
        snnconv.nothing  # noqa: B018


def test_a_live_network_from_calibration_to_report(tmp_path):
    module = tiny().train()
    calibrated = snnconv.calibrate(module, method="max", samples=64, run="run")
    assert module.training
    assert calibrated.method == "max"
    assert [site.name for site in calibrated.sites] == ["2"]
    converted = snnconv.convert(neuron="msat", timesteps=4, param={"preset": "vgg16"}, run="run")
    assert (converted.neuron, converted.sites_converted) == ("msat", 1)
    assert snnconv.finetune(epochs=0, limit=60, run="run").epochs == []
    evaluated = snnconv.evaluate("run/converted.safetensors", limit=20, run="run")
    assert len(evaluated.accuracy) == 4
    assert snnconv.inspect(run="run").kind == "finetuned"
    reported = snnconv.report("run/evaluate.json", run="run")
    assert [run.label for run in reported.runs] == ["MSAT max"]
    assert set(files(tmp_path / "run")) >= {"ann.safetensors", "report.html", "evaluate.json"}


@pytest.mark.parametrize("works", [True, False])
def test_a_frozen_layer_stays_frozen(works):
    module = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 10 if works else 3),
    ).train()
    module[2].eval()
    if works:
        snnconv.calibrate(module, samples=64)
    else:
        with pytest.raises(UnsupportedError, match="3 outputs for 10 classes"):
            snnconv.calibrate(module, samples=64)
    assert [part.training for part in module] == [True, True, False, True, True]
    assert module.training


def test_a_live_network_keeps_its_outputs(tmp_path):
    module = tiny().eval()
    snnconv.calibrate(module, samples=64)
    checkpoint = snnconv.load(tmp_path / "snnconv-run" / "calibrated.safetensors")
    wanted = dict(module.named_parameters())
    assert set(checkpoint.network) == set(wanted)
    assert all(torch.equal(checkpoint.network[name], wanted[name]) for name in wanted)


def test_training(tmp_path):
    report = snnconv.train("mlp", epochs=1, limit=100, out=tmp_path / "net.safetensors")
    assert report.model == "mlp"
    assert (tmp_path / "net.json").is_file()


def test_a_spiking_network_to_work_with(tmp_path):
    snnconv.calibrate(tiny(), samples=64)
    snnconv.convert(timesteps=3)
    checkpoint = snnconv.load(tmp_path / "snnconv-run" / "converted.safetensors")
    network = snnconv.spiking_network(checkpoint)
    with torch.no_grad():
        currents, state = network(torch.rand(1, 2, 1, 8, 8), 3, torch.arange(2))
    assert currents.shape == (3, 2, 10)
    assert state.steps == 3
    snnconv.save(checkpoint, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "snnconv-run" / "converted.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("stage", [*STAGES, "inspect"])
def test_a_function_takes_the_options_of_its_command(stage):
    function = getattr(snnconv, stage)
    with pytest.raises(UsageError, match=f"stage '{stage}' has no such option") as caught:
        function(sede=1)
    assert "did you mean 'seed'?" in caught.value.remedy
    refused = f"option seed of stage '{stage}' can't be taken"
    with pytest.raises(UsageError, match=refused) as caught:
        function(seed=-1)
    assert caught.value.found == "-1"
    assert caught.value.remedy == "give 0 or more (seed of everything random)"
    known = set({**STAGES, "inspect": InspectConfig}[stage].model_fields)
    named = [p.name for p in inspect.signature(function).parameters.values() if p.name != "options"]
    assert set(named) <= known
    assert stage in REPORTS


def test_no_value_is_the_default():
    with pytest.raises(UsageError, match="no checkpoint to work on"):
        snnconv.convert(None, neuron=None, timesteps=None)


def test_a_live_network_that_does_not_fit(tmp_path):
    before = files(tmp_path)
    with pytest.raises(UnsupportedError, match="12 outputs for 10 classes"):
        snnconv.calibrate(tiny()[:3], run="run")
    assert files(tmp_path) == before

from pathlib import Path

import pytest
from helpers.runs import calibrating, check_report, converting, evaluating, same_bytes
from torch import nn

from snnconv.checkpoint import load, save, sha256
from snnconv.config import InspectConfig, ReportConfig
from snnconv.data.dataset import load_dataset
from snnconv.engine.event_conv import plan
from snnconv.errors import CheckpointError, ObstaclesError, UnsupportedError
from snnconv.frontends.open import EMBEDDED, from_module
from snnconv.stages import inspect, report


def test_the_report(run):
    data = check_report(run, "calibrate", ["ann"], ["calibrated"])
    assert data["method"] == "mse"
    assert data["samples"] == 200
    checkpoint = run.checkpoint("calibrated")
    assert [site["name"] for site in data["sites"]] == [s.name for s in checkpoint.graph.sites]
    for site in data["sites"]:
        assert 0 < site["threshold"] <= site["max"]
        theta = checkpoint.thresholds()[site["name"]]
        assert site["channels"] == len(theta) > 1
        assert site["threshold"] == pytest.approx(theta.mean().item())


def test_how_far_the_import_is_from_its_source(run, tmp_path):
    assert check_report(run, "calibrate", ["ann"], ["calibrated"])["imported"] is None
    file = tmp_path / "net.py"
    file.write_text("from snnconv.zoo.small import mlp as make\n")
    found = calibrating(tmp_path, model=f"{file}:make")
    assert found.imported.referee == "torch"
    assert 0 <= found.imported.difference <= found.imported.tolerance == 1e-4


def test_the_network_is_not_touched(run):
    before, after = run.checkpoint("ann"), run.checkpoint("calibrated")
    assert before.graph == after.graph
    assert all(before.network[name].equal(tensor) for name, tensor in after.network.items())


def test_the_lineage_grows(run):
    past = run.checkpoint("calibrated").lineage
    assert [step.stage for step in past] == ["train", "calibrate"]
    assert past[-1].parent == sha256(run.file("ann"))
    report = run.reports["calibrate"].lineage
    assert report.parent_report_sha256 == sha256(run.folder / "train.json")


def test_without_anything_the_embedded_network_serves(tmp_path):
    report = calibrating(tmp_path)
    assert [file.sha256 for file in report.lineage.inputs] == [sha256(EMBEDDED)]
    assert len(report.sites) == 4


def test_the_network_that_was_calibrated_in_the_run_serves_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layers = "nn.Flatten(), nn.Linear(64, 4), nn.GELU(), nn.Linear(4, 4), nn.ReLU()"
    text = f"from torch import nn\ndef one(): return nn.Sequential({layers}, nn.Linear(4, 10))"
    Path("net.py").write_text(text)
    first = calibrating(tmp_path, model="net.py:one", non_relu="analog", method="max")
    again = calibrating(tmp_path, method="max")
    assert [site.threshold for site in again.sites] == [site.threshold for site in first.sites]
    assert load(tmp_path / "calibrated.safetensors").lineage[-2].config["model"] == "net.py:one"
    calibrated = tmp_path / "calibrated.safetensors"
    calibrated.write_bytes(calibrated.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="name the network"):
        calibrating(tmp_path)


def test_the_same_work_gives_the_same_bytes(tmp_path):
    same_bytes(tmp_path, calibrating, "calibrated")


def test_a_model_is_named_by_its_content(run, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(run.file("ann").read_bytes())
    files = []
    for model in (copy, run.file("ann")):
        calibrating(tmp_path, model=str(model))
        files.append((tmp_path / "calibrated.safetensors").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("method", "granularity"), [("max", "channel"), ("percentile", "channel"), ("mse", "layer")]
)
def test_batches_change_no_threshold(run, tmp_path, method, granularity):
    found = []
    for size in (7, 200):
        options = {"method": method, "granularity": granularity, "batch_size": size}
        calibrating(tmp_path, model=str(run.file("ann")), **options)
        found.append(load(tmp_path / "calibrated.safetensors").thresholds())
    for name, theta in found[0].items():
        assert theta.tolist() == pytest.approx(found[1][name].tolist(), rel=1e-5)


def test_a_named_checkpoint_has_its_report_beside_it(run, tmp_path):
    out = tmp_path / "mine.safetensors"
    calibrating(tmp_path / "unused", model=str(run.file("ann")), out=out)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]


def test_a_checkpoint_of_another_stage(run, tmp_path):
    with pytest.raises(CheckpointError):
        calibrating(tmp_path, model=str(run.file("converted")))
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_a_site(tmp_path):
    file = tmp_path / "linear.py"
    file.write_text(
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    with pytest.raises(UnsupportedError, match="no ReLU"):
        calibrating(tmp_path, model=f"{file}:net")


GATED = """
from torch import nn

def net():
    parts = nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 10), nn.GELU()
    return nn.Sequential(nn.Flatten(), *parts, nn.Linear(10, 10))
"""


def test_functions_no_neuron_stands_for(tmp_path):
    (tmp_path / "gated.py").write_text(GATED)
    model = f"{tmp_path / 'gated.py'}:net"
    with pytest.raises(UnsupportedError) as caught:
        calibrating(tmp_path, model=model)
    assert caught.value.found == "4: module SiLU; 6: module GELU"
    assert "--non-relu analog" in caught.value.remedy
    assert not (tmp_path / "calibrated.safetensors").exists()

    assert len(calibrating(tmp_path, model=model, non_relu="analog").sites) == 1
    converted = converting(tmp_path)
    assert converted.analog == ["4", "6"]
    # 16 x 16 MACs fed by spikes; 16 x 10 and 10 x 10 behind look-ups of 16 and 10 values
    assert converted.non_spiking_share == pytest.approx(260 / (260 + 256))
    assert converted.function_share == pytest.approx(26 / (26 + 64 * 16 + 256 + 260))
    evaluated = evaluating(tmp_path, timesteps=64)
    # each function takes products with 1/t and t
    assert evaluated.analog_macs_per_sample == 260 + 2 * 26
    assert evaluated.analog_macs_once_per_sample == 0
    assert evaluated.agreement[-1] > 0.9


FIRST = """
from torch import nn

def net():
    parts = nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU()
    return nn.Sequential(*parts, nn.Linear(16, 10))
"""


def test_every_report_says_what_does_not_spike(tmp_path):
    """A function of the constant input is computed once, and does not spike any more for that."""
    (tmp_path / "first.py").write_text(FIRST)
    model, macs = f"{tmp_path / 'first.py'}:net", 64 * 16 + 16 * 16 + 16 * 10
    share = pytest.approx(16 / (macs + 16))
    calibrated = calibrating(tmp_path, model=model, non_relu="analog")
    converted, evaluated = converting(tmp_path), evaluating(tmp_path)
    assert evaluated.analog_macs_once_per_sample == 0  # sixteen look-ups
    assert evaluated.first_layer_macs_per_sample == 64 * 16 + 16 * 16
    assert evaluated.analog_macs_per_sample == 0
    shown = inspect.run(InspectConfig(run=tmp_path))
    written = report.run(ReportConfig(run=tmp_path))
    for found in (calibrated, converted, evaluated, shown, *written.runs):
        assert found.non_spiking_share == 256 / (256 + 160)
        assert found.function_share == share
    for file in ("report.md", "report.html"):
        text = (tmp_path / file).read_text()
        assert "MACs that do not spike" in text
        assert "Operations of functions" in text
        assert "1.10" in text
        assert "61.5" in text
        assert "MACs of analog functions" not in text  # there are none: look-ups alone


def test_a_checkpoint_with_functions_is_no_way_round(tmp_path):
    parts = nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.SiLU()
    module = nn.Sequential(*parts, nn.Linear(16, 10))
    info = load_dataset("digits").info
    file = tmp_path / "ann.safetensors"
    save(from_module(module, info, analog=True).network, file)
    with pytest.raises(ObstaclesError) as caught:
        calibrating(tmp_path, model=str(file))
    assert caught.value.found == "4: the function 'silu', which no neuron stands for"
    assert len(calibrating(tmp_path, model=str(file), non_relu="analog").sites) == 1
    seen = inspect.run(InspectConfig(run=tmp_path, model=str(file)))
    assert [row.place for row in seen.obstacles] == ["4"]
    calibrated = InspectConfig(run=tmp_path, model=str(tmp_path / "calibrated.safetensors"))
    assert inspect.run(calibrated).converts


@pytest.mark.parametrize("engine", ["dense", "event"])
def test_sin_neurons_are_counted_where_they_are_asked_for(tmp_path, engine):
    plain = calibrating(tmp_path / "plain", samples=40)
    assert {site.sin_ratio for site in plain.sites} == {plain.sin_steps} == {None}
    assert plain.engine == {}
    asked = {"sin": 12, "sin_samples": 30, "engine": engine, "memory": "25MiB"}
    report = calibrating(tmp_path, samples=40, **asked)
    assert (report.sin_steps, report.sin_samples) == (12, 30)
    for mine, other in zip(report.sites, plain.sites, strict=True):
        assert mine.model_copy(update={"sin_ratio": None}) == other
    assert engine in report.engine.values() or plan.event_driven() is None
    options = {"thresholds": "as-calibrated", "confidence_samples": 30}
    keep = converting(tmp_path, confidence="all", early=12, **options).confidence
    assert {site.name: 1 - site.sin_ratio for site in report.sites} == pytest.approx(keep)
    assert any(site.sin_ratio for site in report.sites)

import pytest
from helpers.runs import calibrating, check_report, converting, same_bytes, training

from snnconv.checkpoint import load, sha256
from snnconv.errors import CheckpointError, ExitCode, UsageError


def test_the_report(run):
    data = check_report(run, "convert", ["calibrated"], ["converted"])
    assert data["neuron"] == "if"
    assert data["params"] == {"v0": 0.5}
    assert data["timesteps"] == 6
    assert data["sites_converted"] == 2
    assert data["non_spiking_share"] == 0
    assert data["cumulative_pools"] == []
    assert next(iter(data["engine"].values())) == "once"


def test_no_tensor_is_touched(run):
    before, after = run.checkpoint("calibrated"), run.checkpoint("converted")
    assert all(before.network[name].equal(tensor) for name, tensor in after.network.items())
    kept = {name: t for name, t in after.calibration.items() if not name.endswith("threshold")}
    assert all(before.calibration[name].equal(tensor) for name, tensor in kept.items())
    assert after.thresholds().keys() == before.thresholds().keys()  # derived for this T
    assert after.reference == after.neurons == {}


def test_the_lineage_grows(run):
    past = run.checkpoint("converted").lineage
    assert [step.stage for step in past] == ["train", "calibrate", "convert"]
    assert past[-1].parent == sha256(run.file("calibrated"))


@pytest.mark.parametrize("confidence", ["off", "all"])
def test_the_same_work_gives_the_same_bytes(run, tmp_path, confidence):
    options = {"confidence": confidence, "confidence_samples": 30, "neuron": "msat"}
    same_bytes(tmp_path, converting, "converted", checkpoint=run.file("calibrated"), **options)


def test_confidence_is_measured_and_kept(run, tmp_path):
    report = converting(
        tmp_path,
        checkpoint=run.file("calibrated"),
        confidence="last",
        early=3,
        confidence_samples=30,
    )
    info = load(tmp_path / "converted.safetensors").spiking.confidence
    assert report.confidence == info.keep
    assert report.early == info.early == 3
    assert list(info.keep) == [run.checkpoint("ann").graph.sites[-1].name]
    assert all(0 <= p <= 1 for p in info.keep.values())


def test_max_poolings_are_named(tmp_path):
    training(tmp_path, model="cnn?width=0.25&pool=max", epochs=0, limit=100)
    calibrating(tmp_path, samples=20)
    assert converting(tmp_path).cumulative_pools == ["3", "10"]


def test_a_share_that_does_not_spike_is_told(tmp_path):
    file = tmp_path / "deep.py"
    file.write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(),\n"
        "                         nn.Linear(8, 6), nn.Linear(6, 10))\n"
    )
    calibrating(tmp_path, model=f"{file}:net", samples=20)
    assert converting(tmp_path).non_spiking_share == pytest.approx(60 / (48 + 60))


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"neuron": "iff"}, "did you mean 'if'"),
        ({"param": {"v00": 0}}, "did you mean 'v0'"),
        ({"confidence": "9"}, "one of"),
    ],
)
def test_what_there_is_none_of(run, tmp_path, options, remedy):
    with pytest.raises(UsageError) as caught:
        converting(tmp_path, checkpoint=run.file("calibrated"), **options)
    assert remedy in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_convert(tmp_path):
    with pytest.raises(UsageError, match=r"no calibrated\.safetensors") as caught:
        converting(tmp_path)
    assert caught.value.remedy == "snnconv calibrate"


def test_a_checkpoint_that_is_not_calibrated(run, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        converting(tmp_path, checkpoint=run.file("ann"))
    assert caught.value.code == ExitCode.CHECKPOINT


def test_confidence_does_not_go_with_neurons_that_take_all_steps_as_one(run, tmp_path):
    with pytest.raises(UsageError, match="spike confidence can't act on lm-ht neurons"):
        converting(tmp_path, checkpoint=run.file("calibrated"), neuron="lm-ht", confidence="last")

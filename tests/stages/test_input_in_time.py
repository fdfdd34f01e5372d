"""All stages on recordings that a moving event camera would make of the embedded digits."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.runs import (
    calibrating,
    converting,
    evaluating,
    finetuning,
    reparameterizing,
    training,
    written,
)

from snnconv.checkpoint import load
from snnconv.config import InspectConfig
from snnconv.data.dataset import load_dataset
from snnconv.errors import UnsupportedError, UsageError
from snnconv.stages import inspect

MAKER = runpy.run_path(str(Path(__file__).parents[2] / "docs/results/saccades.py"))


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run folder: a network trained on recordings of four frames, and calibrated."""
    folder = tmp_path_factory.mktemp("moved")
    file = folder / "digits.npz"
    MAKER["make"](file, load_dataset("digits"), 400, 60, 4)
    report = training(folder, data=f"npz:{file}", epochs=15, lr=0.05)
    calibrating(folder)
    return folder, report


def test_an_ann_learns_from_the_mean(moved):
    folder, report = moved
    assert report.accuracy > 0.6
    assert report.data.frames == 4
    checkpoint = load(folder / "ann.safetensors")
    assert (checkpoint.data.shape, checkpoint.data.frames) == ((2, 8, 8), 4)


@pytest.mark.parametrize(("neuron", "timesteps"), [("if", 64), ("msat", 8), ("lm-ht", 4)])
def test_neurons_see_frames(moved, tmp_path, neuron, timesteps):
    folder, report = moved
    calibrated = folder / "calibrated.safetensors"
    converting(tmp_path, checkpoint=calibrated, neuron=neuron, timesteps=timesteps)
    found = evaluating(tmp_path, limit=60)
    assert found.first_layer_passes == timesteps
    assert found.ann_accuracy == report.accuracy
    assert found.accuracy[-1] > 0.5
    assert found.energy_total_mj == pytest.approx(found.energy_total_every_step_mj)
    if neuron == "if":
        assert found.accuracy[-1] == pytest.approx(report.accuracy, abs=0.05)
        chunked = evaluating(tmp_path, limit=60, chunk=5, batch_size=7)
        assert chunked.spikes_per_sample == found.spikes_per_sample
        assert chunked.accuracy == found.accuracy


def test_confidence_is_measured_on_frames(moved, tmp_path):
    folder, _ = moved
    calibrated = folder / "calibrated.safetensors"
    report = converting(
        tmp_path, checkpoint=calibrated, timesteps=4, confidence="all", confidence_samples=50
    )
    assert all(0 < keep <= 1 for keep in report.confidence.values())
    assert min(report.confidence.values()) < 1


def test_fine_tuning_through_frames(moved, tmp_path):
    folder, _ = moved
    calibrated = folder / "calibrated.safetensors"
    converting(tmp_path, checkpoint=calibrated, timesteps=2)
    report = finetuning(tmp_path, epochs=10, timesteps=None, augment=("crop",))
    assert report.timesteps == 2
    assert report.accuracy_best >= report.accuracy_epoch0
    assert min(epoch.loss for epoch in report.epochs[1:]) < report.epochs[0].loss
    assert evaluating(tmp_path, limit=60).data.frames == 4


def test_a_window_of_a_reparameterized_network_shows_what_a_step_did(moved, tmp_path):
    folder, _ = moved
    calibrated = folder / "calibrated.safetensors"
    how = {"neuron": "lm-ht", "timesteps": 4, "param": {"levels": 2, "omega": "identity"}}
    converting(tmp_path, checkpoint=calibrated, **how)
    report = reparameterizing(tmp_path, limit=60, tolerance=10)
    assert report.window_mismatch_share < 0.1
    after = load(tmp_path / "reparameterized.safetensors")
    assert (after.spiking.timesteps, after.spiking.hold) == (8, 2)
    found = evaluating(tmp_path, limit=60)
    assert (found.timesteps, found.first_layer_passes) == (8, 4)
    assert found.accuracy[-1] == report.accuracy_after
    # the input layer's windows are the same to a spike where currents lie in 0..theta
    assert report.sops_after == pytest.approx(report.sops_before, rel=0.1)


@pytest.mark.parametrize("stage", [converting, finetuning, evaluating])
def test_a_T_that_does_not_fit_is_refused(moved, tmp_path, stage):
    folder, _ = moved
    converting(tmp_path, checkpoint=folder / "calibrated.safetensors", timesteps=4)
    given = {"checkpoint": folder / "calibrated.safetensors"} if stage is converting else {}
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="samples of 4 frames can't be shown in T = 6 steps"):
        stage(tmp_path, timesteps=6, **given)
    assert sorted(tmp_path.iterdir()) == before


def test_other_data_must_have_as_many_frames(moved, tmp_path):
    folder, _ = moved
    pixels = np.zeros((12, 3, 2, 8, 8), np.uint8)
    labels = np.arange(12) % 10
    for name, x, layout in (("three", pixels, "TCHW"), ("none", pixels[:, 0], "CHW")):
        np.savez(
            tmp_path / f"{name}.npz",
            x_train=x,
            y_train=labels,
            x_test=x,
            y_test=labels,
            layout=layout,
            classes=np.arange(10),
        )
    converting(tmp_path, checkpoint=folder / "calibrated.safetensors", timesteps=4)
    for name, has in (("three", 3), ("none", "none")):
        with pytest.raises(UnsupportedError, match="number of frames") as caught:
            evaluating(tmp_path, data=f"npz:{tmp_path / name}.npz")
        found = caught.value.found
        assert found == f"number of frames {has}, where the network has 4"


def test_inspect_says_what_is_computed_for_every_frame(moved):
    folder, _ = moved
    config = InspectConfig(run=folder, model=str(folder / "calibrated.safetensors"))
    carries = [node.carries for node in inspect.run(config).nodes]
    assert carries[:2] == ["frames", "frames"]
    assert "constant" not in carries


def test_the_report_is_a_file(moved, tmp_path):
    folder, _ = moved
    converting(tmp_path, checkpoint=folder / "calibrated.safetensors", timesteps=4)
    evaluating(tmp_path)
    assert written(tmp_path, "evaluate")["data"]["frames"] == 4
    assert torch.tensor(written(tmp_path, "evaluate")["accuracy"]).isfinite().all()

"""A first look at the data, and data to calibrate on beside those to measure on."""

import pytest
import torch
from torch import nn

import snnconv
from snnconv.config import CalibrateConfig
from snnconv.core.progress import Quiet
from snnconv.data.objects.held import hold
from snnconv.data.split import subset
from snnconv.errors import UsageError
from snnconv.stages import calibrate

X = torch.rand(400, 6, generator=torch.Generator().manual_seed(0)) * 3 - 1
Y = (X[:, 0] > X[:, 1]).long()


class Told(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(X), Y).backward()
        optimiser.step()
    return net


def test_figures_by_hand_and_other_data_to_calibrate_on(net):
    report = snnconv.calibrate(net, data=(X, Y), calibration_data=X[:50], run="r")
    few = subset(Y, 256, 0)
    x, y = X[few], Y[few]
    look = report.look
    assert (look.samples, look.low, look.high) == (256, x.min(), x.max())
    assert look.mean == pytest.approx(float(x.mean()), abs=1e-5)
    assert look.std == pytest.approx(float(x.std(correction=0)), abs=1e-5)
    assert look.classes == 2
    assert look.largest_class_share == int(y.bincount().max()) / 256
    with torch.no_grad():
        right = int((net(x).argmax(1) == y).sum())
    assert look.ann_accuracy == report.ann_accuracy == right / 256
    assert (report.samples, report.subset.how, report.data.train_samples) == (50, "all", 400)
    assert report.calibration_data.train_samples == 50


def mean_of_pixels():
    """A network that gives the mean of pixels in 0..255."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        for layer in (net[1], net[3]):
            layer.weight.fill_(1 / layer.in_features)
            layer.bias.zero_()
    return net


def test_a_regression_that_is_near_chance_is_told_what_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = (torch.rand(60, 4, 4, generator=torch.Generator().manual_seed(0)) * 255).byte()
    data = (pixels, pixels.float().mean((1, 2)))
    with pytest.warns(UserWarning, match="With --scale 1 --mean 0 --std 1 it is") as warned:
        report = snnconv.calibrate(mean_of_pixels(), data=data, run="r")
    assert "the ANN's RMSE of 60 samples is 1" in str(warned[0].message)
    assert (report.look.near_chance, report.look.ann_accuracy) == (True, None)
    report = snnconv.calibrate(mean_of_pixels(), data=data, scale=1, mean=(0,), std=(1,), run="r")
    assert (report.warnings, report.look.near_chance) == ([], False)
    assert report.look.ann_score == pytest.approx(0, abs=1e-4)
    with pytest.raises(UsageError, match="'regression' has no --expect-accuracy"):
        snnconv.calibrate(mean_of_pixels(), data=data, expect_accuracy=0.9, run="r")
    told = Told()
    config = CalibrateConfig(data=hold(data), run="r", model="r/ann.safetensors")
    calibrate.run(config, told)
    assert "; the ANN's RMSE: " in told.lines[0]


def test_it_is_said_before_the_work_begins(net):
    snnconv.calibrate(net, data=(X, Y), run="r")
    told = Told()
    config = CalibrateConfig(data=hold((X, Y)), run="r", model="r/ann.safetensors")
    calibrate.run(config, told)
    assert told.lines[0].startswith("data: 256 samples, values -0.99")
    assert "2 of 2 classes; the ANN classifies" in told.lines[0]
    calibrate.run(config.model_copy(update={"data": hold(X)}), told)
    assert "classes" not in told.lines[-1]


def test_a_network_measured_on_what_it_was_trained_on(net):
    report = snnconv.train("mlp", data=(X[:, None, :, None] * torch.ones(6), Y), epochs=1, run="t")
    assert (
        "one split: the accuracy is of samples that the network was trained" in report.warnings[0]
    )


def test_classes_that_the_samples_leave_out(net):
    wide = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.warns(UserWarning):
        snnconv.calibrate(wide, data=(X, Y), run="w")
    assert snnconv.load("w/calibrated.safetensors").data.classes == ("0", "1", "2", "3")

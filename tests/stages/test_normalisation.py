"""Normalisation that does not fit is said, and can be put right: --mean, --std, --scale."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.runs import calibrating, converting, evaluating, training
from sklearn.datasets import load_digits
from torch import nn

import snnconv
from snnconv.checkpoint import load
from snnconv.config import CalibrateConfig
from snnconv.core.validation import parameters
from snnconv.errors import ExitCode, UnsupportedError, UsageError
from snnconv.render.describe import describe
from snnconv.render.plain import plain

DIGITS = load_digits()
X = (DIGITS.images * 15.9).astype(np.uint8)[:, None]  # 0..254
Y = DIGITS.target


def write(file, x=X, **more):
    np.savez(file, x_train=x[:1400], y_train=Y[:1400], x_test=x[1400:], y_test=Y[1400:], **more)
    return f"npz:{file}"


def trained(x, steps=150):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    x, y = torch.tensor(x).float(), torch.tensor(Y)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(net(x[:1400]), y[:1400]).backward()
        optimiser.step()
    right = net(x[1400:]).argmax(1) == y[1400:]
    return net.eval(), float(right.float().mean())


MEAN, STD = float(X.mean()), float(X.std())


@pytest.fixture(scope="module")
def standardised():
    return trained((X - MEAN) / STD)


@pytest.fixture(scope="module")
def raw():
    return trained(X, 300)


def after(folder):
    """The ANN's accuracy in a later stage, which is told nothing."""
    converting(folder, timesteps=1)
    return evaluating(folder, limit=None).ann_accuracy


def test_mean_in_pixels(tmp_path, standardised):
    net, accuracy = standardised
    data = write(tmp_path / "d.npz", mean=np.float32(MEAN), std=np.float32(STD))
    found = snnconv.calibrate(net, data=data, run=tmp_path)
    assert found.ann_accuracy < 0.2
    pixels, chance, better = found.warnings
    assert "values of 0 to 0.996" in pixels
    assert "look like those of pixels" in pixels
    assert "near chance for 10 classes" in chance
    assert all(option in chance for option in ("--mean", "--std", "--scale", "--weights"))
    assert "with --scale 1 --mean 77.3" in better
    # what it says helps
    found = snnconv.calibrate(net, data=data, run=tmp_path, scale=1)
    assert found.warnings == []
    assert found.ann_accuracy > 0.95
    assert after(tmp_path) == pytest.approx(accuracy, abs=0.01)


def test_a_network_on_raw_pixels(tmp_path, raw):
    net, accuracy = raw
    data = write(tmp_path / "d.npz")
    found = snnconv.calibrate(net, data=data, run=tmp_path)
    assert found.normalisation.origin == "measured"
    (better,) = found.warnings
    assert better.startswith("with --scale 1 --mean 0 --std 1 the ANN classifies ")
    assert "normalisation" in plain(describe(found))
    found = snnconv.calibrate(net, data=data, run=tmp_path, scale=1, mean=0, std=1)
    assert found.warnings == []
    assert after(tmp_path) == pytest.approx(accuracy, abs=0.01)
    info = load(tmp_path / "converted.safetensors").data
    assert (info.scale, info.mean, info.std) == (1, (0,), (1,))


def test_floats_in_0_to_255(tmp_path, raw):
    net, accuracy = raw
    data = write(tmp_path / "d.npz", X.astype(np.float32))
    with pytest.raises(UnsupportedError, match="--scale 255"):
        snnconv.calibrate(net, data=data, run=tmp_path)
    found = snnconv.calibrate(net, data=data, run=tmp_path, scale=255, mean=0, std=1 / 255)
    assert found.warnings == []
    assert after(tmp_path) == pytest.approx(accuracy, abs=0.01)


def test_features_that_are_standardised_already(tmp_path, standardised):
    net, accuracy = standardised
    data = write(tmp_path / "d.npz", ((X - MEAN) / STD).astype(np.float32))
    found = snnconv.calibrate(net, data=data, run=tmp_path, scale=1, mean=0, std=1)
    assert found.warnings == []
    assert after(tmp_path) == pytest.approx(accuracy, abs=0.01)


def test_pixels_beside_statistics_of_0_to_1(tmp_path, standardised):
    data = write(tmp_path / "d.npz", X.astype(np.float32))
    options = {"scale": 1, "mean": MEAN / 255, "std": STD / 255}
    found = snnconv.calibrate(standardised[0], data=data, run=tmp_path, **options)
    assert "values of 0 to 254, as pixels have" in found.warnings[0]
    assert "--scale 255" in found.warnings[0]


def test_a_good_network_is_not_warned_of(tmp_path, run):
    found = calibrating(tmp_path, model=str(run.file("ann")))
    assert found.warnings == []
    assert found.normalisation.origin == "checkpoint"
    assert found.ann_samples == 200
    assert "ANN accuracy" in plain(describe(found))
    assert "on these 200 samples" in plain(describe(found))


def test_the_accuracy_is_counted(tmp_path, standardised):
    net, _ = standardised
    data = write(tmp_path / "d.npz", mean=MEAN / 255, std=STD / 255)
    found = snnconv.calibrate(net, data=data, run=tmp_path, samples=1400)
    right = net(torch.tensor((X[:1400] - MEAN) / STD).float()).argmax(1).numpy() == Y[:1400]
    assert found.ann_accuracy == pytest.approx(right.mean(), abs=1 / 1400)


def test_options_are_kept_by_training(tmp_path):
    data = write(tmp_path / "d.npz")
    options = {"scale": 1.0, "mean": (MEAN,), "std": (STD,)}
    training(tmp_path, data=data, epochs=1, **options)
    info = load(tmp_path / "ann.safetensors").data
    assert (info.scale, info.mean, info.std) == (1, (MEAN,), (STD,))
    training(tmp_path / "more", model=str(tmp_path / "ann.safetensors"), epochs=1)
    assert load(tmp_path / "more" / "ann.safetensors").data == info
    assert calibrating(tmp_path).normalisation.mean == [MEAN]


def test_options_are_over_a_checkpoint_s(tmp_path, run):
    found = calibrating(tmp_path, model=str(run.file("ann")), mean=(0.1,), std=(0.2,))
    assert (found.normalisation.mean, found.normalisation.origin) == ([0.1], "given")
    assert load(tmp_path / "calibrated.safetensors").data.mean == (0.1,)


def test_expected_accuracy(tmp_path, run):
    options = {"model": str(run.file("ann"))}
    good = calibrating(tmp_path, expect_accuracy=0.3, **options)
    assert (good.code(), good.warnings) == (ExitCode.DONE, [])
    before = (tmp_path / "calibrated.safetensors").read_bytes()
    bad = calibrating(tmp_path, expect_accuracy=1.0, **options)
    assert bad.code() == ExitCode.CHECK_FAILED
    assert "100.00% were expected" in bad.warnings[-1]
    assert (tmp_path / "calibrate.json").exists()
    assert (tmp_path / "calibrated.safetensors").read_bytes() == before  # it changes no content


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("0.5,0.4, 0.3", (0.5, 0.4, 0.3)),
        (["0.5", "0.4"], (0.5, 0.4)),
        (["0.5,0.4", "0.3"], (0.5, 0.4, 0.3)),
        (0.5, (0.5,)),
        ([0.5, 0.4], (0.5, 0.4)),
    ],
)
def test_one_number_or_one_a_channel(given, wanted):
    assert CalibrateConfig(mean=given, std=given).mean == wanted


@pytest.mark.parametrize(
    "options",
    [{"mean": 0.5}, {"std": 0.5}, {"mean": "a", "std": 1}, {"scale": 0}, {"expect_accuracy": 90}],
)
def test_options_that_can_not_be_taken(options):
    with pytest.raises(UsageError):
        parameters(CalibrateConfig, options, "stage 'calibrate'", "option")


def test_a_number_of_channels_that_does_not_fit(tmp_path):
    with pytest.raises(UnsupportedError, match="mean"):
        calibrating(tmp_path, data="digits", mean=(0.5, 0.5), std=(0.5, 0.5))


def test_a_std_of_zero(tmp_path):
    with pytest.raises(UnsupportedError, match="every std above 0"):
        calibrating(tmp_path, data="digits", mean=(0.5,), std=(0.0,))


def test_texts_have_no_normalisation(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for k in range(10):
            (tmp_path / "texts" / name / f"{k}.txt").write_text(f"word {name} {k}")
    with pytest.raises(UsageError, match="token numbers"):
        training(tmp_path, data=f"textfolder:{tmp_path / 'texts'}", scale=2.0)

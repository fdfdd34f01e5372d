"""A conversion finds thresholds for its own T and neuron, from what the checkpoint keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.runs import calibrating, converting, training

from snnconv.calibration.bins import Bins
from snnconv.calibration.histogram import Refit
from snnconv.calibration.refit import refitted, searched
from snnconv.calibration.statistics.mse import Params, errors, spread
from snnconv.checkpoint import load, save
from snnconv.errors import UsageError
from snnconv.neurons.base import NEURONS, Grid


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("refit")
    training(made, epochs=1)
    return made


def calibrated(folder, tmp_path, source="ann", **options):
    out = tmp_path / "found.safetensors"
    calibrating(tmp_path, model=str(folder / f"{source}.safetensors"), out=out, **options)
    return out


@pytest.mark.parametrize("granularity", ["layer", "channel"])
@pytest.mark.parametrize(
    ("neuron", "param", "given"),
    [
        ("if", {}, {"timesteps": 4, "v0": 0.5}),
        ("if", {"v0": 0}, {"timesteps": 4, "v0": 0}),
        ("lm-ht", {"levels": 3}, {"timesteps": 12, "v0": 0.5}),
        ("signed", {"spikes": 4}, {"timesteps": 4, "v0": 0.5}),
        ("msat", {}, {"timesteps": 4, "v0": 0}),
    ],
)
def test_without_data_they_are_those_with_data(folder, tmp_path, granularity, neuron, param, given):
    options = {"method": "mse", "granularity": granularity}
    plain = calibrated(folder, tmp_path, **options)
    report = converting(tmp_path, checkpoint=plain, neuron=neuron, param=param, timesteps=4)
    assert (report.thresholds, report.threshold_method) == ("derived", "mse")
    assert report.threshold_params == given | {"scale": 1}
    assert report.granularity == granularity
    found = load(tmp_path / "converted.safetensors")
    told = tmp_path / "told"
    told.mkdir()
    wanted = load(calibrated(folder, told, param=given, **options))
    end = NEURONS.load(neuron).params_type(**param).fit(4).end
    assert (end == 1) == (neuron != "msat")
    for site, theta in wanted.thresholds().items():
        torch.testing.assert_close(found.thresholds()[site], theta / end, rtol=1e-7, atol=0)
        facts = found.calibrated.sites[site]
        assert facts.threshold == report.threshold_by_site[site]
        assert facts.threshold == pytest.approx(wanted.calibrated.sites[site].threshold / end)
        assert facts.clipped_share == pytest.approx(
            wanted.calibrated.sites[site].clipped_share, abs=0.01
        )
    assert not [key for key in found.calibration if key.endswith(("bins", "lengths"))]


def test_what_the_user_gave_stays(folder, tmp_path):
    plain = calibrated(folder, tmp_path, method="mse", param={"timesteps": 16})
    report = converting(tmp_path, checkpoint=plain, timesteps=4, param={"v0": 0})
    assert report.thresholds == "derived"
    assert report.threshold_params == {"timesteps": 16, "v0": 0, "scale": 1}
    both = calibrated(folder, tmp_path, method="mse", param={"timesteps": 16, "v0": 0.5})
    report = converting(tmp_path, checkpoint=both, timesteps=4, param={"v0": 0})
    assert report.thresholds == "as-calibrated"
    for site, theta in load(both).thresholds().items():
        assert torch.equal(load(tmp_path / "converted.safetensors").thresholds()[site], theta)


def test_the_user_may_keep_those_of_the_calibration(folder, tmp_path):
    plain = calibrated(folder, tmp_path, method="mse")
    report = converting(tmp_path, checkpoint=plain, timesteps=2, thresholds="as-calibrated")
    assert report.thresholds == "as-calibrated"
    kept = load(tmp_path / "converted.safetensors").thresholds()
    assert all(torch.equal(kept[site], theta) for site, theta in load(plain).thresholds().items())


@pytest.mark.parametrize("method", ["max", "percentile"])
def test_a_statistic_that_depends_on_no_conversion_is_not_asked_again(folder, tmp_path, method):
    plain = calibrated(folder, tmp_path, method=method)
    assert not [key for key in load(plain).calibration if key.endswith("bins")]
    report = converting(tmp_path, checkpoint=plain)
    assert (report.thresholds, report.warnings) == ("as-calibrated", [])


def test_thresholds_that_were_trained_are_not_touched(tmp_path):
    training(tmp_path, epochs=1, activation="qcfs", levels=4)
    file = calibrated(tmp_path, tmp_path, "calibrated", method="mse")
    before = load(file).thresholds()
    report = converting(tmp_path, checkpoint=file, neuron="signed", timesteps=2)
    assert report.thresholds == "trained"
    after = load(tmp_path / "converted.safetensors").thresholds()
    assert all(torch.equal(after[site], theta) for site, theta in before.items())


def test_an_older_checkpoint_keeps_its_thresholds_and_the_user_is_told(folder, tmp_path):
    checkpoint = load(calibrated(folder, tmp_path, method="mse"))
    older = {k: t for k, t in checkpoint.calibration.items() if not k.endswith(("bins", "lengths"))}
    file = tmp_path / "older.safetensors"
    save(replace(checkpoint, calibration=older), file)
    report = converting(tmp_path, checkpoint=file)
    assert report.thresholds == "as-calibrated"
    assert "calibrate again" in report.warnings[0].lower()


def test_more_levels_clip_less(folder, tmp_path):
    checkpoint = load(calibrated(folder, tmp_path, method="mse"))
    thetas = [
        next(iter(refitted(checkpoint, Grid(levels, 0.5)).checkpoint.thresholds().values())).mean()
        for levels in (1, 4, 16, 64)
    ]
    assert thetas == sorted(thetas)


def test_a_grid_that_ends_elsewhere_has_its_unit_there(folder, tmp_path):
    """Of four spikes a step, each carries a quarter of the end."""
    checkpoint = load(calibrated(folder, tmp_path, method="mse"))
    one = refitted(checkpoint, Grid(32, 0.5)).checkpoint.thresholds()
    four = refitted(checkpoint, Grid(32, 0.5, 4.0)).checkpoint.thresholds()
    assert all(torch.equal(four[site], theta / 4) for site, theta in one.items())


def test_from_channels_to_layers_needs_no_data(folder, tmp_path):
    """The thresholds are those of a calibration by layer: as good, by the error in its bins."""
    checkpoint = load(calibrated(folder, tmp_path, granularity="channel"))
    apart = tmp_path / "apart"
    apart.mkdir()
    layer = load(calibrated(folder, apart, granularity="layer"))
    for levels in (1, 4, 16):
        found = refitted(checkpoint, Grid(levels, 0.5), granularity="layer")
        wanted = refitted(layer, Grid(levels, 0.5)).checkpoint
        assert found.how == "derived"
        assert found.checkpoint.calibrated.granularity == "layer"
        params = Params(timesteps=levels, v0=0.5)
        for site, theta in found.checkpoint.thresholds().items():
            assert theta.shape == (1,)
            (bins,) = Bins(
                *(layer.calibration[f"{site}/{k}"] for k in ("bins", "lengths"))
            ).channels()
            both = np.array([float(theta), float(wanted.thresholds()[site])])
            (error, least), _ = errors(spread(*bins), both, params)
            assert error <= 1.02 * least, (site, levels)


def test_a_granularity_that_is_there_changes_nothing(folder, tmp_path):
    checkpoint = load(calibrated(folder, tmp_path))
    one, other = (refitted(checkpoint, Grid(4, 0.5), granularity=g) for g in (None, "channel"))
    for site, theta in one.checkpoint.thresholds().items():
        assert torch.equal(other.checkpoint.thresholds()[site], theta)


def test_even_thresholds_whose_parameters_were_given_are_found_for_layers(folder, tmp_path):
    file = calibrated(folder, tmp_path, param={"timesteps": 4, "v0": 0.5})
    report = converting(tmp_path, checkpoint=file, timesteps=4, granularity="layer")
    assert (report.thresholds, report.granularity) == ("derived", "layer")
    assert all(len(t) == 1 for t in load(tmp_path / "converted.safetensors").thresholds().values())


@pytest.mark.parametrize(
    ("made", "asked", "said"),
    [
        ({"granularity": "layer"}, {"granularity": "channel"}, "know no channels"),
        ({"method": "max"}, {"granularity": "layer"}, "--method max"),
        ({"method": "percentile"}, {"granularity": "layer"}, "keeps no histograms"),
        ({}, {"granularity": "layer", "thresholds": "as-calibrated"}, "as-calibrated"),
    ],
)
def test_a_granularity_that_histograms_do_not_allow(folder, tmp_path, made, asked, said):
    file = calibrated(folder, tmp_path, **made)
    with pytest.raises(UsageError) as caught:
        converting(tmp_path, checkpoint=file, **asked)
    assert said in str(caught.value)
    assert not (tmp_path / "converted.safetensors").exists()


def test_the_granularity_of_trained_thresholds_is_theirs(tmp_path):
    training(tmp_path, epochs=1, activation="qcfs", levels=4)
    file = calibrated(tmp_path, tmp_path, "calibrated", method="mse")
    with pytest.raises(UsageError, match="trained with the network"):
        converting(tmp_path, checkpoint=file, granularity="channel")


def test_a_process_searches_once_for_all_neurons_that_want_the_same():
    calls = []

    def threshold(bins, params):
        calls.append(params)
        return bins.rows[:, 2] * params.levels

    refit = Refit(lambda *given: None, threshold)
    one, other = (Bins(torch.rand(3, 4), torch.ones(3)) for _ in range(2))
    for bins, levels, often in [(one, 4, 1), (one, 4, 1), (one, 8, 2), (other, 4, 3), (one, 4, 3)]:
        found = searched(refit, bins, Params(timesteps=levels))
        assert torch.equal(found, bins.rows[:, 2] * levels)
        assert len(calls) == often

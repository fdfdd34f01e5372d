"""What every statistic in the room obeys."""

import pytest
import torch

from snnconv.calibration.histogram import STATISTICS, Histogram

NAMES = ["max", "mse", "percentile"]


def found(name, rows, bits=10, **params):
    statistic = STATISTICS.load(name)
    histogram = Histogram(rows.shape[1], bits)
    for batch in rows.split(700):
        histogram.update(batch)
    return statistic.threshold(histogram, statistic.params(**params))


def rows(kind, n=2000, channels=3):
    noise = torch.randn(n, channels)
    return {
        "half-normal": noise.relu,
        "log-normal": noise.exp,
        "sparse": lambda: torch.where(torch.rand_like(noise) < 0.001, noise.abs() + 0.1, 0),
        "two values": lambda: (noise > 0).float() * 0.3,
        "one outlier": lambda: torch.cat([torch.zeros(n, channels), torch.ones(1, channels)]),
    }[kind]()


KINDS = ["half-normal", "log-normal", "sparse", "two values", "one outlier"]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_statistic = pytest.mark.parametrize("name", NAMES)


def test_the_room():
    assert STATISTICS.names() == NAMES


@every_statistic
def test_every_parameter_has_a_default_and_a_description(name):
    params = STATISTICS.load(name).params
    params()
    assert all(field.description for field in params.model_fields.values())


@every_statistic
@every_kind
def test_thresholds_are_positive_and_at_most_the_maximum(name, kind):
    data = rows(kind)
    theta = found(name, data)
    assert theta.shape == (3,)
    assert theta.dtype == torch.float64
    assert (theta > 0).all()
    assert (theta <= data.amax(0)).all()


@every_statistic
@every_kind
def test_a_scaled_site_has_a_scaled_threshold(name, kind):
    data, scale = rows(kind), 2**-12
    assert torch.equal(found(name, data * scale), found(name, data) * scale)


@every_statistic
def test_any_scale_within_the_error_bound(name):
    data = rows("half-normal")
    ratio = found(name, data * 3) / found(name, data)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3), rtol=5e-3, atol=0)


@every_statistic
@every_kind
def test_order_does_not_matter(name, kind):
    data = rows(kind)
    assert torch.equal(found(name, data[torch.randperm(len(data))]), found(name, data))


@every_statistic
@every_kind
def test_channels_do_not_see_each_other(name, kind):
    data = rows(kind) * torch.tensor([1, 5, 0.01])
    alone = [found(name, data[:, [c]]) for c in range(3)]
    assert torch.equal(found(name, data), torch.cat(alone))


@every_statistic
def test_a_dead_channel_has_no_threshold(name):
    data = rows("half-normal")
    data[:, 1] = 0
    theta = found(name, data)
    assert theta[1] == 0
    assert (theta[[0, 2]] > 0).all()


@every_kind
def test_the_maximum_is_exact(kind):
    data = rows(kind)
    assert torch.equal(found("max", data), data.amax(0).double())
    assert STATISTICS.load("max").exact

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from snnconv.calibration.histogram import Histogram
from snnconv.calibration.statistics.percentile import Params, threshold


def histogram(rows, bits):
    made = Histogram(rows.shape[1], bits)
    made.update(rows)
    return made


@pytest.mark.parametrize("bits", [7, 10])
@pytest.mark.parametrize("n", [1, 10, 1000, 7001])
@pytest.mark.parametrize("percentile", [50, 90, 99, 99.9, 99.99, 100])
def test_it_is_numpys_within_the_bound(percentile, n, bits):
    rows = torch.randn(n, 4).exp()
    made = histogram(rows, bits)
    found = threshold(made, Params(percentile=percentile))
    ranked = rows.sort(0)[0].double()
    exact = ranked[int(np.ceil(round(n * percentile / 100, 6))) - 1]
    assert ((found - exact).abs() <= made.relative_error * exact).all()


@pytest.mark.parametrize("bits", [7, 10])
@pytest.mark.parametrize("channels", [1, 5])
def test_a_hundred_percent_are_up_to_the_largest_exactly(bits, channels):
    rows = torch.randn(3001, channels).relu()
    found = threshold(histogram(rows, bits), Params(percentile=100))
    assert torch.equal(found, rows.amax(0).double())


def test_zeros_count():
    rows = torch.cat([torch.zeros(900, 1), torch.linspace(1, 2, 100)[:, None]])
    found = threshold(histogram(rows, 10), Params(percentile=95))
    assert found.item() == pytest.approx(1.495, abs=0.006)


@pytest.mark.parametrize("zeros", [999, 9_999, 99_999])
def test_it_is_positive_however_many_are_zero(zeros):
    rows = torch.cat([torch.zeros(zeros, 1), torch.full((1, 1), 0.7)])
    found = threshold(histogram(rows, 10), Params())
    assert found.item() == pytest.approx(0.7, rel=1e-3)


def test_where_it_would_be_zero_it_is_that_of_the_positive_ones():
    positive = torch.rand(2000, 1)
    rows = torch.cat([torch.zeros(10**7, 1), positive])
    found = threshold(histogram(rows, 10), Params(percentile=99))
    expected = threshold(histogram(positive, 10), Params(percentile=99))
    assert torch.equal(found, expected)


def test_outliers_are_clipped():
    rows = torch.rand(100_000, 1)
    rows[:50] = 1000
    assert threshold(histogram(rows, 10), Params()).item() == pytest.approx(1, rel=2e-3)


def test_the_default():
    assert Params().percentile == 99.9


@pytest.mark.parametrize("percentile", [0, -1, 100.1])
def test_percentiles_that_can_not_be(percentile):
    with pytest.raises(ValidationError):
        Params(percentile=percentile)

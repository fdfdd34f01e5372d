import numpy as np
import pytest
import torch

from snnconv.calibration.bins import MOST, Bins
from snnconv.calibration.histogram import Histogram


def bins_of(rows, bits=8):
    histogram = Histogram(rows.shape[1], bits)
    histogram.update(rows)
    return histogram.bins()


def test_few_bins_are_kept_as_they_are():
    values = torch.tensor([[0.0], [0.5], [0.5], [1.0], [1.25], [3.0]])
    bins = bins_of(values)
    assert bins.lengths.tolist() == [4]
    assert bins.rows.tolist() == [
        [2, 0.5, 0.5, 0.5],
        [1, 1, 1, 1],
        [1, 1.25, 1.25, 1.25],
        [1, 3, 3, 3],
    ]


def test_how_many_bins_a_channel_keeps_does_not_hang_on_others():
    rows = torch.rand(20_000, 1) + 1
    alone = bins_of(rows)
    for others in (1, 15):
        both = bins_of(torch.cat([rows, torch.rand(20_000, others)], 1))
        assert both.lengths[0] == alone.lengths[0] <= 2 * MOST
        assert torch.equal(both.rows[: len(alone.rows)], alone.rows)


@pytest.mark.parametrize("power", [0.5, 1, 4])
def test_many_bins_become_few_that_hold_the_same(power):
    rows = torch.randn(20_000, 8).abs() ** power
    bins = bins_of(rows)
    assert (bins.lengths <= 3 * MOST).all()
    for channel, values in zip(bins.channels(), rows.double().T, strict=True):
        number, total, least, largest = channel
        assert number.sum() == len(values)
        np.testing.assert_allclose(total.sum(), values.sum(), rtol=1e-6)
        assert (least[1:] >= largest[:-1] * (1 - 1e-6)).all()
        within = [
            ((values >= a - 1e-9) & (values <= b + 1e-9)).sum()
            for a, b in zip(least, largest, strict=True)
        ]
        assert sum(within) >= len(values) * 0.99
        assert float(largest[-1]) == float(values.max())


def test_bins_are_narrow_where_many_activations_lie():
    rows = torch.randn(100_000, 1).abs()
    bins, *_ = bins_of(rows.expand(-1, 8)).channels()
    number, _, least, largest = bins
    width = largest - least
    dense, sparse = (least > 0.5) & (largest < 1), (least > 2.5) & (largest < 3)
    assert width[dense].mean() < width[sparse].mean()
    assert number[dense].mean() > number[sparse].mean()


def test_a_value_that_many_share_stays_alone():
    rows = torch.cat([torch.rand(20_000, 1) * 2, torch.full((5000, 1), 0.71)])
    (bins,) = bins_of(rows, 8).channels()
    number, _, least, largest = bins
    heavy = number.argmax()
    assert number[heavy] >= 5000
    assert largest[heavy] - least[heavy] <= 0.71 / 128


def test_a_channel_without_any_activation_has_no_bin():
    rows = torch.rand(50, 3)
    rows[:, 1] = 0
    bins = bins_of(rows)
    assert bins.lengths[1] == 0
    assert [len(number) for number, *_ in bins.channels()] == bins.lengths.long().tolist()


def test_channels_do_not_see_each_other():
    rows = torch.rand(3000, 8)
    together = list(bins_of(rows).channels())
    for column, channel in zip(rows.T, together, strict=True):
        alone, *_ = bins_of(torch.stack([column] * 8, 1)).channels()
        assert all(np.array_equal(one, other) for one, other in zip(channel, alone, strict=True))


def test_what_is_read_again_is_the_same():
    bins = bins_of(torch.rand(3000, 4))
    again = Bins(bins.rows.clone(), bins.lengths.clone())
    for one, other in zip(bins.channels(), again.channels(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_channels_pooled_hold_what_they_held():
    rows = torch.randn(5000, 6).abs() * torch.tensor([0.1, 0.5, 1, 1, 2, 4])
    bins = bins_of(rows)
    pooled = bins.pooled()
    assert len(pooled.lengths) == 1
    (number, total, least, largest), every = next(pooled.channels()), list(bins.channels())
    assert number.sum() == sum(channel[0].sum() for channel in every)
    np.testing.assert_allclose(total.sum(), float(rows.double().sum()), rtol=1e-6)
    assert (least <= largest).all()
    assert (least[1:] >= largest[:-1]).all()
    assert len(number) <= 3 * MOST
    # a share below a value lies between those of the bins below it and of those that begin there
    for value in (0.05, 0.3, 1.0, 3.0):
        below = float((rows < value).double().sum())
        assert number[largest < value].sum() * 0.98 <= below <= number[least <= value].sum() * 1.02


def test_channels_that_get_coarser_alike_keep_what_each_has_counted():
    """Bins of channel 0 had left out 11 bits and those of channel 1 had left out 12."""
    first = torch.tensor([[1.1, 1.1], [1.3, 2.7], [1.9, 3.9]])
    second = torch.tensor([[3.5, 15.0]])
    together = Histogram(2, 8)
    for part in (first, second):
        together.update(part)
    for channel in range(2):
        alone = Histogram(1, 8)
        alone.update(torch.cat([first, second])[:, channel : channel + 1])
        assert torch.equal(together.counts[channel], alone.counts[0, : together.layout.bins])
        assert torch.equal(together.rests[channel], alone.rests[0, : together.layout.bins])
        used = alone.counts[0] > 0
        assert torch.equal(together.extremes[channel][used], alone.extremes[0][used])

import sys
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import snnconv
from snnconv.calibration import histogram as statistic
from snnconv.calibration import histogram_kernel
from snnconv.calibration.histogram import Histogram

laws = settings(deadline=None, max_examples=40)
bits = st.sampled_from([6, 10])
scales = st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6])
shares = st.sampled_from([0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0])


@st.composite
def activations(draw):
    """Rows ``[n, channels]``: heavy-tailed, of any scale, many of them zero."""
    n, channels = draw(st.integers(1, 400)), draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    rows = torch.randn(n, channels, generator=generator).mul(2).exp() * draw(scales)
    rows = rows.clamp(2.0**-31, 2.0**31)  # what the bins are for
    zero = torch.rand(n, channels, generator=generator) < draw(st.sampled_from([0, 0.5, 0.99]))
    return rows.masked_fill(zero, 0)


def histogram(rows, bits=10):
    made = Histogram(rows.shape[1], bits)
    made.update(rows)
    return made


def same(one, other):
    fields = ("counts", "zeros", "maximum")
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in fields)


@laws
@given(activations(), bits, shares)
def test_a_quantile_is_within_the_relative_error(rows, bits, share):
    made = histogram(rows, bits)
    exact = np.quantile(rows.double().numpy(), share, axis=0, method="inverted_cdf")
    found = made.quantile(share).numpy()
    assert (np.abs(found - exact) <= made.relative_error * exact).all()
    assert ((found == 0) == (exact == 0)).all()


@settings(deadline=None, max_examples=20)
@given(arrays(np.float32, 20, elements=st.floats(2.0**-31, 2.0**31, width=32)), bits)
def test_every_number_is_within_the_relative_error_of_its_bin(numbers, bits):
    numbers = torch.from_numpy(numbers)
    each = Histogram(len(numbers), bits)
    each.update(numbers[None])
    centres = each.centres()[each.counts.nonzero()[:, 1]]
    assert ((centres - numbers).abs() <= each.relative_error * numbers).all()
    assert each.relative_error == 2.0 ** -(bits + 1)


@laws
@given(activations(), bits)
def test_the_mean_is_within_the_relative_error(rows, bits):
    made = histogram(rows, bits)
    exact = rows.double().mean(0)
    assert ((made.mean() - exact).abs() <= 1.001 * made.relative_error * exact).all()


@laws
@given(activations())
def test_maximum_and_zeros_are_exact(rows):
    made = histogram(rows)
    assert torch.equal(made.maximum, rows.amax(0))
    assert torch.equal(made.zeros, (rows == 0).sum(0))
    assert torch.equal(made.zeros + made.counts.sum(1), torch.full_like(made.zeros, len(rows)))


@laws
@given(activations(), st.integers(10, 100), st.randoms(use_true_random=False))
def test_neither_order_nor_batch_size_matter(rows, size, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    batches = [rows[order[i : i + size]] for i in range(0, len(rows), size)]
    whole = histogram(rows, 6)
    updated, merged = Histogram(rows.shape[1], 6), Histogram(rows.shape[1], 6)
    for batch in batches:
        updated.update(batch)
        merged.merge(histogram(batch, 6))
    assert same(updated, whole)
    assert same(merged, whole)


@laws
@given(activations())
def test_channels_do_not_see_each_other(rows):
    whole = histogram(rows)
    for channel in range(rows.shape[1]):
        one = histogram(rows[:, channel : channel + 1])
        assert torch.equal(one.counts[0], whole.counts[channel])
        assert one.zeros[0] == whole.zeros[channel]
        assert one.maximum[0] == whole.maximum[channel]


def test_large_batches_are_taken_in_parts(monkeypatch):
    rows = torch.rand(1000, 3)
    whole = histogram(rows)
    monkeypatch.setattr("snnconv.calibration.histogram._CHUNK", 64)
    assert same(histogram(rows), whole)


@pytest.mark.parametrize(("bits", "bins"), [(6, 64 * 64), (10, 64 * 1024)])
def test_memory_does_not_grow(bits, bins):
    made = Histogram(3, bits)

    def memory():
        tensors = [x for x in vars(made).values() if isinstance(x, torch.Tensor)]
        return sum(x.numel() * x.element_size() for x in tensors)

    before = memory()
    for scale in (1e-20, 1e-3, 1.0, 1e20):
        made.update(torch.rand(500, 3) * scale)
    assert memory() == before > 3 * bins * 8
    assert made.counts.shape == (3, bins)
    assert made.counts.dtype == torch.int64
    assert made.centres().shape == (bins,)


@laws
@given(activations(), bits, st.integers(3, 2000))
def test_more_than_its_short_counters_hold(rows, bits, most):
    """They are emptied in time, into those that hold everything."""
    with mock.patch.object(statistic, "_MOST", most):
        made = Histogram(rows.shape[1], bits)
        for part in rows.split(7):
            made.update(part)
            assert int(made._recent.sum()) <= most
    assert same(made, histogram(rows, bits))


def test_what_is_out_of_range_goes_to_the_outermost_bins():
    made = histogram(torch.tensor([[1e-30], [1e-12], [1e30]]))
    assert made.counts[0, 0] == 2
    assert made.counts[0, -1] == 1
    assert made.maximum.item() == torch.tensor(1e30).item()


def test_negative_zero_is_zero():
    assert histogram(torch.tensor([[-0.0], [0.0], [1.0]])).zeros.item() == 2


def test_999_of_1000_are_99_9_percent():
    rows = torch.ones(1000, 1)
    rows[7] = 50
    made = histogram(rows)
    assert made.quantile(99.9 / 100).item() == pytest.approx(1, rel=1e-3)
    assert made.quantile(0.9991).item() == pytest.approx(50, rel=1e-3)


@laws
@given(activations(), shares)
def test_the_share_above(rows, share):
    made = histogram(rows)
    theta = made.quantile(share)
    margin = made.relative_error * 4
    found = made.share_above(theta)
    low, high = ((rows > theta * (1 + sign * margin)).double().mean(0) for sign in (1, -1))
    assert ((low <= found) & (found <= high)).all()


@laws
@given(activations())
def test_nothing_is_above_the_maximum(rows):
    made = histogram(rows)
    assert not made.share_above(made.maximum).any()
    positive = (rows > 0).double().mean(0)
    torch.testing.assert_close(made.share_above(torch.zeros(rows.shape[1])), positive)


@laws
@given(activations(), st.integers(1, 120))
def test_what_is_drawn_counts_every_positive_activation(rows, bins):
    edges, counts = histogram(rows).drawn(bins)
    assert counts.sum() == (rows > 0).sum()
    assert edges.shape == (bins + 1,)
    assert counts.shape == (bins,)
    assert edges[0] == 0
    assert edges[-1] == (rows.max().double() or 1)
    assert (edges.diff() > 0).all()


def test_what_is_drawn_lies_where_it_belongs():
    rows = torch.rand(5000, 2)
    edges, counts = histogram(rows).drawn(10)
    expected = torch.histogram(rows.flatten().double(), edges)[0]
    assert (counts - expected).abs().max() <= 10  # at the edges, a bin is on one side only


@laws
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 60), st.sampled_from([1, 2, 3, 16, 40, 1500])),
        elements=st.one_of(
            st.sampled_from([0.0, -0.0, 1.0, 3.0e38, 1e-45, 2.0**-32, 2.0**32]),
            st.floats(0, 2.0**31, width=32),
        ),
    ),
    bits,
)
def test_compiled_and_plain_counting_are_the_same(rows, bits):
    rows = torch.from_numpy(rows)
    found = histogram(torch.cat([rows, rows[:1]]), bits)
    found.update(rows)
    with mock.patch.object(statistic, "_compiled", lambda: None):
        plain = histogram(torch.cat([rows, rows[:1]]), bits)
        plain.update(rows)
    assert same(found, plain)
    assert int(found.counts.sum() + found.zeros.sum()) == 2 * rows.numel() + rows.shape[1]


def test_counting_is_compiled_where_numba_is(monkeypatch):
    assert statistic._compiled() is histogram_kernel
    monkeypatch.delattr(snnconv.calibration, "histogram_kernel")
    with mock.patch.dict(sys.modules, {"snnconv.calibration.histogram_kernel": None}):
        assert statistic._compiled.__wrapped__() is None

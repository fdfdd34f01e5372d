import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snnconv.calibration.histogram import Histogram

laws = settings(deadline=None, max_examples=40)
bits = st.sampled_from([7, 10])
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
    fields = ("bits", "edges", "counts", "rests", "extremes", "zeros", "minimum", "maximum")
    pairs = [[getattr(h, field) for h in (one, other)] for field in fields]
    return all(torch.equal(*(x() if callable(x) else x for x in pair)) for pair in pairs)


@laws
@given(activations(), bits, shares)
def test_a_quantile_is_within_the_relative_error(rows, bits, share):
    made = histogram(rows, bits)
    exact = np.quantile(rows.double().numpy(), share, axis=0, method="inverted_cdf")
    found = made.quantile(share).numpy()
    assert (np.abs(found - exact) <= made.relative_error.numpy() * exact).all()
    assert ((found == 0) == (exact == 0)).all()


@settings(deadline=None, max_examples=20)
@given(arrays(np.float32, 20, elements=st.floats(2.0**-31, 2.0**31, width=32)), bits)
def test_every_number_is_within_the_relative_error_of_its_bin(numbers, bits):
    numbers = torch.from_numpy(numbers)
    each = Histogram(len(numbers), bits)
    each.update(numbers[None])
    centres = each.centres()[each.counts > 0]
    assert ((centres - numbers).abs() <= each.relative_error * numbers).all()
    assert torch.equal(each.relative_error, 2.0 ** -(each.bits + 1.0))
    assert (each.bits >= bits).all()


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
    whole = histogram(rows, 7)
    updated, merged = Histogram(rows.shape[1], 7), Histogram(rows.shape[1], 7)
    for batch in batches:
        updated.update(batch)
        merged.merge(histogram(batch, 7))
    assert same(updated, whole)
    assert same(merged, whole)


@laws
@given(activations(), bits)
def test_channels_do_not_see_each_other(rows, bits):
    """A channel has the bins that it has alone, whatever lies beside it."""
    beside = torch.linspace(-31, 31, len(rows)).exp2()[:, None]
    whole = histogram(torch.cat([rows, beside], 1), bits)
    for channel in range(rows.shape[1]):
        one = histogram(rows[:, channel : channel + 1], bits)
        used = one.counts[0].nonzero()[:, 0]
        assert torch.equal(whole.counts[channel].nonzero()[:, 0], used)
        for name in ("bits", "zeros", "minimum", "maximum"):
            assert torch.equal(getattr(whole, name)[channel], getattr(one, name)[0])
        pairs = [(h.counts, h.rests, h.centres(), *h.ranges()) for h in (whole, one)]
        for mine, alone in zip(*pairs, strict=True):
            assert torch.equal(mine[channel, used], alone[0, used])


@laws
@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 40)), min_size=1, max_size=6),
    bits,
)
def test_bins_become_coarser_as_octaves_come(batches, bits):
    """Whatever the order in which they come, and whoever counts them."""
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.rand(40, 2, generator=generator).masked_fill_(torch.arange(40)[:, None] < zeros, 0)
        * 2.0**scale
        for scale, zeros in batches
    ]
    whole = histogram(torch.cat(parts), bits)
    for order in (parts, parts[::-1]):
        made = Histogram(2, bits)
        for part in order:
            made.update(part)
        assert same(made, whole)
    merged = Histogram(2, bits)
    for part in parts:
        merged.merge(histogram(part, bits))
    assert same(merged, whole)
    for channel, values in enumerate(torch.cat(parts).double().unbind(1)):
        place = torch.bucketize(values[values > 0], whole.edges()[channel], right=True) - 1
        counts = torch.bincount(place, minlength=whole.counts.shape[1])
        assert torch.equal(whole.counts[channel], counts)


def test_large_batches_are_taken_in_parts():
    rows = torch.rand(1000, 3)
    parts = Histogram(3, 10)
    parts.update(rows, compiled=False, at_once=64)
    assert same(parts, histogram(rows))


def memory(made):
    tensors = [x for x in vars(made).values() if isinstance(x, torch.Tensor)]
    return sum(x.numel() * x.element_size() for x in tensors)


@pytest.mark.parametrize("bits", [7, 10])
def test_memory_is_that_of_the_octaves_that_occur(bits):
    """Of 16 at least; above, they come in portions of four."""
    made = Histogram(200, bits)
    none = memory(made) - (16 * 200 * 12 << bits)
    for lowest, octaves in ((1, 16), (-5, 16), (-12, 16), (-13, 20), (-16, 20), (-17, 24)):
        made.update(torch.full((5, 200), 2.0**lowest))
        made.update(torch.full((5, 200), 2.0))
        assert memory(made) - none == octaves * 200 * 12 << bits
    assert (made.bits == bits).all()
    for scale in (1e-20, 1e-3, 1.0, 1e20):
        made.update(torch.rand(500, 200) * scale)
    assert memory(made) - none == 64 * 200 * 12 << bits
    assert made.counts.shape == made.centres().shape == (200, 64 << bits)


@laws
@given(
    st.lists(st.tuples(st.integers(-31, 30), st.integers(0, 12)), min_size=1, max_size=5),
    bits,
)
def test_the_fewer_octaves_a_channel_has_the_finer_are_its_bins(ranges, bits):
    rows = torch.tensor([[2.0**low, 2.0 ** min(31, low + more)] for low, more in ranges]).T
    found = histogram(rows, bits).bits - bits
    for (low, more), finer in zip(ranges, found.tolist(), strict=True):
        octaves = min(31, low + more) - low + 1
        assert finer == (0 if octaves > 8 else int(np.log2(16 // octaves)))


@laws
@given(activations(), bits, st.integers(3, 2000))
def test_more_than_its_words_hold(rows, bits, most):
    """They are emptied in time, into those that hold everything."""
    made = Histogram(rows.shape[1], bits, most)
    for part in rows.split(7):
        made.update(part)
        assert int((made._words[:, : -made._padding] >> made._shift).sum(1).max()) <= most
    assert same(made, histogram(rows, bits))


def test_a_word_holds_as_many_equal_activations_as_it_says():
    """Their rests, the largest that there are, add up below the number of activations."""
    largest = 2.0 - 2.0**-23
    made = Histogram(1, 8)
    made.update(torch.tensor([[2.0**-12], [largest]]))
    for _ in range(3):
        made.update(torch.full((2**22, 1), largest))
    assert made.counts.max() == 3 * 2**22 + 1
    assert made.sums().max() == largest * (3 * 2**22 + 1)


@laws
@given(activations(), bits)
def test_sums_ranges_and_minimum_are_exact(rows, bits):
    made = histogram(rows, bits)
    least, largest = made.ranges()
    for channel, values in enumerate(rows.double().unbind(1)):
        values = values[values > 0]
        assert made.minimum[channel] == values.min() if len(values) else torch.inf
        place = torch.bucketize(values, made.edges()[channel], right=True) - 1
        for bin_ in place.unique():
            inside = values[place == bin_]
            total = inside.sum()
            assert abs(made.sums()[channel, bin_] - total) <= 1e-14 * total
            found = least[channel, bin_], largest[channel, bin_]
            assert found == (inside.min(), inside.max())


@laws
@given(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=1, max_size=5, unique=True), bits)
def test_bins_of_one_value_are_told(values, bits):
    made = histogram(torch.tensor(values).repeat(50)[:, None], bits)
    least, largest = made.ranges()
    used = made.counts > 0
    if used.sum() == len(values):
        expected = torch.tensor(sorted(values)).double()
        assert torch.equal(least[used], expected)
        assert torch.equal(largest[used], expected)


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
        st.one_of(
            st.tuples(st.integers(1, 60), st.sampled_from([1, 2, 3, 16, 40])),
            st.tuples(st.integers(1, 2), st.just(100)),
        ),
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
    plain = Histogram(rows.shape[1], bits)
    for some in (rows, rows[:1], rows):
        plain.update(some, compiled=False)
    assert same(found, plain)
    assert int(found.counts.sum() + found.zeros.sum()) == 2 * rows.numel() + rows.shape[1]

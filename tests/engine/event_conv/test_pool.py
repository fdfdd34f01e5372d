import pytest
import torch
import torch.nn.functional as F
from helpers.layers import fired
from hypothesis import assume, given
from hypothesis import strategies as st

from snnconv.engine.event_conv.pool import Pool, windows

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pools = st.builds(
    Pool,
    pairs,
    pairs,
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.booleans(),
    st.booleans(),
)
sizes = st.tuples(st.integers(3, 7), st.integers(3, 7))


def expected(pool, values):
    assume(all(2 * p <= k for p, k in zip(pool.padding, pool.kernel, strict=True)))
    window = (pool.kernel, pool.stride, pool.padding, pool.ceil, pool.padded)
    return F.avg_pool2d(values, *window)


@given(st.integers(1, 3), st.integers(1, 40), sizes, pools, st.booleans(), st.floats(0, 1))
def test_means_of_values_are_those_of_pytorch(number, channels, size, pool, last, rate):
    """To the bit in channels-last memory; what lies otherwise is copied."""
    values = torch.randn(number, *size, channels) * (torch.rand(number, *size, channels) < rate)
    values = values.movedim(-1, 1)
    wanted = expected(pool, values)
    assert torch.equal(pool(values if last else values.contiguous()), wanted)


@given(st.sampled_from([16, 48, 80]), sizes, pools, st.integers(0, 9))
def test_means_of_bits_are_those_of_values(channels, size, pool, seed):
    packed, values = fired(2, 3, channels, *size, seed=seed)
    assert torch.equal(pool(packed), expected(pool, values.flatten(0, 1)))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.data())
def test_windows_are_those_of_pytorch(size, kernel, stride, data):
    """Where they begin and end is what the pool of ones at single places shows."""
    padding, ceil = data.draw(st.integers(0, kernel // 2)), data.draw(st.booleans())
    assume(size + 2 * padding >= kernel)
    for padded in (False, True):
        shown = F.avg_pool1d(torch.eye(size)[None], kernel, stride, padding, ceil, padded)[0]
        found = windows(size, kernel, stride, padding, ceil, padded)
        assert len(found) == shown.shape[1]
        for (first, last, number), window in zip(found.tolist(), shown.T, strict=True):
            (seen,) = window.nonzero(as_tuple=True)
            assert seen.tolist() == list(range(first, last))
            torch.testing.assert_close(window[first], torch.tensor(1 / number))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.usefixtures("smallest_pieces")
def test_threads_change_nothing(threads):
    packed, values = fired(3, 2, 32, 6, 7)
    pool, before = Pool((3, 2), (2, 1), (1, 1), True, True), torch.get_num_threads()
    wanted = pool(values.flatten(0, 1))
    torch.set_num_threads(threads)
    try:
        assert torch.equal(pool(values.flatten(0, 1)), wanted)
        assert torch.equal(pool(packed), wanted)
    finally:
        torch.set_num_threads(before)


def test_no_images():
    assert Pool((2, 2), (2, 2), (0, 0), False, True)(torch.zeros(0, 5, 6, 4)).shape == (0, 5, 3, 2)

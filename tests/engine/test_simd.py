import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.core.jit import compiled
from snnconv.engine.simd import dot, mix


@compiled
def mixed(out, rows, weights, n):
    """Rows ``[k, N]`` by weights ``[k, 2]``, of which each second one is meant."""
    step = 4 * rows.shape[1]
    mix(out.ctypes.data, rows.ctypes.data, step, len(rows), weights.ctypes.data, 8, n)


@compiled
def dots(out, one, other):
    """Of the whole arrays."""
    out[0] = dot(one.ctypes.data, other.ctypes.data, len(one))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 100), k=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_mixture_is_a_sum_of_products_in_the_order_of_the_rows(n, k, seed):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((k, 100), np.float32)
    weights = random.standard_normal((k, 2), np.float32)
    out, expected = np.full(100, 7, np.float32), np.zeros(100, np.float32)
    for row, weight in zip(rows, weights[:, 0], strict=True):
        expected = expected + weight * row
    mixed(out, rows, weights, n)
    assert np.array_equal(out[:n], expected[:n])
    assert (out[n:] == 7).all()


@settings(max_examples=30, deadline=None)
@given(pairs=st.integers(0, 9), seed=st.integers(0, 99))
def test_a_dot_product_is_exact_on_small_integers_and_close_on_all_numbers(pairs, seed):
    random, out = np.random.default_rng(seed), np.empty(1, np.float32)
    one, other = random.integers(-99, 99, (2, 32 * pairs)).astype(np.float32)
    dots(out, one, other)
    assert out[0] == one.astype(np.int64) @ other.astype(np.int64)
    one, other = random.standard_normal((2, 32 * pairs), np.float32)
    dots(out, one, other)
    scale = np.abs(one.astype(np.float64) * other).sum()
    assert abs(out[0] - one.astype(np.float64) @ other) <= 3e-7 * scale

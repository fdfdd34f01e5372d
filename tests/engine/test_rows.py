import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconv.core.jit import compiled
from snnconv.engine.neurons.scan import BLOCK, mix_currents
from snnconv.engine.neurons.scan_back import dot


@compiled
def mixed(out, rows, weights, low):
    """The currents of the neurons from ``low`` on, by the second of the rows of weights."""
    mix_currents(rows, weights, 1, low, out)


@compiled
def dots(out, one, other):
    """Of whole blocks."""
    out[0] = dot(one, other, np.empty(32, np.float32))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 90), k=st.integers(0, 5), low=st.integers(0, 10), seed=st.integers(0, 99))
def test_a_mixture_is_a_sum_of_products_in_the_order_of_the_rows(n, k, low, seed):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((k, 100), np.float32)
    weights = random.standard_normal((2, k), np.float32)
    out, expected = np.full(n, 7, np.float32), np.zeros(100, np.float32)
    for row, weight in zip(rows, weights[1], strict=True):
        expected = expected + weight * row
    mixed(out, rows, weights, low)
    assert np.array_equal(out, expected[low : low + n])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99))
def test_a_dot_product_is_exact_on_small_integers_and_close_on_all_numbers(seed):
    random, out = np.random.default_rng(seed), np.empty(1, np.float32)
    one, other = random.integers(-99, 99, (2, BLOCK)).astype(np.float32)
    dots(out, one, other)
    assert out[0] == one.astype(np.int64) @ other.astype(np.int64)
    one, other = random.standard_normal((2, BLOCK), np.float32)
    dots(out, one, other)
    scale = np.abs(one.astype(np.float64) * other).sum()
    assert abs(out[0] - one.astype(np.float64) @ other) <= 3e-7 * scale

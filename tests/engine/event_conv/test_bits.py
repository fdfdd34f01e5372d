import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnconv.core.jit import compiled
from snnconv.engine.event_conv.bits import WORD, bits, lowest, number


@compiled
def looked_at(values, count, found):
    word = bits(values.ctypes.data, count)
    found[0], found[1], found[2] = word, number(word), lowest(word)


@given(st.integers(1, WORD), st.floats(0, 1), st.integers(0, 99))
def test_a_word_has_a_bit_for_each_value(count, rate, seed):
    chance = np.random.default_rng(seed)
    values = (chance.random(WORD) < rate).astype(np.float32) * np.float32(0.5)
    found = np.zeros(3, np.int64)
    looked_at(values, count, found)
    fired = np.flatnonzero(values[:count])
    assert int(found[0]) % 2**WORD == sum(1 << int(i) for i in fired)
    assert found[1] == len(fired)
    assert found[2] == (fired[0] if len(fired) else WORD)


@pytest.mark.parametrize("special", [-0.0, np.nan, np.inf, -1e-45])
def test_what_is_no_zero_is_a_spike(special):
    values = np.zeros(WORD, np.float32)
    values[5] = special
    found = np.zeros(3, np.int64)
    looked_at(values, WORD, found)
    assert found[0] == (0 if special == 0 else 1 << 5)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconv.engine.spike_sums import COUNTS, NOTHING, Summed, Tally
from snnconv.neurons.base import Spikes


def by_hand(counts, weights):
    """In int64, which is exact."""
    return torch.stack([(counts.long() * w.long()).flatten(1).sum(1) for w in weights], 1)


def arranged(x, last):
    """In memory that has the channels last, or not."""
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    T=st.integers(1, 4),
    B=st.integers(1, 3),
    k=st.integers(1, 3),
    levels=st.integers(1, 8),
    largest=st.sampled_from([1, 9, 4608, 2**19, 2**21 - 1]),
    last=st.booleans(),
    weights_last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 9),
)
def test_sums_are_exact(shape, T, B, k, levels, largest, last, weights_last, dtype, seed):
    torch.manual_seed(seed)
    counts = torch.randint(0, levels + 1, (T, B, *shape)).to(dtype)
    weights = torch.randint(0, largest + 1, (k, *shape)).float()
    weights.flatten()[-1] = largest
    held = arranged(weights[:, None], weights_last)[:, 0]
    found = Tally(held, levels).of(Spikes(arranged(counts, last), counts))
    assert found.dtype == torch.int64
    assert torch.equal(found, by_hand(counts, weights))


def test_a_total_beyond_float32():
    counts, weights = torch.ones(2, 3, 999, 7), torch.full((1, 999, 7), 4607.0)
    weights[0, 0, 0] = 4606
    found = Tally(weights, 1).of(Spikes(counts, counts))
    expected = 3 * (4607 * 999 * 7 - 1)
    assert expected > 2**24
    assert expected % 2 == 0
    assert found.tolist() == [[expected]] * 2


def test_sums_that_are_there_are_taken():
    spikes = Summed(torch.empty(0, 1, 5), torch.ones(2, 1, 5), torch.tensor([[3], [4]]))
    for each in (spikes, spikes._replace(values=torch.ones(1, 1, 5))):
        assert Tally(torch.ones(1, 5), 1).of(each) is spikes.sums


@pytest.mark.parametrize(
    ("largest", "levels", "many"), [(1, 1, 2**24), (3, 4, 2**24 // 12), (0, 9, 2**24)]
)
def test_what_surely_adds_up(largest, levels, many):
    assert Tally(torch.tensor([[0.0, largest]]), levels).at_once == many


def test_who_says_nothing_gets_counts_and_who_is_not_there_nothing():
    assert (COUNTS.counted, dict(COUNTS.tallies)) == (True, {})
    assert (NOTHING.counted, dict(NOTHING.tallies)) == (False, {})

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnconv.engine.event_conv.values import Packed
from snnconv.engine.layer_output import EVERYTHING, NOTHING, LayerOutput, WeightedSum


def by_hand(counts, weights):
    """In int64, which is exact."""
    return torch.stack([(counts.long() * w.long()).flatten(2).sum(2) for w in weights], 2)


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
    found = WeightedSum(held, levels).of(arranged(counts, last))
    assert found.dtype == torch.int64
    assert torch.equal(found, by_hand(counts, weights))


def test_a_total_beyond_float32():
    counts, weights = torch.ones(2, 3, 999, 7), torch.full((1, 999, 7), 4607.0)
    weights[0, 0, 0] = 4606
    found = WeightedSum(weights, 1).of(counts)
    expected = 4607 * 999 * 7 - 1
    assert expected > 2**24
    assert expected % 2 == 0
    assert found.tolist() == [[[expected]] * 3] * 2


def test_without_counts_there_is_nothing_to_add_up():
    with pytest.raises(ValueError, match="no counts"):
        WeightedSum(torch.ones(1, 5), 1).of(None)


@pytest.mark.parametrize("form", ["values", "mean"])
def test_values_come_in_one_form(form):
    rows = torch.ones(2, 1, 5)
    output = LayerOutput(**{form: rows})
    assert output.values_or_mean is rows
    assert output.carried is rows


def test_bits_are_no_values():
    bits = Packed.empty(2, (1, 16, 1, 1), torch.ones(1))
    output = LayerOutput(packed=bits)
    assert output.carried is bits
    with pytest.raises(ValueError, match="has to need values"):
        assert output.values_or_mean


@pytest.mark.parametrize(
    ("largest", "levels", "many"), [(1, 1, 2**24), (3, 4, 2**24 // 12), (0, 9, 2**24)]
)
def test_what_surely_adds_up(largest, levels, many):
    assert WeightedSum(torch.tensor([[0.0, largest]]), levels).at_once == many


def test_an_observer_needs_everything_unless_it_says_otherwise():
    rest = {"functions": frozenset(), "membranes": frozenset()}
    assert vars(EVERYTHING) == {"counts": True, "sums": {}, "values": True, "lead": False} | rest
    assert vars(NOTHING) == {"counts": False, "sums": {}, "values": False, "lead": False} | rest

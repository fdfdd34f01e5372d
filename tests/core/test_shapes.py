import pytest
import torch

from snnconv.core.shapes import fold_time, in_all, neurons_flat, per_neuron, per_sample, unfold_time

SHAPES = [(4, 2, 3), (4, 2, 3, 5), (4, 2, 3, 5, 6), (4, 2, 3, 5, 6, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_folding_time_and_back(shape):
    sequence = torch.randn(shape)
    merged = fold_time(sequence)
    assert merged.shape == (8, *shape[2:])
    assert torch.equal(merged[2 * 3 + 1], sequence[3, 1])  # time outside, samples inside
    again = unfold_time(merged, 4)
    assert torch.equal(again, sequence)
    assert again.data_ptr() == sequence.data_ptr()


@pytest.mark.parametrize("dims", [2, 3, 4, 5])
def test_a_value_a_channel_broadcasts_over_a_step(dims):
    step = torch.zeros(2, 3, *[5, 6, 7][: dims - 2])
    values = torch.tensor([1.0, 2.0, 3.0])
    shaped = per_neuron(values, dims)
    assert shaped.shape == (1, 3, *[1] * (dims - 2))
    assert torch.equal((step + shaped).movedim(1, -1), step.movedim(1, -1) + values)


@pytest.mark.parametrize("values", [torch.tensor(0.5), torch.tensor([0.5])])
@pytest.mark.parametrize("dims", [2, 4])
def test_one_value_broadcasts_over_a_step(values, dims):
    assert per_neuron(values, dims).shape == (1,) * dims


@pytest.mark.parametrize("values", [torch.tensor(0.5), torch.tensor([0.5])])
def test_one_value_broadcasts_over_one_number_a_sample(values):
    assert (torch.zeros(4) + per_neuron(values, 1)).shape == (4,)


def channels_last(shape):
    return torch.randint(0, 9, (shape[0], shape[1], *shape[3:], shape[2])).movedim(-1, 2).float()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [channels_last, torch.randn])
def test_flat_neurons_are_a_view_in_the_order_of_the_tensor(shape, make):
    like = make(shape)
    flat = neurons_flat(like, like)
    assert flat.shape == (4, 2, like[0, 0].numel())
    assert flat.data_ptr() == like.data_ptr()
    assert flat.is_contiguous()
    assert torch.equal(flat.sort(2)[0], like.flatten(2).sort(2)[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [channels_last, torch.randn])
def test_flat_neurons_of_one_step_or_one_sample_are_in_the_same_order(shape, make):
    like = make(shape)
    flat = neurons_flat(like, like)
    assert torch.equal(neurons_flat(like[1], like), flat[1])
    assert torch.equal(neurons_flat(like[1, 1], like), flat[1, 1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [channels_last, lambda shape: torch.randint(0, 9, shape).float()])
def test_counts_by_sample(shape, make):
    counts = make(shape)
    found = per_sample(counts)
    assert found.dtype == torch.int64
    assert torch.equal(found, counts.long().flatten(2).sum(2))


def test_counts_of_all_add_up_exactly():
    """Fifteen beyond a power of two: float32 would lose them, were they added to it one by one."""
    for size in (3, 2**20, 2**20 + 5):
        counts = torch.full((1, size), 16.0)
        counts[0, :3] = 5
        assert in_all(counts) == 16 * (size - 3) + 15
        places = counts[:, : size // 3 * 3].reshape(1, -1, 1, 3).movedim(-1, 1)
        assert in_all(places) == int(places.double().sum())
